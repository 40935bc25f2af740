"""Gates that need no statistics: stability, cost and signals; and parity's scores, which do."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from switchyard.core.cutover.bench import Bench, is_number, show_percent
from switchyard.core.cutover.comparing import (
    Missing,
    Weighed,
    conclude,
    make_evidence,
    say_blind,
    show_progress,
)
from switchyard.core.cutover.ledgers import Losses
from switchyard.core.cutover.sequential.betting import count_losses
from switchyard.core.cutover.sequential.needed import compute_needed, grow_betting_safe
from switchyard.core.cutover.sequential.split import to_threshold
from switchyard.core.cutover.types import GateFacts, GateReport
from switchyard.core.routing.samples import ScoreCounts

_FEWEST_ANSWERS = 1000  # before an observed cost counts
_SECONDS_PER_HOUR = 3600.0


def judge_stability(bench: Bench, gate: GateFacts) -> GateReport:
    """Restarts and losses of readiness since the stage began."""
    candidate, before = bench.around.candidate, bench.state.restarts_before
    # Pods that were replaced begin at 0 again: then all of what the new ones count is of this stage.
    restarts = candidate.restarts - before if candidate.restarts >= before else candidate.restarts
    report = GateReport(
        gate.name,
        "Inconclusive",
        observed=f"{restarts} restarts",
        margin=f"at most {gate.max_restarts}",
        samples=candidate.ready,
    )
    if restarts > gate.max_restarts:
        message = "containers of the candidate restarted, or its pods lost readiness, more often than allowed"
        return replace(report, verdict="Fail", harm_ratio=1.0, message=message)
    if candidate.ready < 1:
        return replace(report, missing="candidate", message="the candidate has no ready pod")
    return replace(report, verdict="Pass", safe_ratio=1.0)


def judge_cost(bench: Bench, gate: GateFacts, answered: int, seconds: float) -> GateReport:
    """Money per thousand requests: predicted at planned demand, and while soaking observed.

    `answered`, `seconds`: good answers of the candidate in this stage, and the time they were counted in.
    At less than the planned demand the same pods cost more per request on either side; so the observed cost
    is held to what the baseline would cost at the demand that was observed.
    """
    baseline, target = bench.around.baseline_cost_per_thousand, bench.around.target
    report = GateReport(
        gate.name, "Inconclusive", margin=f"at most {100 * gate.max_increase_ratio:+g} %", samples=answered
    )
    if baseline is None or baseline <= 0:
        message = "the cost of a thousand requests on the baseline is not known: its pool needs a price"
        return replace(report, missing="baseline", message=message)
    if target.cost_per_thousand is None:
        message = "the cost of a thousand requests on the candidate is not known: its pool needs a price"
        return replace(report, missing="candidate", message=message)
    limit = baseline * Decimal(str(1 + gate.max_increase_ratio))
    predicted = target.cost_per_thousand
    report = replace(report, observed=f"{predicted:.4g} predicted against {baseline:.4g} per thousand")
    if predicted > limit:
        return replace(
            report, verdict="Fail", harm_ratio=1.0, message="costs more than allowed, as predicted"
        )
    observed = observe_cost(bench, answered, seconds)
    if bench.stage != "soak":
        return replace(report, verdict="Pass", safe_ratio=1.0)
    if observed is None:
        message = f"{answered} of {_FEWEST_ANSWERS} answers that an observed cost needs"
        return replace(report, missing="" if answered else "candidate", message=message)
    report = replace(report, observed=f"{observed:.4g} observed, {report.observed}")
    if observed > limit * _scale_to_demand(bench, answered, seconds):
        return replace(report, verdict="Fail", harm_ratio=1.0, message="costs more than allowed, as observed")
    return replace(report, verdict="Pass", safe_ratio=1.0)


def observe_cost(bench: Bench, answered: int, seconds: float) -> Decimal | None:
    """Money per thousand good answers of the candidate, which took that long; None for too few of them."""
    if answered < _FEWEST_ANSWERS or seconds <= 0:
        return None
    per_hour = Decimal(str(answered / seconds * _SECONDS_PER_HOUR))
    return bench.around.candidate.cost_per_hour / per_hour * 1000


def judge_signal(bench: Bench, gate: GateFacts) -> GateReport:
    """The newest value of a query against its bound."""
    found = bench.around.signals.get(gate.name)
    report = GateReport(gate.name, "Inconclusive", margin=f"at most {gate.max_value:g}")
    if found is None or found.value is None or not is_number(found.value):
        told = found.problem if found is not None and found.problem else ""
        shown = f"{found.value}" if found is not None and found.value is not None else "none"
        message = told or f"no usable value of template {gate.template} from {gate.source}: {shown}"
        return replace(report, missing="candidate", message=message)
    report = replace(report, observed=f"{found.value:g}", samples=1)
    if found.value > gate.max_value:
        message = f"template {gate.template} of {gate.source} is above its bound"
        return replace(report, verdict="Fail", harm_ratio=1.0, message=message)
    return replace(report, verdict="Pass", safe_ratio=1.0)


def weigh_parity(bench: Bench, gate: GateFacts, segment: str, text: str, score_step: int) -> Weighed:
    """What a parity gate says of a segment, with this window counted. Raises EvidenceError."""
    has_noise = bench.facts.shadow.noise_percent > 0
    blank = Losses.start(gate.margin_ratio, has_noise=has_noise, score_step=score_step)
    book = blank.resume(text, bench.stage_name)
    tally, window = bench.find_tally(segment), bench.taken.window
    if tally is not None and window is not None:
        scores = tally.pairs.scores.get(gate.comparator_name, ScoreCounts())
        losses = dict(scores.differences) if has_noise else count_losses(scores.candidate.scores)
        incomparable = scores.candidate.incomparable
        book = book.update(window.index, window.seconds, losses, incomparable)
    totals, test = book.totals, book.losses
    against = "the noise arm's" if has_noise else "1 (no noise arm)"
    margin = f"mean score {gate.margin_ratio:g} below {against}"
    report = GateReport(gate.name, "Inconclusive", segment, margin=margin, samples=test.pairs)
    text = book.write(bench.stage_name)
    lack = say_blind(bench) or _find_parity_lack(bench, gate, book)
    if lack:
        missing: Missing = "both" if totals.windows or bench.taken.is_blind else ""
        return Weighed(replace(report, missing=missing, message=lack), text, test.pairs)
    evidence = make_evidence(bench, book.sides, test.pairs)
    report = replace(
        show_progress(report, evidence), observed=f"{test.mean:.3g} below, over {test.pairs} pairs"
    )
    growth = grow_betting_safe(test.mean, test.variance, test.margin)
    needed = compute_needed(evidence.safe_log_e, to_threshold(evidence.promotion_probability), growth)
    note = _say_incomparable(totals.incomparable, test.pairs)
    rate = test.pairs / totals.seconds if totals.seconds > 0 else 0.0
    return Weighed(conclude(report, evidence, max(1, needed), rate, note), text, test.pairs)


def _find_parity_lack(bench: Bench, gate: GateFacts, book: Losses) -> str:
    totals = book.totals
    if bench.taken.is_by_track:
        return "answers can't be compared where no router or comparator sees both of them"
    if book.losses.pairs:
        return ""
    if not totals.windows:
        return bench.taken.discarded or bench.taken.problem or "no window of evidence has ended yet"
    if totals.incomparable:
        name = gate.comparator_name
        return f"comparator {name} could compare none of {totals.incomparable} pairs"
    if bench.facts.shadow.noise_percent > 0:
        return f"no pair has scores of comparator {gate.comparator_name} and of the noise arm yet"
    return f"no pair has a score of comparator {gate.comparator_name} yet"


def _say_incomparable(incomparable: int, pairs: int) -> str:
    if not incomparable:
        return ""
    return f"{show_percent(incomparable / (incomparable + pairs))} of the pairs could not be compared"


def _scale_to_demand(bench: Bench, answered: int, seconds: float) -> Decimal:
    """How much more a request costs at the observed demand than at the planned one, at least 1."""
    target = bench.around.target
    if not target.cost_per_thousand or target.cost_per_thousand <= 0:
        return Decimal(1)
    planned_per_hour = target.cost_per_hour / target.cost_per_thousand * 1000
    return max(Decimal(1), planned_per_hour / Decimal(str(answered / seconds * _SECONDS_PER_HOUR)))
