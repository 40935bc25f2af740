"""A plan as a document (docs/explain.md describes it) and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from switchyard.api import Reason
from switchyard.cli.columns import format_columns
from switchyard.cli.planning import Planned
from switchyard.core.placement.cost import count_paid_devices, format_money
from switchyard.core.placement.problem import JobKey
from switchyard.core.world import Workload

SCHEMA = "switchyard.dev/plan/v1"
Document = dict[str, Any]
_FIGURES = frozenset({"REPLICAS", "DEVICES", "$/H", "$/1K", "RATE", "LOAD"})
_PERCENTILES = {50: "p50", 95: "p95", 99: "p99"}


def describe_plan(planned: Planned) -> Document:
    """The plan: workloads, pools, totals, notes."""
    workloads = [describe_workload(planned, each) for each in planned.world.workloads]
    pools = [_describe_pool(planned, name) for name in sorted(planned.readings.pools)]
    waste = sum((Decimal(each["wastePerHour"]) for each in pools), Decimal(0))
    return {
        "schema": SCHEMA,
        "currency": planned.world.settings.currency,
        "workloads": workloads,
        "pools": pools,
        "totals": {
            "workloads": len(workloads),
            "placed": sum(each["isPlaced"] for each in workloads),
            "devices": sum(each["devices"] for each in workloads),
            "costPerHour": format_money(
                sum((Decimal(each["costPerHour"] or 0) for each in workloads), Decimal(0))
            ),
            "marginalPerHour": format_money(sum(planned.costs.values(), Decimal(0))),
            "wastePerHour": format_money(waste),
            "method": planned.method,
            "gapRatio": planned.gap_ratio,
        },
        "notes": list(planned.notes),
    }


def describe_change(before: Planned, after: Planned) -> Document:
    """What a what-if changes: money and moves."""
    was, now = sum(before.costs.values(), Decimal(0)), sum(after.costs.values(), Decimal(0))
    moves = []
    for key in sorted({*before.seats, *after.seats}):
        old, new = before.seats.get(key, ()), after.seats.get(key, ())
        difference = after.costs.get(key, Decimal(0)) - before.costs.get(key, Decimal(0))
        if old != new or difference:
            moves.append(
                {
                    "namespace": key[0],
                    "name": key[1],
                    "before": [_seat(each) for each in old],
                    "after": [_seat(each) for each in new],
                    "marginalPerHour": _signed(difference),
                }
            )
    change: Document = {"marginalPerHour": _signed(now - was), "workloads": moves}
    if was:
        change["percent"] = round(float((now - was) / was * 100), 1)
    return change


def format_plan(document: Document, *, is_wide: bool, width: int | None) -> str:
    """The table and the totals."""
    headings = ["WORKLOAD", "TIER", "PLACEMENT", "DEVICES", "$/H", "$/1K", "PREDICTED (TARGET)"]
    headings += ["RATE", "LOAD"] if is_wide else []
    rows = [_row(each, is_wide=is_wide) for each in document["workloads"]]
    parts = [format_columns([*headings, "NOTE"], rows, width=width, right=_FIGURES)] if rows else []
    if is_wide and document["pools"]:
        parts.append(_format_pools(document["pools"], width))
    parts.append(_format_totals(document))
    return "\n\n".join(parts)


def format_change(document: Document, *, width: int | None) -> str:
    """What changed, one line per workload, then the money."""
    money = f"{document['marginalPerHour']} per hour"
    if "percent" in document:
        money += f" ({document['percent']:+.1f} %)"
    if not document["workloads"]:
        return f"Nothing changes: {money}"
    rows = [
        (
            f"{each['namespace']}/{each['name']}",
            format_seats(each["before"]),
            format_seats(each["after"]),
            each["marginalPerHour"],
            "",
        )
        for each in document["workloads"]
    ]
    headings = ("WORKLOAD", "BEFORE", "AFTER", "$/H", "")
    return f"{format_columns(headings, rows, width=width, right=_FIGURES)}\n\nDifference: {money}"


def describe_workload(planned: Planned, workload: Workload) -> Document:
    """One workload of the plan."""
    key: JobKey = workload.key
    status = planned.statuses.get(key, {})
    placements = [dict(each) for each in status.get("placements", ())]
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    reason, message = _find_note(conditions, is_placed=bool(placements))
    for each in placements:
        each.pop("ready", None)
    return {
        "namespace": key[0],
        "name": key[1],
        "tier": str(workload.spec.tier),
        "isPlaced": bool(placements),
        "placements": placements,
        "unservedRatio": round(planned.solution.unserved.get(key, 0.0), 6) if placements else 1.0,
        "replicas": sum(each.get("replicas", 0) for each in placements),
        "devices": sum(each.get("devices", 0) for each in placements),
        "costPerHour": status.get("costPerHour"),
        "costPerThousandRequests": status.get("costPerThousandRequests"),
        "objectives": [_describe_objective(each, placements) for each in workload.spec.objectives],
        "reason": reason,
        "message": message,
        "rejected": [dict(each) for each in status.get("rejected", ())],
    }


def _describe_objective(objective: Any, placements: Sequence[Mapping[str, Any]]) -> Document:
    """The objective, with what the placement is expected to do; None where nothing can be said."""
    part = "predicted" if objective.metric == "latency" else str(objective.metric)
    name = _PERCENTILES.get(int(objective.percentile), "")
    figures = [str(each[part][name]) for each in placements if name and each.get(part)]
    return {
        "metric": str(objective.metric),
        "percentile": int(objective.percentile),
        "target": str(objective.target),
        "predicted": figures[0] if len(set(figures)) == 1 else " to ".join(sorted(set(figures))) or None,
    }


def _find_note(conditions: Mapping[str, Mapping[str, Any]], *, is_placed: bool) -> tuple[str, str]:
    """The reason and message that matter most, an estimate last; empty when all is well."""
    order = ["Stalled", "Placed", "Ready"] if not is_placed else []
    for name in [*order, "Degraded", "ObjectivesMet", "WithinBudget"]:
        found = conditions.get(name)
        is_bad = found is not None and (found["status"] == "True") == (name in {"Stalled", "Degraded"})
        if found is not None and is_bad and found["status"] != "Unknown":
            return str(found["reason"]), str(found.get("message", ""))
    placed = conditions.get("Placed", {})
    if placed.get("reason") == Reason.ProfileEstimated:
        return Reason.ProfileEstimated.value, str(placed.get("message", ""))
    return "", ""


def _describe_pool(planned: Planned, name: str) -> Document:
    view = planned.readings.pools[name]
    devices = sum(count for _, count in view.capacity.free_for_plan) + view.capacity.devices_foreign
    used = planned.used_devices.get(name, 0)
    is_unlimited = name in planned.unlimited
    paid = 0 if is_unlimited else count_paid_devices(view.facts, view.capacity.devices_total)
    idle = max(0, paid - used)
    return {
        "name": name,
        "accelerator": view.facts.accelerator or view.facts.family,
        "devices": None if is_unlimited else devices,
        "usedDevices": used,
        "paidDevices": paid,
        "idlePaidDevices": idle,
        "devicePerHour": format_money(view.device_hour.allocated()),
        "wastePerHour": format_money(view.device_hour.billed() * idle),
    }


def _row(entry: Document, *, is_wide: bool) -> list[str]:
    note = f"{entry['reason']}: {entry['message']}" if entry["reason"] else ""
    row = [
        f"{entry['namespace']}/{entry['name']}",
        entry["tier"],
        format_seats(entry["placements"]),
        str(entry["devices"] or "-"),
        entry["costPerHour"] or "-",
        entry["costPerThousandRequests"] or "-",
        format_objectives(entry["objectives"], entry["placements"]),
    ]
    if is_wide:
        row.append(", ".join(each.get("ratePerReplica", "?") for each in entry["placements"]) or "-")
        loads = [each.get("utilisationPercent") for each in entry["placements"]]
        row.append(", ".join(f"{load}%" for load in loads if load is not None) or "-")
    return [*row, note]


def format_seats(placements: Sequence[Mapping[str, Any]]) -> str:
    """`l4-eu/trt x4 + l4-us/trt x2`, or `none`."""
    seats = (f"{each['pool']}/{each['variant']} x{each['replicas']}" for each in placements)
    return " + ".join(seats) or "none"


def format_objectives(objectives: Sequence[Document], placements: Sequence[Mapping[str, Any]]) -> str:
    """`p95 182ms (300ms)` per objective; the p95 where there is none."""
    if not placements:
        return "-"
    if not objectives:
        predicted = placements[0].get("predicted")
        return f"p95 {predicted['p95']}" if predicted else "-"
    shown = []
    for each in objectives:
        metric = "" if each["metric"] == "latency" else f"{each['metric']} "
        shown.append(f"{metric}p{each['percentile']} {each['predicted'] or '?'} ({each['target']})")
    return ", ".join(shown)


def _format_pools(pools: Sequence[Document], width: int | None) -> str:
    rows = [
        (
            each["name"],
            each["accelerator"],
            f"{each['usedDevices']}/{'∞' if each['devices'] is None else each['devices']}",
            each["devicePerHour"],
            str(each["idlePaidDevices"]),
            each["wastePerHour"],
            "",
        )
        for each in pools
    ]
    headings = ("POOL", "ACCELERATOR", "DEVICES", "$/DEVICE-H", "IDLE PAID", "WASTE $/H", "")
    right = frozenset(headings[2:])
    return format_columns(headings, rows, width=width, right=right)


def _format_totals(document: Document) -> str:
    totals, currency = document["totals"], document["currency"]
    told = (
        f"{totals['placed']} of {totals['workloads']} workloads placed on {totals['devices']} devices: "
        f"{totals['costPerHour']} {currency} per hour"
    )
    if totals["marginalPerHour"] != totals["costPerHour"]:
        told += f", of which {totals['marginalPerHour']} is not paid for already"
    if totals["method"]:
        told += f" ({totals['method']}, {_format_gap(totals['gapRatio'])})"
    idle = [
        f"{each['name']} {each['idlePaidDevices']} of {each['paidDevices']}"
        for each in document["pools"]
        if each["idlePaidDevices"]
    ]
    if idle:
        told += f"\nIdle although paid for: {totals['wastePerHour']} {currency} per hour ({', '.join(idle)})"
    return told


def _format_gap(gap_ratio: float | None) -> str:
    if gap_ratio is None:
        return "not proven optimal"
    return "optimal" if gap_ratio < 1e-6 else f"within {gap_ratio:.2%} of the optimum"


def _seat(seat: tuple[str, str, int]) -> Document:
    variant, pool, replicas = seat
    return {"variant": variant, "pool": pool, "replicas": replicas}


def _signed(amount: Decimal) -> str:
    return f"+{format_money(amount)}" if amount > 0 else format_money(amount)
