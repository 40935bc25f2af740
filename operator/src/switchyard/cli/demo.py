"""`switchyard demo`: the main job from end to end on the embedded cluster."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from switchyard.cli.demo_move import move
from switchyard.cli.demo_report import is_true, milliseconds, pool_table, reasons, workload_table
from switchyard.cli.demo_traffic import Call, Seen, send
from switchyard.cli.stage import NAMESPACE, RELEASE, Stage, StageError, open_stage

_MEASURED_SECONDS = 7.0
_WARM_UP_SECONDS = 1.0
_FAILURE_SECONDS = 15.0
_READY_TIMEOUT_SECONDS = 60.0
_MOST_REQUESTS_PER_SECOND = 40.0  # per workload: servers and clients share this machine
_DAY_SECONDS = 86_400.0

# What the users of the examples ask. Paths are those of the simulated model server.
_QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "question {n}"}], "max_tokens": 16},
    ),
    "embed": ("/v1/embeddings", {"input": "document {n}"}),
}
_ANY_QUESTION: tuple[str, dict[str, Any]] = ("/predict", {"instances": [["{n}"]]})

console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the chart and the examples lie: the repository that the demo runs in."""

    chart: Path
    examples: Path

    @classmethod
    def find(cls) -> Sources:
        """The checkout that this package was installed from, or the working directory."""
        for root in (Path(__file__).resolve().parents[4], Path.cwd()):
            found = cls(chart=root / "charts" / "switchyard", examples=root / "crds" / "examples")
            if found.chart.is_dir() and found.examples.is_dir():
                return found
        raise StageError(
            "charts/switchyard and crds/examples not found: run the demo in a clone of the repository"
        )


@click.command()
@click.option("--keep", is_flag=True, help="Leave cluster and operator up and say what to try.")
def command(*, keep: bool) -> None:
    """Run the whole thing here: embedded cluster, operator, a node failure, cutovers."""
    directory = Path(tempfile.mkdtemp(prefix="switchyard-demo-"))
    began = time.monotonic()
    try:
        sources = Sources.find()
        with open_stage(directory, keep=keep) as stage:
            _play(stage, sources)
            console.print(f"\n[bold green]Done in {time.monotonic() - began:.0f} s.[/]")
            if keep:
                _say_what_to_try(stage)
    except (StageError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error


def _play(stage: Stage, sources: Sources) -> None:
    console.print(f"[bold]1. An embedded cluster[/]  {stage.sandbox.url}")
    nodes = stage.get("nodes")["items"]
    console.print(f"   {len(nodes)} simulated nodes are registered")

    console.print(
        "[bold]2. The operator[/]  installed with Helm, running as a process under the chart's role"
    )
    stage.install_chart(sources.chart)
    stage.start_restricted_operator()

    console.print("[bold]3. Pools and workloads[/]  kubectl apply -f crds/examples")
    stage.kubectl("apply", "-f", str(sources.examples))
    _wait_until_ready(stage)
    console.print(pool_table(stage.get("acceleratorpools")["items"]))

    console.print(f"[bold]4. Real requests[/]  through each stable Service for {_MEASURED_SECONDS:.0f} s")
    workloads = _workloads(stage)
    seen = asyncio.run(_measure(stage, workloads))
    console.print(workload_table(_workloads(stage), seen))
    for workload in workloads:
        console.print(f"   [bold]{workload['metadata']['name']}[/] is not elsewhere because")
        for line in reasons(workload):
            console.print(f"      {line}")
    unserved = [name for name, each in seen.items() if not each.latencies_seconds]
    if unserved:
        raise StageError(f"no request was answered by {', '.join(unserved)}")

    _lose_a_node(stage, workloads)
    move(stage, console, number=6)


def _workloads(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.get("inferenceworkloads", "--all-namespaces")["items"]
    return found


def _wait_until_ready(stage: Stage) -> None:
    said: dict[str, str] = {}

    def all_ready() -> bool:
        workloads = _workloads(stage)
        for workload in workloads:
            name, status = workload["metadata"]["name"], workload.get("status", {})
            where = status.get("summary", {}).get("placement", "")
            news = (
                f"ready on {where}" if is_true(workload, "Ready") else f"placed on {where}" if where else ""
            )
            if news and said.get(name) != news:
                said[name] = news
                console.print(f"   {name:<14} {news}")
        return bool(workloads) and all(is_true(each, "Ready") for each in workloads)

    seconds = stage.wait_for("all workloads to be Ready", all_ready, _READY_TIMEOUT_SECONDS)
    console.print(f"   all Ready after {seconds:.1f} s")


def _rate(workload: dict[str, Any]) -> float:
    """The mean requests per second that the workload is planned for, within what this machine can send."""
    demand = workload["spec"]["demand"]
    planned = float(demand.get("requestsPerSecond") or demand.get("requestsPerDay", 0) / _DAY_SECONDS)
    return min(max(planned, 1.0), _MOST_REQUESTS_PER_SECOND)


def _call(stage: Stage, workload: dict[str, Any]) -> Call:
    meta = workload["metadata"]
    service = stage.get("service", meta["name"], "-n", meta["namespace"])["spec"]
    path, body = _QUESTIONS.get(meta["name"], _ANY_QUESTION)
    return Call(
        f"http://{service['clusterIP']}:{service['ports'][0]['port']}{path}", lambda n: _filled(body, n)
    )


def _filled(template: Any, number: int) -> Any:
    if isinstance(template, dict):
        return {key: _filled(value, number) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, number) for value in template]
    return template.replace("{n}", str(number)) if isinstance(template, str) else template


async def _measure(stage: Stage, workloads: list[dict[str, Any]]) -> dict[str, Seen]:
    calls = {each["metadata"]["name"]: (_call(stage, each), _rate(each)) for each in workloads}
    await asyncio.gather(*(send(call, 2.0, _WARM_UP_SECONDS, seed=0) for call, _ in calls.values()))
    results = await asyncio.gather(
        *(send(call, rate, _MEASURED_SECONDS, seed=1 + i) for i, (call, rate) in enumerate(calls.values()))
    )
    return dict(zip(calls, results, strict=True))


def _lose_a_node(stage: Stage, workloads: list[dict[str, Any]]) -> None:
    victim, node = _victim(stage, workloads)
    name, namespace = victim["metadata"]["name"], victim["metadata"]["namespace"]
    before = victim["status"]["summary"]["placement"]
    console.print(f"[bold]5. A node dies[/]  {node}, under {name} on {before}, while its users go on")
    call, rate = _call(stage, victim), _rate(victim)
    seen = Seen()

    async def fail_under_traffic() -> float:
        traffic = asyncio.create_task(send(call, rate, _FAILURE_SECONDS, seed=99, seen=seen))
        await asyncio.sleep(2.0)
        await asyncio.to_thread(stage.sandbox.node_fault, node, "kill")
        seconds = await asyncio.to_thread(
            stage.wait_for,
            f"{name} to serve without {node}",
            lambda: _serves_without(stage, name, namespace, node),
            45,
        )
        await traffic
        return seconds

    seconds = asyncio.run(fail_under_traffic())
    after = stage.get("inferenceworkload", name, "-n", namespace)
    now = after["status"]["summary"]["placement"]
    moved = f"re-placed: {before} → {now}" if now != before else f"stays on {now}, on its other nodes"
    console.print(f"   {moved}; Ready again {seconds:.1f} s after the node was lost")
    outage = ""
    if seen.last_error_at is not None:
        outage = (
            f", the last one {seen.last_error_at - (seen.first_success_at or seen.last_error_at):.1f} s in"
        )
    console.print(
        f"   users: {seen.requests} requests, {seen.failed} failed{outage}; "
        f"p95 of the rest {milliseconds(seen.percentile_seconds(95))}"
    )
    events = stage.get("events", "-n", namespace)["items"]
    for event in events:
        if (
            event["involvedObject"].get("name") == name
            and event["involvedObject"]["kind"] == "InferenceWorkload"
        ):
            console.print(f"   event {event['type']:<8} {event['reason']:<20} {event['message']}")
    console.print(workload_table([after], {name: seen}))


def _pods(stage: Stage, name: str, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.get("pods", "-n", namespace, "-l", f"switchyard.dev/workload={name}")[
        "items"
    ]
    return found


def _victim(stage: Stage, workloads: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """A workload and the node under it: rather one whose pool has no other node, so that it must move."""
    pools = {each["metadata"]["name"]: each for each in stage.get("acceleratorpools")["items"]}

    def nodes_of(workload: dict[str, Any]) -> int:
        pool = workload["status"]["placements"][0]["pool"]
        return int(pools[pool].get("status", {}).get("nodes", {}).get("ready", 0))

    victim = min(workloads, key=lambda each: (nodes_of(each), each["metadata"]["name"]))
    pods = _pods(stage, victim["metadata"]["name"], victim["metadata"]["namespace"])
    return victim, next(each["spec"]["nodeName"] for each in pods if each["spec"].get("nodeName"))


def _serves_without(stage: Stage, name: str, namespace: str, node: str) -> bool:
    workload = stage.get("inferenceworkload", name, "-n", namespace)
    if not is_true(workload, "Ready"):
        return False
    track = workload["status"].get("activeTrack")
    return any(
        pod["metadata"]["labels"].get("switchyard.dev/track") == track
        and pod["spec"].get("nodeName") not in {None, node}
        and any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in pod["status"].get("conditions", ())
        )
        for pod in _pods(stage, name, namespace)
    )


def _say_what_to_try(stage: Stage) -> None:
    console.print(
        f"""
The cluster (pid {stage.sandbox.pid}) and the operator (pid {stage.operator_pid}) stay up. Try

  export KUBECONFIG={stage.sandbox.kubeconfig_path}
  export PATH={Path(sys.executable).parent}:$PATH
  kubectl get apool,iw -o wide
  kubectl describe iw/chat
  kubectl -n {NAMESPACE} get all,lease
  switchyard sandbox --help          # --state-dir {stage.directory}: kill nodes, reclaim, slow, faults
  helm-style release: {RELEASE} in {NAMESPACE}; operator log: {stage.operator_log}

and end it with

  kill {stage.operator_pid} {stage.sandbox.pid}
""",
        markup=False,
        soft_wrap=True,
    )
