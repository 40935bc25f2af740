"""The word of every gate that applies to the present stage, over the evidence with the newest window.

shadow   pairs, per segment that is to move; without a router in the users' path whole tracks
canary   the segment that moves: both arms side by side; at 100 % against the baseline's earlier share;
         parity by pairs from copies, which there are none of at 100 %
soak     every segment that moved, against the baseline's earlier share

A gate that knows nothing says Inconclusive and why, never Pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from switchyard.core.cutover.bench import Bench, Surroundings, share_probabilities
from switchyard.core.cutover.comparing import (
    ERRORS,
    Weighed,
    name_measure,
    read_contrasts,
    say_blind,
    weigh_comparison,
)
from switchyard.core.cutover.copies import list_gates
from switchyard.core.cutover.evidence import Taken
from switchyard.core.cutover.judging import find_stage
from switchyard.core.cutover.ledgers import Totals, sum_contrasts
from switchyard.core.cutover.plain_gates import (
    judge_cost,
    judge_signal,
    judge_stability,
    observe_cost,
    weigh_parity,
)
from switchyard.core.cutover.references import (
    Reference,
    extend_reference,
    keep_references,
    name_reference,
    read_reference,
    write_reference,
)
from switchyard.core.cutover.sequential.sample_ratio import SampleRatioTest, ShareWindow
from switchyard.core.cutover.sequential.split import to_threshold
from switchyard.core.cutover.tally import WHOLE, find_shape, list_moving
from switchyard.core.cutover.types import GateFacts, GateReport, PlanFacts, State
from switchyard.core.errors import EvidenceError
from switchyard.core.routing.document import BASELINE, CANDIDATE

ROUTE_NOT_EFFECTIVE = "RouteNotEffective"  # the report of the sample ratio; no gate can bear such a name
_ANSWERS = "answers/"
_SHARES = "shares/"


@dataclass(frozen=True, slots=True)
class Judged:
    """Reports, what to remember, and the candidate's requests (or pairs) in this stage.

    `observed_per_thousand`: what a thousand of its good answers cost while soaking; None before.
    """

    reports: tuple[GateReport, ...] = ()
    evidence: Mapping[str, str] = field(default_factory=dict)
    samples: int = 0
    observed_per_thousand: Decimal | None = None


def judge(facts: PlanFacts, state: State, taken: Taken, around: Surroundings) -> Judged:
    """What the gates of the stage say, each of every segment that it judges.

    `evidence` replaces the state's. Where the state does not keep it, the same window gives the same again.
    """
    stage = find_stage(state)
    if stage is None or state.stage_since is None:
        return Judged(evidence=state.evidence)
    rollback, promotion = share_probabilities(facts)
    name = f"{stage}@{state.stage_since.isoformat()}#{state.attempt}"
    bench = Bench(facts, state, taken, around, stage, name, rollback, promotion)
    moving = list_moving(facts, state, stage)
    segments = (WHOLE,) if stage == "shadow" and taken.is_by_track else moving
    evidence = keep_references(state.evidence)
    samples, answered = _count_answers(bench, moving, evidence)
    reports: list[GateReport] = []
    for gate in list_gates(facts, state, stage):
        if gate.kind == "stability":
            reports.append(judge_stability(bench, gate))
        elif gate.kind == "cost":
            reports.append(judge_cost(bench, gate, answered.candidate_requests, answered.seconds))
        elif gate.kind == "signal":
            reports.append(judge_signal(bench, gate))
        else:
            for segment in segments:
                key = f"{gate.name}/{segment}"
                weighed = _weigh(bench, gate, segment, state.evidence.get(key, ""))
                reports.append(bench.name_shares(gate, weighed.report))
                if weighed.text:
                    evidence[key] = weighed.text
    if stage == "canary" and not taken.is_by_track:
        reports.extend(filter(None, (_judge_share(bench, segment, evidence) for segment in moving)))
    for segment in moving:
        _extend_reference(bench, segment, evidence)
    observed = observe_cost(bench, answered.candidate_requests, answered.seconds) if stage == "soak" else None
    return Judged(tuple(reports), evidence, samples, observed)


def _weigh(bench: Bench, gate: GateFacts, segment: str, text: str) -> Weighed:
    try:
        if gate.kind == "parity":
            step = find_shape(bench.facts, bench.state, bench.stage).score_step
            return weigh_parity(bench, gate, segment, text, step)
        reference = _read_reference(bench, segment)
        return weigh_comparison(bench, gate, segment, text, reference)
    except (EvidenceError, ValueError) as error:
        return Weighed(GateReport(gate.name, "Error", segment, message=_say_unread(error)))


def _say_unread(error: Exception) -> str:
    return f"what was remembered can't be read and is gathered anew: {error}"[:200]


# -- requests of the stage


def _count_answers(bench: Bench, segments: tuple[str, ...], evidence: dict[str, str]) -> tuple[int, Totals]:
    """The stage's samples, and its good answers on the candidate with the time they were counted in."""
    key, window = f"{_ANSWERS}{bench.stage}", bench.taken.window
    samples, totals = _read_answers(bench.state.evidence.get(key, ""), bench.stage_name)
    if window is not None:
        good = 0
        for segment in (WHOLE,) if bench.taken.is_by_track else segments:
            tally = bench.find_tally(segment)
            if tally is None:
                continue
            cell = tally.pool(CANDIDATE)
            good += max(0, cell.requests - cell.failed)
            is_paired = bench.stage == "shadow" and not bench.taken.is_by_track
            samples += tally.pairs.pairs if is_paired else cell.requests
        totals = Totals(
            windows=totals.windows + 1,
            seconds=round(totals.seconds + window.seconds, 3),
            candidate_requests=totals.candidate_requests + good,
        )
    evidence[key] = json.dumps(
        [bench.stage_name, samples, totals.windows, totals.seconds, totals.candidate_requests],
        separators=(",", ":"),
    )
    return samples, totals


def _read_answers(text: str, stage: str) -> tuple[int, Totals]:
    try:
        name, samples, windows, seconds, answered = json.loads(text) if text else ("", 0, 0, 0.0, 0)
        if name != stage:
            return 0, Totals()
        return int(samples), Totals(
            windows=int(windows), seconds=float(seconds), candidate_requests=int(answered)
        )
    except (ValueError, TypeError, RecursionError):
        return 0, Totals()


# -- the share of requests


def _judge_share(bench: Bench, segment: str, evidence: dict[str, str]) -> GateReport | None:
    """Whether requests reach the candidate as its weight asks; None where sessions stick to an arm."""
    facts = next(each for each in bench.facts.segments if each.name == segment)
    weight = next((each.weight_percent for each in bench.state.segments if each.name == segment), 0)
    if facts.sticky is not None:
        return None
    key, window = f"{_SHARES}{segment}", bench.taken.window
    report = GateReport(
        ROUTE_NOT_EFFECTIVE,
        "Inconclusive",
        segment,
        margin=f"{weight} % to the candidate",
        false_rollback_probability=bench.rollback_probability,
    )
    try:
        test, totals = _read_shares(bench.state.evidence.get(key, ""), bench.stage_name)
    except EvidenceError as error:
        return replace(report, verdict="Error", message=_say_unread(error))
    tally = bench.find_tally(segment)
    if tally is not None and window is not None and window.index > test.last_index:
        started = tally.started.get(BASELINE, 0), tally.started.get(CANDIDATE, 0)
        test = test.update(ShareWindow(window.index, *started, weight / 100))
        totals = (totals[0] + started[0], totals[1] + started[1])
    evidence[key] = f"[{json.dumps(bench.stage_name)},{totals[0]},{totals[1]},{test.to_json()}]"
    requests = sum(totals)
    blind = say_blind(bench)
    if blind or not requests:
        return replace(report, message=blind or "no request was drawn yet", missing="both" if blind else "")
    threshold = to_threshold(bench.rollback_probability)
    observed = f"{100 * totals[1] / requests:.3g} % of {requests} requests"
    report = replace(report, observed=observed, samples=totals[1])
    if test.log_e >= threshold:
        side = "more" if test.is_above else "fewer"
        message = f"{side} requests reach the candidate than its weight asks: the route is not in effect"
        return replace(report, verdict="Fail", harm_ratio=1.0, message=message)
    return replace(report, verdict="Pass", harm_ratio=max(0.0, test.log_e / threshold), safe_ratio=1.0)


def _read_shares(text: str, stage: str) -> tuple[SampleRatioTest, tuple[int, int]]:
    if not text:
        return SampleRatioTest(), (0, 0)
    try:
        name, baseline, candidate, plain = json.loads(text)
        totals = int(baseline), int(candidate)
    except (ValueError, TypeError, RecursionError) as error:
        raise EvidenceError(f"evidence: {error}") from None
    if name != stage:
        return SampleRatioTest(), (0, 0)
    return SampleRatioTest.from_json(json.dumps(plain)), totals


# -- the baseline's share, for when it no longer answers


def _read_reference(bench: Bench, segment: str) -> Reference:
    return read_reference(bench.state.evidence.get(name_reference(segment), ""), bench.state.attempt)


def _extend_reference(bench: Bench, segment: str, evidence: dict[str, str]) -> None:
    """Add the window's baseline, in stages in which it answers."""
    tally = bench.find_tally(segment)
    if tally is None or bench.is_alone(segment):
        return
    known = _read_reference(bench, segment)
    measures = {ERRORS} | {name_measure(gate) for gate in bench.facts.gates if gate.kind == "latency"}
    for measure in sorted(measures - bench.taken.gaps):
        try:
            whole = sum_contrasts(read_contrasts(tally, measure))
        except ValueError:
            continue
        known[measure] = extend_reference(
            known.get(measure, (0, 0)), whole.baseline_requests, whole.baseline_bad
        )
    evidence[name_reference(segment)] = write_reference(known, bench.state.attempt)
