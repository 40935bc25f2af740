"""What the demo shows a person: where each workload runs, why, at what cost, and how fast it answers."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from switchyard.cli.demo_traffic import Seen

_SHOWN_REASONS = 4


def milliseconds(seconds: float | None) -> str:
    """`182 ms`, or a dash for what is not known."""
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def is_true(obj: dict[str, Any], condition: str) -> bool:
    """Whether a condition of the object is True and speaks of its present generation."""
    status = obj.get("status", {})
    return status.get("observedGeneration") == obj["metadata"]["generation"] and any(
        each["type"] == condition and each["status"] == "True" for each in status.get("conditions", ())
    )


def _placement(workload: dict[str, Any]) -> dict[str, Any]:
    placements = workload.get("status", {}).get("placements") or [{}]
    first: dict[str, Any] = placements[0]
    return first


def pool_table(pools: list[dict[str, Any]]) -> Table:
    """The pools as the operator found them."""
    table = Table(title="Pools, as discovered from the nodes", title_justify="left")
    for heading in ("pool", "accelerator", "type", "devices used", "$/device-hour", "state"):
        table.add_column(heading, justify="right" if heading in {"devices used", "$/device-hour"} else "left")
    for pool in pools:
        status, spec = pool.get("status", {}), pool["spec"]
        conditions = {each["type"]: each for each in status.get("conditions", ())}
        ready = conditions.get("Ready", {})
        table.add_row(
            pool["metadata"]["name"],
            spec.get("accelerator", spec.get("device", {}).get("family", "-")),
            spec.get("capacityType", "-"),
            status.get("summary", {}).get("devices", "-"),
            status.get("cost", {}).get("devicePerHour", "-"),
            "ready" if ready.get("status") == "True" else ready.get("reason", "unknown"),
        )
    return table


def workload_table(workloads: list[dict[str, Any]], seen: dict[str, Seen]) -> Table:
    """Each workload's place and cost, with the p95 that was promised, predicted and measured."""
    table = Table(title="Workloads", title_justify="left")
    left = {"workload", "tier", "placed on"}
    for heading in (
        *("workload", "tier", "placed on", "replicas", "$/hour", "$/1k requests"),
        *("p95 target", "predicted", "measured", "requests", "failed"),
    ):
        table.add_column(heading, justify="left" if heading in left else "right")
    for workload in workloads:
        name, spec, status = workload["metadata"]["name"], workload["spec"], workload.get("status", {})
        placement = _placement(workload)
        measured = seen.get(name, Seen())
        target = next(
            (each["target"] for each in spec.get("objectives", ()) if each["percentile"] == 95), "-"
        )
        table.add_row(
            name,
            spec.get("tier", "-"),
            status.get("summary", {}).get("placement", "nowhere") or "nowhere",
            f"{placement.get('ready', 0)}/{placement.get('replicas', 0)}",
            status.get("costPerHour", "-"),
            status.get("costPerThousandRequests", "-"),
            target,
            placement.get("predicted", {}).get("p95", "-"),
            milliseconds(measured.percentile_seconds(95)),
            str(measured.requests),
            str(measured.failed),
        )
    return table


def reasons(workload: dict[str, Any]) -> list[str]:
    """Why the other places were not taken, the first few in words."""
    rejected = sorted(workload.get("status", {}).get("rejected", []), key=lambda each: not each["variant"])
    lines = [
        f"{each['pool']}{' (' + each['variant'] + ')' if each['variant'] else ''}: {each['message']}"
        for each in rejected[:_SHOWN_REASONS]
    ]
    if len(rejected) > _SHOWN_REASONS:
        lines.append(
            f"… and {len(rejected) - _SHOWN_REASONS} more: kubectl describe iw/{workload['metadata']['name']}"
        )
    return lines
