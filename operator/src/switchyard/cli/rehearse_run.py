"""One rehearsal: the cast on an embedded cluster, the operator at work, users asking, the plan to its end."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from switchyard.api.parsing import parse_plan
from switchyard.catalog import load_catalog
from switchyard.cli.callers import Callers
from switchyard.cli.cutover_cluster import reach_cluster
from switchyard.cli.demo_report import is_true
from switchyard.cli.playing import Moved, Theatre, play
from switchyard.cli.rehearse_faults import Fault, Side, make_faulty
from switchyard.cli.rehearse_input import Cast
from switchyard.cli.rehearse_objects import (
    Rate,
    build_fleet,
    build_pool,
    build_workload,
    list_callers,
)
from switchyard.cli.rehearse_scaling import Scaled
from switchyard.cli.stage import Stage, StageError, open_stage
from switchyard.core.cutover.types import PlanFacts

_READY_SECONDS = 60.0
_WARM_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Script:
    """All that is decided before a rehearsal begins."""

    cast: Cast
    facts: PlanFacts
    rate: Rate
    speed: float
    faults: tuple[Fault, ...]
    scaled: Scaled


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of it."""

    script: Script
    moved: Moved
    seconds: float


def rehearse(script: Script, console: Console, *, timeout_seconds: float) -> Rehearsed:
    """The plan carried out here. Raises StageError; what happened until then is in the log that it names."""
    directory = Path(tempfile.mkdtemp(prefix="switchyard-rehearsal-"))
    fleet = directory / "fleet.yaml"  # JSON is YAML
    catalog = load_catalog()
    fleet.write_text(json.dumps(build_fleet(script.cast, script.rate, catalog)), encoding="utf-8")
    with open_stage(directory, fleet=str(fleet)) as stage:
        stage.install_definitions()
        stage.start_operator(Path(stage.sandbox.kubeconfig_path))
        _serve_baseline(stage, script)
        moved, seconds = _move(stage, script, console, timeout_seconds)
    shutil.rmtree(directory, ignore_errors=True)
    return Rehearsed(script, moved, seconds)


def _serve_baseline(stage: Stage, script: Script) -> None:
    """Returns once the workload serves where it does before the move, and knows its other variants."""
    cast, target = script.cast, script.cast.plan.target.variant
    if cast.namespace != "default":
        stage.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cast.namespace}})
    names = [each.name for each in cast.workload_spec.variants]
    first = [cast.serving.variant] if cast.serving.variant else [each for each in names if each != target]
    pools = {name: build_pool(name, body) for name, (body, _) in cast.pools.items()}
    stage.apply(*(pools[each] for each in _choose_pools(cast)), _build(script, first))
    _wait_until_ready(stage, cast)
    stage.apply(*pools.values(), _build(script, names))
    _wait_until_ready(stage, cast)


def _choose_pools(cast: Cast) -> list[str]:
    """The pools that there are before the move: where it serves, else all that the same variant can leave."""
    if cast.serving.pool in cast.pools:
        return [cast.serving.pool]
    left_out = cast.plan.target.pool if cast.is_twin else None
    return [each for each in cast.pools if each != left_out]


def _build(script: Script, variants: Sequence[str]) -> dict[str, Any]:
    """The workload; the target's variant has the faults of the candidate, the others the baseline's."""
    sides: dict[Side, Any] = {
        side: make_faulty(script.faults, side, script.scaled.magnified) for side in ("baseline", "candidate")
    }
    target = script.cast.plan.target.variant
    faulty = {each: sides["candidate" if each == target else "baseline"] for each in variants}
    return build_workload(script.cast, script.rate, faulty, variants)


def _wait_until_ready(stage: Stage, cast: Cast) -> None:
    newest: dict[str, Any] = {}

    def is_ready() -> bool:
        newest.update(stage.get("inferenceworkload", cast.workload_name, "-n", cast.namespace))
        return is_true(newest, "Ready")

    try:
        stage.wait_for(f"{cast.workload_name} to serve", is_ready, _READY_SECONDS)
    except StageError as error:
        raise StageError(f"{error}\n{_describe_trouble(newest)}") from error


def _describe_trouble(workload: Mapping[str, Any]) -> str:
    conditions = workload.get("status", {}).get("conditions", ())
    told = [
        f"{each['type']} {each['status']}: {each.get('message', '')}"
        for each in conditions
        if each["type"] in {"Ready", "Placed"}
    ]
    return "; ".join(told) or "the operator said nothing of it yet"


def _move(stage: Stage, script: Script, console: Console, timeout_seconds: float) -> tuple[Moved, float]:
    cast = script.cast
    service = stage.get("service", cast.workload_name, "-n", cast.namespace)["spec"]
    segments = parse_plan(script.scaled.document).spec.segments or ()
    matches = {each.name: each.match for each in segments}
    callers = Callers(
        f"http://{service['clusterIP']}:{service['ports'][0]['port']}",
        list_callers(script.facts, matches, script.rate),
    )
    with reach_cluster(str(stage.sandbox.kubeconfig_path), None) as cluster, callers.asking():
        time.sleep(_WARM_UP_SECONDS)
        begun = time.monotonic()
        theatre = Theatre(stage, cluster, callers, console)
        moved = play(theatre, script.scaled.document, timeout_seconds=timeout_seconds)
        return moved, time.monotonic() - begun
