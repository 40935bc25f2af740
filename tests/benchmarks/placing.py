"""A large world on a real API: how long until everything is written, at what cost in writes and memory."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests.benchmarks.figures import Figure
from tests.benchmarks.processes import (
    OperatorUnderTest,
    Samples,
    Usage,
    find_child,
    read_usage,
    start_sandbox,
    total,
)
from tests.benchmarks.scale import Scale, make_pools, make_workloads
from tests.benchmarks.traffic import Progress, Traffic

from switchyard.sandbox.client import Connection
from switchyard.sandbox.handle import SandboxProcess

_LOOP = "switchyard_loop_duration_seconds"
_WRITES = "switchyard_writes_total"
_STILL_SECONDS = 6.0
_PATIENCE_SECONDS = 600.0


def measure_placing(scale: Scale) -> list[Figure]:
    """Times, passes, writes and memory of one run, and a plain client's time for the same objects."""
    return asyncio.run(_measure(scale))


async def _measure(scale: Scale) -> list[Figure]:
    objects = [*make_pools(scale), *make_workloads(scale)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with start_sandbox(scale, directory) as sandbox, OperatorUnderTest(sandbox, directory) as operator:
            async with Traffic(_connect(sandbox), scale.client_concurrency) as traffic:
                await traffic.install_definitions()
                await asyncio.to_thread(operator.wait_for_first_pass)
                before, used_before = operator.scrape(), _use(sandbox, operator)
                progress = await traffic.place(objects, scale.workloads, _PATIENCE_SECONDS)
                await _await_stillness(operator)
                after, used_after = operator.scrape(), _use(sandbox, operator)
                versions = await traffic.read_versions()
                await asyncio.sleep(scale.quiet_seconds)
                quiet, used_quiet = operator.scrape(), _use(sandbox, operator)
                later = await traffic.read_versions()
                children = await traffic.read_children()
    with tempfile.TemporaryDirectory() as name, start_sandbox(scale, Path(name)) as sandbox:
        async with Traffic(_connect(sandbox), scale.client_concurrency) as traffic:
            await traffic.install_definitions()
            plain_seconds = await traffic.write_plainly([*objects, *children])
    return [
        *_report_progress(scale, progress, len(children), plain_seconds, len(objects)),
        *_report_loop("placing", "while placing", before, after),
        *_report_loop("quiet", "unchanged world", after, quiet),
        *_report_writes(scale, before, after, quiet, _count_differences(versions, later)),
        *_report_usage(scale, used_before, used_after, used_quiet),
    ]


def _count_differences(before: dict[str, str], after: dict[str, str]) -> int:
    return sum(before.get(uid) != after.get(uid) for uid in before.keys() | after.keys())


def _connect(sandbox: SandboxProcess) -> Connection:
    return Connection(sandbox.url, sandbox.admin_token, sandbox.ca_path.read_bytes())


def _use(sandbox: SandboxProcess, operator: OperatorUnderTest) -> dict[str, Usage]:
    pids = {
        "operator": operator.pid,
        "API server": sandbox.pid,
        "controllers and nodes": find_child(sandbox.pid),
    }
    return {name: read_usage(pid) for name, pid in pids.items()}


async def _await_stillness(operator: OperatorUnderTest) -> None:
    """Return once the operator has written nothing for some seconds."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    count, since = -1.0, time.monotonic()
    while time.monotonic() - since < _STILL_SECONDS:
        if time.monotonic() > deadline:
            raise TimeoutError("the operator keeps writing")
        now = total(operator.scrape(), _WRITES)
        if now != count:
            count, since = now, time.monotonic()
        await asyncio.sleep(0.5)


def _report_progress(
    scale: Scale, progress: Progress, children: int, plain_seconds: float, objects: int
) -> list[Figure]:
    size = f"{scale.workloads} workloads x {scale.pools} pools x {scale.nodes} nodes"
    rate, plain_rate = (
        (children + objects) / seconds for seconds in (progress.children_seconds, plain_seconds)
    )
    return [
        Figure("placing", "all objects applied", progress.applied_seconds, "s", size),
        Figure(
            "placing",
            "all Deployments and Services written",
            progress.children_seconds,
            "s",
            f"{children} children, budgets included",
        ),
        Figure("placing", "all placements in status", progress.placed_seconds, "s"),
        Figure("placing", "all workloads Ready", progress.ready_seconds, "s", "simulated containers"),
        Figure("placing", "objects per second, with the operator", rate, "1/s", "applied and children"),
        Figure(
            "placing",
            "objects per second, plain client",
            plain_rate,
            "1/s",
            "same objects, no operator, same concurrency",
        ),
        Figure("placing", "with the operator / plain client", rate / plain_rate, "x", "1 is the most"),
    ]


def _report_loop(benchmark: str, when: str, before: Samples, after: Samples) -> list[Figure]:
    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    count = grown(f"{_LOOP}_count")
    bounds = sorted(
        (float(dict(pairs)["le"]), grown(f"{_LOOP}_bucket", le=dict(pairs)["le"]))
        for name, pairs in after
        if name == f"{_LOOP}_bucket"
    )
    slowest = next((bound for bound, passed in bounds if passed >= count), float("inf"))
    mean = grown(f"{_LOOP}_sum") / count if count else 0.0
    return [
        Figure(benchmark, f"passes of the loop, {when}", count, ""),
        Figure(benchmark, f"mean pass, {when}", mean, "s", "decide and write"),
        Figure(benchmark, f"slowest pass at most, {when}", slowest, "s", "bound of its histogram bucket"),
    ]


def _report_writes(
    scale: Scale, before: Samples, after: Samples, quiet: Samples, touched: int
) -> list[Figure]:
    series = sorted(pairs for name, pairs in after if name == _WRITES)
    figures = []
    for pairs in series:
        labels = dict(pairs)
        count = after[_WRITES, pairs] - before.get((_WRITES, pairs), 0.0)
        if count:
            what = f"{labels['verb']} {labels['kind']}, {labels['result']}"
            figures.append(Figure("writes", what, count / scale.workloads, "per workload"))
    placed = total(after, _WRITES) - total(before, _WRITES)
    unchanged = total(quiet, _WRITES) - total(after, _WRITES)
    return [
        Figure("writes", "all", placed / scale.workloads, "per workload", f"{placed:.0f} until all is still"),
        *figures,
        Figure("writes", "unchanged world", unchanged, "", f"in {scale.quiet_seconds:.0f} s; must be 0"),
        Figure(
            "writes", "objects touched meanwhile", touched, "", "pools, workloads and children; must be 0"
        ),
    ]


def _report_usage(
    scale: Scale, before: dict[str, Usage], after: dict[str, Usage], quiet: dict[str, Usage]
) -> list[Figure]:
    figures = []
    for name, usage in quiet.items():
        note = f"{before[name].resident_mib:.0f} before, peak {usage.peak_mib:.0f}"
        figures.append(Figure("usage", f"{name}: resident", usage.resident_mib, "MiB", note))
    for name, usage in quiet.items():
        spent = after[name].cpu_seconds - before[name].cpu_seconds
        idle = (usage.cpu_seconds - after[name].cpu_seconds) / scale.quiet_seconds
        figures.append(Figure("usage", f"{name}: processor while placing", spent, "s"))
        figures.append(Figure("usage", f"{name}: processor when unchanged", idle * 100, "% of a core"))
    return figures
