"""A plan made to run within minutes on one machine. Pure.

Time is pressed together: durations are divided by the speed. So fewer requests come than would have come, and
what is counted must strike as much more often: margins and faults of a kind are magnified alike, so that one
that would be caught is caught here, and one within its margin is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.values import Duration
from switchyard.core.cutover.types import PlanFacts
from switchyard.profiling.document import write_duration

SEGMENT_HEADER = "x-switchyard-rehearsal"
_AIM_SECONDS = 60.0  # of all shortest times together, where no speed is given
_MARGIN_RATIO = 0.2  # what some hundred requests can show
_LEAST_WEIGHT_PERCENT = 10
_LEAST_SAMPLES = 20
_COPIED_PERCENT = 50
_NOISE_PERCENT = 50
_SOAK_SECONDS = 5.0
_LEAST_SECONDS = {"minDuration": 2.0, "maxDuration": 180.0}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scaled:
    """The plan to rehearse. `magnified`: by kind of fault, how much more often it strikes than in truth."""

    document: Json
    magnified: dict[str, float]
    notes: tuple[str, ...]


def sum_shortest_seconds(facts: PlanFacts) -> float:
    """The shortest that the plan may take by its own words."""
    steps = sum(step.min_seconds for segment in facts.segments for step in segment.steps)
    return steps + facts.retain_seconds + (facts.shadow.min_seconds if facts.shadow.percent else 0.0)


def choose_speed(facts: PlanFacts) -> float:
    """How much faster than in truth, so that the shortest times last about a minute."""
    return max(1.0, round(sum_shortest_seconds(facts) / _AIM_SECONDS, 1))


def scale_plan(name: str, namespace: str, spec: CutoverPlanSpec, facts: PlanFacts, speed: float) -> Scaled:
    """The plan, that many times faster."""
    told = _dump(spec)
    notes: list[str] = []
    told["traffic"]["router"] = "builtin"
    if facts.router not in {"auto", "builtin"}:
        notes.append(f"traffic.router {facts.router}: the built-in router moves the traffic here")
    told["steps"] = _scale_steps(told["steps"], speed, notes)
    for segment in told.get("segments", ()):
        if segment.get("steps"):
            segment["steps"] = _scale_steps(segment["steps"], speed, notes)
        if "pathPrefix" in segment.get("match", {}):
            _replace_path(segment, notes)
    _scale_stage(told["shadow"], speed)
    if 0 < told["shadow"]["percent"] < _COPIED_PERCENT:
        notes.append(f"{_COPIED_PERCENT} % of the requests are copied, not {told['shadow']['percent']} %")
        told["shadow"]["percent"] = _COPIED_PERCENT
    told["gates"], magnified = _magnify(told["gates"] or _write_gates(facts), notes)
    if any("parity" in gate for gate in told["gates"]) and told["shadow"]["noiseArmPercent"]:
        told["shadow"]["noiseArmPercent"] = max(_NOISE_PERCENT, told["shadow"]["noiseArmPercent"])
    analysis = told["analysis"]
    analysis["interval"] = _divide(analysis["interval"], speed, 1.0)
    analysis["inconclusiveAfter"] = _divide(analysis["inconclusiveAfter"], speed, 30.0)
    warm_seconds = Duration(told["rollback"]["retainBaseline"]).seconds
    told["rollback"]["retainBaseline"] = write_duration(min(_SOAK_SECONDS, warm_seconds))
    _leave_out(told, facts, notes)
    document = {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "CutoverPlan",
        "metadata": {"name": name, "namespace": namespace},
        "spec": told,
    }
    return Scaled(document, magnified, tuple(dict.fromkeys(notes)))


def _dump(spec: CutoverPlanSpec) -> Json:
    """The spec with its defaults, but without empty lists: that a field is given can be an error."""
    told: Json = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    for gate in told["gates"]:
        if gate.get("parity", {}).get("ignoredPaths") == []:
            del gate["parity"]["ignoredPaths"]
    return told


def _leave_out(told: Json, facts: PlanFacts, notes: list[str]) -> None:
    """Take away what can't be rehearsed, and release what waits for a person."""
    reasons = {
        "windows": "windows are not waited for",
        "budget": "budget is not rehearsed",
        "economics": "economics is not rehearsed",
    }
    for field, reason in reasons.items():
        if told.pop(field, None):
            notes.append(reason)
    held = [field for field in ("suspend", "abort") if told.pop(field, False)]
    notes.extend(f"{field}: true is left out, else nothing would move" for field in held)
    told.pop("restartToken", None)
    if facts.approvals:
        told["approved"] = sorted(facts.approvals)
        told["approvals"] = sorted({*told.get("approvals", ()), *facts.approvals})
        notes.append(f"approved at once: {', '.join(sorted(facts.approvals))}")


def _scale_steps(steps: Sequence[Json], speed: float, notes: list[str]) -> list[Json]:
    """The steps; those of a few percent are one of ten, as too few requests would come."""
    found: list[Json] = []
    for step in steps:
        scaled = dict(step)
        _scale_stage(scaled, speed)
        scaled["weight"] = max(_LEAST_WEIGHT_PERCENT, step["weight"])
        if scaled["weight"] != step["weight"]:
            notes.append(f"steps below {_LEAST_WEIGHT_PERCENT} % are rehearsed at {_LEAST_WEIGHT_PERCENT} %")
        if found and found[-1]["weight"] == scaled["weight"]:
            found.pop()
        found.append(scaled)
    return found


def _scale_stage(stage: Json, speed: float) -> None:
    for field, least in _LEAST_SECONDS.items():
        stage[field] = _divide(stage[field], speed, least)
    asked = stage["minSamples"]
    stage["minSamples"] = min(asked, max(_LEAST_SAMPLES, round(asked / speed)))


def _divide(duration: str, speed: float, least_seconds: float) -> str:
    """The duration through the speed, but no shorter than the least, nor longer than it was."""
    seconds = Duration(duration).seconds
    return write_duration(min(seconds, max(least_seconds, seconds / speed)))


def _replace_path(segment: Json, notes: list[str]) -> None:
    """Let a header stand for a path, which the simulated servers don't know."""
    match = segment["match"]
    path = match.pop("pathPrefix")
    match.setdefault("headers", []).append({"name": SEGMENT_HEADER, "value": segment["name"]})
    notes.append(f"segment {segment['name']}: the header {SEGMENT_HEADER} stands for pathPrefix {path}")


def _write_gates(facts: PlanFacts) -> list[Json]:
    """The default gates in full."""
    written: list[Json] = []
    for gate in facts.gates:
        margin = {"oddsRatio": f"{gate.odds_ratio:g}", "absolute": f"{gate.absolute_ratio:g}"}
        if gate.kind == "errors":
            written.append(
                {
                    "name": gate.name,
                    "errors": {"margin": margin, "hardStopRatio": f"{gate.hard_stop_ratio:g}"},
                }
            )
        elif gate.kind == "latency":
            target = write_duration(gate.threshold_seconds)
            written.append(
                {"name": gate.name, "latency": {"metric": gate.metric, "target": target, "margin": margin}}
            )
        elif gate.kind == "stability":
            written.append({"name": gate.name, "stability": {"maxRestarts": gate.max_restarts}})
    return written


def _magnify(gates: Sequence[Mapping[str, Any]], notes: list[str]) -> tuple[list[Json], dict[str, float]]:
    """The gates with margins that some hundred requests can show, and by how much each kind was widened."""
    kept: list[Json] = []
    magnified: dict[str, float] = {}
    for gate in gates:
        if "signal" in gate:
            notes.append(f"gate {gate['name']}: signals of a metric source are not rehearsed")
            continue
        kind = next((each for each in ("errors", "latency", "parity") if each in gate), "")
        if not kind:
            kept.append(_keep_cost(gate, notes))
            continue
        body = dict(gate[kind])
        margin = float(body["margin"] if kind == "parity" else body["margin"]["absolute"])
        wide = max(margin, _MARGIN_RATIO)
        factor = wide / margin if margin else 1.0
        body["margin"] = f"{wide:g}" if kind == "parity" else {**body["margin"], "absolute": f"{wide:g}"}
        if factor > 1:
            notes.append(f"gate {gate['name']}: margin {margin:g} stands as {wide:g}")
        if kind == "errors":
            body["hardStopRatio"] = f"{min(1.0, float(body['hardStopRatio']) * factor):g}"
        fault = {"errors": "errors", "parity": "wrong"}.get(kind)
        if fault is not None:
            magnified[fault] = min(factor, magnified.get(fault, factor))
        kept.append({**gate, kind: body})
    return kept, magnified


def _keep_cost(gate: Mapping[str, Any], notes: list[str]) -> Json:
    if "cost" not in gate:
        return dict(gate)
    notes.append(f"gate {gate['name']}: the predicted cost is judged, the observed one is not rehearsed")
    return {**gate, "stages": ["canary"]}
