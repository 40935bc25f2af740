"""Cutover plans that an API server must take, that it must refuse, and changes to them, with the field to blame."""

from __future__ import annotations

from typing import Any


def plan(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "CutoverPlan",
        "metadata": {"name": "it"},
        "spec": {"workloadRef": {"name": "chat"}, "target": {"variant": "neuron"}, **spec},
    }


def of_segments(*segments: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return plan(segments=list(segments), **spec)


def segment(name: str = "batch", **fields: Any) -> dict[str, Any]:
    return {"name": name, "match": {"tier": "batch"}, **fields}


def matching(**match: Any) -> dict[str, Any]:
    return of_segments({"name": "some", "match": match})


def of_gates(*gates: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return plan(gates=list(gates), **spec)


def gate(kind: str, name: str = "it", **fields: Any) -> dict[str, Any]:
    return of_gates({"name": name, kind: fields})


def weights(*each: int) -> list[dict[str, Any]]:
    return [{"weight": weight} for weight in each]


SIGNAL = {"source": "prometheus", "template": "refusals", "max": "1"}
WINDOW = {"start": "09:00", "end": "16:00"}
NO_COPIES = {"percent": 0}

GOOD = {
    "the smallest": plan(),
    "one step": plan(steps=weights(100)),
    "twelve steps": plan(steps=weights(*range(1, 12), 100)),
    "a segment with steps of its own": of_segments(segment(steps=weights(30, 100))),
    "eight segments": of_segments(*[segment(f"s{number}") for number in range(7)], {"name": "left"}),
    "a segment called rest that takes the rest": of_segments(segment(), {"name": "rest"}),
    "a segment that stays": of_segments(segment(stay=True), {"name": "left"}),
    "minima of nothing": plan(steps=[{"weight": 100, "minDuration": "0s", "minSamples": 0}]),
    "a minimum as long as the maximum": plan(
        steps=[{"weight": 100, "minDuration": "1h", "maxDuration": "60m"}]
    ),
    "no copies": plan(shadow=NO_COPIES),
    "no copies, and gates that need none": of_gates(
        {"name": "errors", "errors": {}},
        {"name": "cost", "cost": {}},
        {"name": "calm", "stages": ["shadow", "canary"], "stability": {}},
        shadow=NO_COPIES,
    ),
    "every kind of gate": of_gates(
        {"name": "errors", "errors": {}},
        {"name": "latency", "latency": {}},
        {"name": "parity", "parity": {}},
        {"name": "stability", "stability": {}},
        {"name": "cost", "cost": {}},
        {"name": "signal", "signal": SIGNAL},
    ),
    "parity while traffic moves": of_gates({"name": "p", "stages": ["shadow", "canary"], "parity": {}}),
    "a margin of odds alone": gate("errors", margin={"absolute": "0"}),
    "a margin of shares alone": gate("errors", margin={"oddsRatio": "1", "absolute": "0.001"}),
    "json with its options": gate(
        "parity", comparator="json", ignoredPaths=["/id", "/choices/*/a~1b"], numericTolerance="0.001"
    ),
    "labels with theirs": gate("parity", comparator="topk", k=3, pointer="/labels"),
    "a saving that is asked for": gate("cost", maxIncreasePercent=-99),
    "a signal below nothing": gate("signal", source="prometheus", template="slope", max="-0.5"),
    "approvals of stages and segments": of_segments(
        segment(),
        {"name": "left", "approval": True},
        approvals=["shadow", "canary", "segment:batch", "promote"],
        approved=["shadow", "segment:left", "segment:batch"],
    ),
    "a window over midnight": plan(windows=[{"start": "22:00", "end": "04:00", "timeZone": "Europe/Berlin"}]),
    "the same header for two segments": of_segments(
        {"name": "a", "match": {"headers": [{"name": "x-team", "value": "a"}]}},
        {"name": "b", "match": {"headers": [{"name": "x-team", "value": "b"}]}},
    ),
}

BAD = {
    "no workload": (plan(workloadRef={}), "spec.workloadRef.name"),
    "a workload that no object is called": (plan(workloadRef={"name": "Chat"}), "spec.workloadRef.name"),
    "no variant": (plan(target={"pool": "inf2"}), "spec.target.variant"),
    "a pool without a name": (plan(target={"variant": "neuron", "pool": ""}), "spec.target.pool"),
    "an unknown router": (plan(traffic={"router": "envoy"}), "spec.traffic.router"),
    "header and cookie": (
        plan(traffic={"sticky": {"header": "a", "cookie": "b"}}),
        "spec.traffic.sticky",
    ),
    "a sticky nothing": (plan(traffic={"sticky": {}}), "spec.traffic.sticky"),
    # steps
    "no steps": (plan(steps=[]), "spec.steps"),
    "thirteen steps": (plan(steps=weights(*range(1, 13), 100)), "spec.steps"),
    "a step of nothing": (plan(steps=weights(0, 100)), "spec.steps[0].weight"),
    "more than all": (plan(steps=weights(50, 101)), "spec.steps[1].weight"),
    "steps that end below 100": (plan(steps=weights(5, 50)), "spec.steps"),
    "steps that fall": (plan(steps=weights(50, 20, 100)), "spec.steps"),
    "the same step twice": (plan(steps=weights(5, 5, 100)), "spec.steps"),
    "two last steps": (plan(steps=weights(5, 100, 100)), "spec.steps"),
    "steps of a segment that fall": (
        of_segments(segment(steps=weights(50, 20, 100))),
        "spec.segments[0].steps",
    ),
    "steps of a segment that end below 100": (
        of_segments(segment(), segment("other", steps=weights(50))),
        "spec.segments[1].steps",
    ),
    "a minimum above the maximum": (
        plan(steps=[{"weight": 100, "minDuration": "2h", "maxDuration": "1h"}]),
        "spec.steps[0].minDuration",
    ),
    "a minimum above the default maximum": (
        plan(steps=[{"weight": 100, "minDuration": "25h"}]),
        "spec.steps[0].minDuration",
    ),
    "a step of more than a week at least": (
        plan(steps=[{"weight": 100, "minDuration": "200h", "maxDuration": "300h"}]),
        "spec.steps[0].minDuration",
    ),
    "a step of no time at most": (
        plan(steps=[{"weight": 100, "minDuration": "0s", "maxDuration": "0s"}]),
        "spec.steps[0].maxDuration",
    ),
    "a negative time": (plan(steps=[{"weight": 100, "minDuration": "-1m"}]), "spec.steps[0].minDuration"),
    "fewer than no samples": (plan(steps=[{"weight": 100, "minSamples": -1}]), "spec.steps[0].minSamples"),
    # segments
    "no segments": (plan(segments=[]), "spec.segments"),
    "nine segments": (of_segments(*[segment(f"s{number}") for number in range(9)]), "spec.segments"),
    "two segments of a name": (of_segments(segment(), segment()), "spec.segments[1]"),
    "a segment that hides the next": (of_segments({"name": "all"}, segment()), "spec.segments"),
    "a match called rest": (of_segments(segment("rest")), "spec.segments[0].name"),
    "a match of nothing": (matching(), "spec.segments[0].match"),
    "headers, but none": (matching(headers=[]), "spec.segments[0].match.headers"),
    "a header twice": (
        matching(headers=[{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]),
        "spec.segments[0].match.headers[1]",
    ),
    "a header twice in different case": (
        matching(headers=[{"name": "a", "value": "1"}, {"name": "A", "value": "2"}]),
        "spec.segments[0].match.headers",
    ),
    "a header that is none": (
        matching(headers=[{"name": "x team", "value": "1"}]),
        "spec.segments[0].match.headers[0].name",
    ),
    "a path with a query": (matching(pathPrefix="/v1?x"), "spec.segments[0].match.pathPrefix"),
    "an unknown tier": (matching(tier="gold"), "spec.segments[0].match.tier"),
    "nothing that moves": (
        of_segments(segment(stay=True), {"name": "left", "stay": True}),
        "spec.segments",
    ),
    "steps of what stays": (
        of_segments(segment(stay=True, steps=weights(100)), {"name": "left"}),
        "spec.segments[0].stay",
    ),
    "approval of what stays": (
        of_segments(segment(stay=True, approval=True), {"name": "left"}),
        "spec.segments[0].stay",
    ),
    "an unknown way back": (of_segments(segment(onFailure="pray")), "spec.segments[0].onFailure"),
    # shadow
    "more copies than requests": (plan(shadow={"percent": 101}), "spec.shadow.percent"),
    "copies without concurrency": (plan(shadow={"maxConcurrency": 0}), "spec.shadow.maxConcurrency"),
    "a candidate without any load": (
        plan(shadow={"maxCandidateUtilisation": "0"}),
        "spec.shadow.maxCandidateUtilisation",
    ),
    "a candidate over its load": (
        plan(shadow={"maxCandidateUtilisation": "1.2"}),
        "spec.shadow.maxCandidateUtilisation",
    ),
    "a longer minimum of copies": (
        plan(shadow={"minDuration": "2h", "maxDuration": "1h"}),
        "spec.shadow.minDuration",
    ),
    "copies for more than a month": (plan(shadow={"maxDuration": "721h"}), "spec.shadow.maxDuration"),
    "an exclusion of nothing": (plan(shadow={"exclude": [{}]}), "spec.shadow.exclude[0]"),
    # gates
    "a gate of no kind": (of_gates({"name": "it"}), "spec.gates[0]"),
    "a gate of two kinds": (of_gates({"name": "it", "errors": {}, "cost": {}}), "spec.gates[0]"),
    "two gates of a name": (
        of_gates({"name": "it", "errors": {}}, {"name": "it", "cost": {}}),
        "spec.gates[1]",
    ),
    "a gate that is judged nowhere": (
        of_gates({"name": "it", "stages": [], "errors": {}}),
        "spec.gates[0].stages",
    ),
    "parity while soaking": (
        of_gates({"name": "it", "stages": ["shadow", "soak"], "parity": {}}),
        "spec.gates[0].stages",
    ),
    "cost of copies": (
        of_gates({"name": "it", "stages": ["shadow", "canary"], "cost": {}}),
        "spec.gates[0].stages",
    ),
    "parity without copies": (of_gates({"name": "it", "parity": {}}, shadow=NO_COPIES), "spec.gates"),
    "a gate for copies without copies": (
        of_gates({"name": "it", "stages": ["shadow"], "errors": {}}, shadow=NO_COPIES),
        "spec.gates",
    ),
    "nine latency gates": (
        of_gates(*[{"name": f"g{number}", "latency": {}} for number in range(9)]),
        "spec.gates",
    ),
    "nine parity gates": (
        of_gates(*[{"name": f"g{number}", "parity": {}} for number in range(9)]),
        "spec.gates",
    ),
    "a candidate that must be better": (
        gate("errors", margin={"oddsRatio": "0.9"}),
        "spec.gates[0].errors.margin.oddsRatio",
    ),
    "a margin of nothing": (
        gate("errors", margin={"oddsRatio": "1.0", "absolute": "0.0"}),
        "spec.gates[0].errors.margin",
    ),
    "half a margin of nothing": (
        gate("latency", margin={"oddsRatio": "1", "absolute": "0"}),
        "spec.gates[0].latency.margin",
    ),
    "a hard stop at once": (gate("errors", hardStopRatio="0"), "spec.gates[0].errors.hardStopRatio"),
    "no time to answer": (gate("latency", target="0s"), "spec.gates[0].latency.target"),
    "hours to answer": (gate("latency", target="2h"), "spec.gates[0].latency.target"),
    "an unknown comparator": (gate("parity", comparator="taste"), "spec.gates[0].parity.comparator"),
    "parity to the last bit": (gate("parity", margin="0"), "spec.gates[0].parity.margin"),
    "paths of no json": (gate("parity", ignoredPaths=["/id"]), "spec.gates[0].parity.comparator"),
    "a tolerance of tokens": (
        gate("parity", comparator="tokens", numericTolerance="0.1"),
        "spec.gates[0].parity.comparator",
    ),
    "labels of text": (gate("parity", comparator="text", k=5), "spec.gates[0].parity.k"),
    "a pointer into bytes": (gate("parity", pointer="/x"), "spec.gates[0].parity.pointer"),
    "a pointer that is none": (
        gate("parity", comparator="text", pointer="answer"),
        "spec.gates[0].parity.pointer",
    ),
    "fewer than no restarts": (gate("stability", maxRestarts=-1), "spec.gates[0].stability.maxRestarts"),
    "a candidate for nothing": (
        gate("cost", maxIncreasePercent=-100),
        "spec.gates[0].cost.maxIncreasePercent",
    ),
    "a signal without template": (
        gate("signal", source="prometheus", max="1"),
        "spec.gates[0].signal.template",
    ),
    "a signal without a bound": (gate("signal", **{**SIGNAL, "max": "much"}), "spec.gates[0].signal.max"),
    # analysis
    "a window of no time": (plan(analysis={"interval": "0s"}), "spec.analysis.interval"),
    "a window of an hour": (plan(analysis={"interval": "1h"}), "spec.analysis.interval"),
    "no false rollback ever": (
        plan(analysis={"falseRollbackProbability": "0.0"}),
        "spec.analysis.falseRollbackProbability",
    ),
    "a worse coin": (
        plan(analysis={"falsePromotionProbability": "0.51"}),
        "spec.analysis.falsePromotionProbability",
    ),
    "no patience": (plan(analysis={"inconclusiveAfter": "0s"}), "spec.analysis.inconclusiveAfter"),
    "promotion without evidence": (
        plan(analysis={"onInconclusive": "promote"}),
        "spec.analysis.onInconclusive",
    ),
    "a baseline for ever": (plan(rollback={"retainBaseline": "721h"}), "spec.rollback.retainBaseline"),
    "an unknown scope": (plan(rollback={"scope": "pod"}), "spec.rollback.scope"),
    # people
    "an unknown stage": (plan(approvals=["soak"]), "spec.approvals[0]"),
    "a stage twice": (plan(approvals=["canary", "canary"]), "spec.approvals[1]"),
    "approval of a segment that is not": (
        of_segments(segment(), approvals=["segment:other"]),
        "spec.approvals",
    ),
    "approval of a segment where there are none": (plan(approvals=["segment:all"]), "spec.approvals"),
    "approval of a segment that stays": (
        of_segments(segment(stay=True), {"name": "left"}, approvals=["segment:batch"]),
        "spec.approvals",
    ),
    "approval of copies that are not": (plan(shadow=NO_COPIES, approvals=["shadow"]), "spec.approvals"),
    "approved what nobody asked for": (plan(approved=["canary"]), "spec.approved"),
    "approved a segment that waits for nobody": (
        of_segments(segment(), approvals=["canary"], approved=["segment:batch"]),
        "spec.approved",
    ),
    "a window without length": (plan(windows=[{"start": "09:00", "end": "09:00"}]), "spec.windows[0].end"),
    "a window at no time": (plan(windows=[{"start": "24:00", "end": "09:00"}]), "spec.windows[0].start"),
    "a window on no day": (plan(windows=[{**WINDOW, "days": []}]), "spec.windows[0].days"),
    "a window on a day twice": (
        plan(windows=[{**WINDOW, "days": ["mon", "mon"]}]),
        "spec.windows[0].days[1]",
    ),
    "a window on no known day": (plan(windows=[{**WINDOW, "days": ["Monday"]}]), "spec.windows[0].days[0]"),
    "a time zone with blanks": (
        plan(windows=[{**WINDOW, "timeZone": "Central Time"}]),
        "spec.windows[0].timeZone",
    ),
    # money
    "a negative budget": (plan(budget={"maxDualRunCost": "-1"}), "spec.budget.maxDualRunCost"),
    "a deadline at once": (plan(budget={"deadline": "0s"}), "spec.budget.deadline"),
    "a payback at once": (
        plan(economics={"requirePaybackWithin": "0s"}),
        "spec.economics.requirePaybackWithin",
    ),
    "work for love": (plan(economics={"engineeringCost": "love"}), "spec.economics.engineeringCost"),
    "a token of nothing": (plan(restartToken=""), "spec.restartToken"),
}

PHASES_UNDER_WAY = (
    "Validating",
    "AwaitingApproval",
    "Provisioning",
    "Shadowing",
    "Canary",
    "Soaking",
    "Completing",
    "Paused",
    "RollingBack",
)
PHASES_AT_REST = (None, "Pending", "Completed", "RolledBack", "Aborted")
FROZEN = {
    "another variant": ({"target": {"variant": "gpu"}}, "spec.target"),
    "a pool that was open": ({"target": {"variant": "neuron", "pool": "inf2"}}, "spec.target"),
    "another workload": ({"workloadRef": {"name": "embed"}}, "spec.workloadRef"),
}
FREE = {
    "aborting": {"abort": True},
    "suspending": {"suspend": True},
    "other steps": {"steps": weights(50, 100)},
    "the same target once more": {"target": {"variant": "neuron"}},
}
