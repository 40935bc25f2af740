"""Errors and latency of one segment: which evidence there is, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from switchyard.core.cutover.bench import Bench, show_margin, show_percent, show_share
from switchyard.core.cutover.ledgers import Alone, Contrasts, Margin, Pairs, Totals
from switchyard.core.cutover.sequential.difference import grow_difference_safe
from switchyard.core.cutover.sequential.evidence import Evidence, Sides
from switchyard.core.cutover.sequential.hard_stop import HardStop
from switchyard.core.cutover.sequential.hypergeometric import Contrast
from switchyard.core.cutover.sequential.needed import (
    MOST_SAMPLES,
    compute_eta_seconds,
    compute_needed,
    grow_betting_safe,
    grow_paired_safe,
    grow_ratio_safe,
)
from switchyard.core.cutover.sequential.self_normalised import grow_guarded_safe
from switchyard.core.cutover.sequential.split import to_threshold
from switchyard.core.cutover.tally import Cell, SegmentTally
from switchyard.core.cutover.types import GateFacts, GateReport
from switchyard.core.routing.document import BASELINE, CANDIDATE
from switchyard.core.routing.samples import Table, name_threshold

ERRORS = "errors"
Book: TypeAlias = Contrasts | Alone | Pairs
Missing = Literal["", "baseline", "candidate", "both"]


@dataclass(frozen=True, slots=True)
class Weighed:
    """A report and the evidence that it rests on, as text; empty where there is none."""

    report: GateReport
    text: str = ""
    samples: int = 0


def weigh_comparison(
    bench: Bench, gate: GateFacts, segment: str, text: str, reference: Mapping[str, tuple[int, int]]
) -> Weighed:
    """What an errors or latency gate says of a segment, with this window counted.

    `text`: its evidence so far. `reference`: requests and bad ones of the baseline in earlier stages, by
    measure. Raises EvidenceError.
    """
    blank = _open_book(bench, gate, segment, reference.get(name_measure(gate), (0, 0)))
    report = GateReport(gate.name, "Inconclusive", segment, margin=show_margin(gate))
    if blank is None:
        message = (
            "the candidate answers all requests, and no stage before counted any of the baseline to "
            "compare with; begin with copies or a smaller weight"
        )
        return Weighed(replace(report, missing="baseline", message=message))
    book = blank.resume(text, bench.stage_name)
    tally = bench.find_tally(segment)
    if tally is not None:
        book = _count(bench, gate, segment, book, tally)
    report = _report(bench, gate, report, book)
    return Weighed(report, book.write(bench.stage_name), book.totals.candidate_requests)


def name_measure(gate: GateFacts) -> str:
    """What a gate counts: errors, or requests beyond a bound."""
    if gate.kind == "errors":
        return ERRORS
    return name_threshold(gate.metric, gate.threshold_seconds)


def read_contrasts(tally: SegmentTally, measure: str) -> tuple[Contrast, ...]:
    """Both arms by stratum. Raises ValueError for counts that contradict one another.

    Errors are pooled over lengths of answers: one that failed has none. For times a request that failed is
    bad, in the stratum of what was answered of it.
    """
    rows: dict[str, dict[str, tuple[int, int]]] = {}
    for arm in (BASELINE, CANDIDATE):
        for stratum, cell in tally.arms.get(arm, {}).items():
            requests, bad = _read_cell(cell, measure)
            row = rows.setdefault(stratum.partition("o")[0] if measure == ERRORS else stratum, {})
            before = row.get(arm, (0, 0))
            row[arm] = before[0] + requests, before[1] + bad
    return tuple(
        Contrast(*row.get(BASELINE, (0, 0)), *row.get(CANDIDATE, (0, 0))) for _, row in sorted(rows.items())
    )


def _read_cell(cell: Cell, measure: str) -> tuple[int, int]:
    if measure == ERRORS:
        return cell.requests, cell.failed
    timed = cell.timed.get(measure, 0)
    return timed, timed - cell.within.get(measure, 0)


def _open_book(bench: Bench, gate: GateFacts, segment: str, reference: tuple[int, int]) -> Book | None:
    """Nothing gathered yet, for the kind of evidence that there is; None where there can't be any."""
    margin = Margin(gate.odds_ratio, gate.absolute_ratio)
    ratio = gate.hard_stop_ratio if gate.kind == "errors" else 1.0  # 1: never
    stop = HardStop(alpha=bench.rollback_probability, ratio=ratio)
    if bench.stage == "shadow" and not bench.taken.is_by_track:
        return Pairs.start(margin, stop)
    if not bench.is_alone(segment):
        return Contrasts.start(margin, stop)
    requests, bad = reference
    if requests < 1 or not 0 <= bad <= requests:
        return None
    levels = bench.rollback_probability / 2, bench.promotion_probability / 2
    return Alone.start(margin, reference, levels, stop)


def _count(bench: Bench, gate: GateFacts, segment: str, book: Book, tally: SegmentTally) -> Book:
    """The book with the window, or the window noted as one that does not count."""
    window, measure = bench.taken.window, name_measure(gate)
    if window is None or measure in bench.taken.gaps:
        return book
    if gate.kind == "latency" and bench.is_overloaded:
        return replace(book, totals=replace(book.totals, skipped=book.totals.skipped + 1))
    run = bench.find_run(segment) if gate.kind == "errors" else 0
    index, seconds = window.index, window.seconds
    try:
        if isinstance(book, Pairs):
            copies = tally.copies
            dropped = sum(copies.dropped.values())
            totals = replace(
                book.totals,
                sampled=book.totals.sampled + copies.sampled,
                dropped=book.totals.dropped + dropped,
            )
            table = tally.pairs.failures if measure == ERRORS else tally.pairs.thresholds.get(measure)
            return replace(book, totals=totals).update(index, seconds, _read_table(table), run)
        if isinstance(book, Contrasts):
            return book.update(index, seconds, read_contrasts(tally, measure), run)
        requests, bad = _read_cell(tally.pool(CANDIDATE), measure)
        return book.update(index, seconds, requests, bad, run)
    except ValueError:
        return replace(book, totals=replace(book.totals, refused=book.totals.refused + 1))


def _read_table(table: Table | None) -> tuple[int, int, int, int]:
    if table is None:
        return 0, 0, 0, 0
    return table.both_good, table.baseline_only_good, table.candidate_only_good, table.none_good


def _report(bench: Bench, gate: GateFacts, report: GateReport, book: Book) -> GateReport:
    totals = book.totals
    evidence = make_evidence(bench, book.sides, totals.candidate_requests, is_halved=isinstance(book, Alone))
    what = "failed" if gate.kind == "errors" else f"beyond {gate.threshold_seconds:g} s ({gate.metric})"
    shares = (
        show_share(totals.candidate_bad, totals.candidate_requests),
        show_share(totals.baseline_bad, totals.baseline_requests),
    )
    report = show_progress(replace(report, samples=totals.candidate_requests), evidence)
    if totals.candidate_requests and totals.baseline_requests:
        report = replace(report, observed=f"{shares[0]} against {shares[1]} {what}")
    if isinstance(book, Alone):
        report = replace(report, margin=f"{report.margin}: at most {show_percent(book.harm.bound_ratio)}")
    lack = _find_lack(bench, gate, book)
    if lack is not None:
        return replace(report, missing=lack[0], message=lack[1])
    if book.stop.cause:
        message = f"hard stop: more than {show_percent(gate.hard_stop_ratio)} fail ({book.stop.cause})"
        return replace(report, verdict="Fail", harm_ratio=1.0, message=message)
    counted = totals.candidate_requests
    counted += totals.baseline_requests if isinstance(book, Contrasts) else 0
    rate = counted / totals.seconds if totals.seconds > 0 else 0.0
    return conclude(report, evidence, _find_needed(book, evidence), rate, _note(book))


def make_evidence(bench: Bench, sides: Sides, samples: int, *, is_halved: bool = False) -> Evidence:
    """Both sides with the probabilities that this test has. `is_halved`: half went into bounds."""
    part = 0.5 if is_halved else 1.0
    return Evidence(
        sides.harm_log_e,
        sides.safe_log_e,
        bench.rollback_probability * part,
        bench.promotion_probability * part,
        samples,
    )


def show_progress(report: GateReport, evidence: Evidence) -> GateReport:
    """The report with how far both sides are."""
    return replace(report, harm_ratio=evidence.harm_percent / 100, safe_ratio=evidence.safe_percent / 100)


def conclude(
    report: GateReport, evidence: Evidence, needed: int, samples_per_second: float, note: str = ""
) -> GateReport:
    """The report with its verdict, and while that is open with what is needed and how long that takes.

    Where the figures so far would never pass, nothing is said of either.
    """
    message = evidence.explain() + (f"; {note}" if note else "")
    if evidence.verdict != "Inconclusive":
        return replace(report, verdict=evidence.verdict, message=message)
    if needed >= MOST_SAMPLES:
        return replace(report, message=message)
    eta_seconds = compute_eta_seconds(needed, samples_per_second)
    return replace(report, needed=needed, eta_seconds=eta_seconds, message=message)


def say_blind(bench: Bench) -> str:
    """Why nothing is known by now; empty where something is."""
    if not bench.taken.is_blind:
        return ""
    problem = f": {bench.taken.problem}" if bench.taken.problem else ""
    return f"no reading for more than three intervals{problem}"


def _find_lack(bench: Bench, gate: GateFacts, book: Book) -> tuple[Missing, str] | None:
    """Which side says nothing, and why; None where both do."""
    totals, measure = book.totals, name_measure(gate)
    blind = say_blind(bench)
    if blind:
        return "both", blind
    if measure in bench.taken.gaps:
        bound = f"{gate.threshold_seconds:g} s"
        return (
            "both",
            f"{bound} is no edge of the {gate.metric} buckets of both sides, so nobody can tell who kept it",
        )
    if not totals.windows:
        return "", _say_unopened(bench, totals)
    if isinstance(book, Pairs):
        return None if totals.candidate_requests else _find_shadow_lack(totals)
    has = bool(totals.baseline_requests), bool(totals.candidate_requests)
    if has == (False, False):
        return "both", "no request reached either side"
    if not has[1]:
        return "candidate", "no request reached the candidate"
    return None if has[0] else ("baseline", "no request reached the baseline")


def _find_shadow_lack(totals: Totals) -> tuple[Missing, str]:
    if not totals.sampled:
        return "both", "NoShadowTraffic: no request was drawn for a copy"
    if totals.dropped:
        return "candidate", f"NoShadowTraffic: {totals.dropped} of {totals.sampled} copies were not sent"
    return "candidate", f"NoShadowTraffic: none of {totals.sampled} copies has an answer of both sides yet"


def _say_unopened(bench: Bench, totals: Totals) -> str:
    if totals.skipped:
        cap = show_percent(bench.facts.shadow.max_utilisation_ratio)
        return f"{totals.skipped} windows did not count: copies bring the candidate above {cap} utilisation"
    if totals.refused:
        return f"{totals.refused} windows did not count: more requests were bad than there were"
    return bench.taken.discarded or bench.taken.problem or "no window of evidence has ended yet"


def _note(book: Book) -> str:
    if book.totals.skipped:
        return f"{book.totals.skipped} windows above the utilisation cap did not count"
    return f"{book.totals.refused} windows contradicted themselves" if book.totals.refused else ""


def _find_needed(book: Book, evidence: Evidence) -> int:
    """The requests (or pairs) until safety is shown, by the test that is there first, and by its guard."""
    threshold = to_threshold(evidence.promotion_probability)
    totals = book.totals.contrast
    growths: tuple[tuple[float, float], ...]
    guarded = 1
    if isinstance(book, Contrasts):
        test = book.guard
        growth = grow_guarded_safe(totals, book.totals.windows, test.margin, test.absolute)
        guarded = compute_needed(test.safe_log_e, threshold, growth)
        growths = (
            (book.ratio.safe_log_e, grow_ratio_safe(totals, book.ratio.margin)),
            (book.difference.safe_log_e, grow_difference_safe(totals, book.difference.margin)),
        )
    elif isinstance(book, Pairs):
        ratio, score = book.ratio, book.difference
        growths = (
            (
                ratio.safe_log_e,
                grow_paired_safe(
                    ratio.candidate_only_bad, ratio.baseline_only_bad, ratio.pairs, ratio.margin
                ),
            ),
            (score.safe_log_e, grow_betting_safe(score.mean, score.variance, score.margin)),
        )
    else:
        safe = book.safe
        growth = grow_paired_safe(safe.candidate_only_bad, safe.baseline_only_bad, safe.pairs, safe.margin)
        growths = ((safe.safe_log_e, growth),)
    return max(1, guarded, min(compute_needed(log_e, threshold, growth) for log_e, growth in growths))
