"""The profile that the phases show, and how well it foretells those phases that it was not fitted to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.optimize import nnls

from switchyard.core.errors import ProfileError
from switchyard.core.learning.token_law import Seen, apply_parameters, fit_law
from switchyard.core.placement.latency import (
    ConcurrencyProfile,
    LatencyProfile,
    Metric,
    PointsProfile,
    TokensProfile,
    Traffic,
    measure_load,
    percentile_seconds,
)
from switchyard.core.placement.load_curve import LoadPoint
from switchyard.profiling.figures import Figures, list_gaps, summarise
from switchyard.profiling.load import Phase

_FULL_GAIN_RATIO = 1.05  # twice the callers for less than this more throughput: every place is taken
_COMPARED_LOAD_RATIO = 0.85  # of saturation: past it both the model and a short measurement wander
_BIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Fitted:
    """A profile, its error on the phases held out (None: none to compare), and what to beware of."""

    profile: LatencyProfile
    error_ratio: float | None
    warnings: tuple[str, ...] = ()


def fit_points(phases: Sequence[Phase]) -> Fitted:
    """The measured curve. ProfileError when no phase at a rate was answered."""
    points: dict[float, LoadPoint] = {}
    for phase in sorted(phases, key=lambda each: each.offered_rate):
        figures = summarise(phase)
        if phase.offered_rate <= 0 or figures.latency is None or phase.is_failing():
            continue
        seen = figures.latency
        rate = _cut(phase.offered_rate)
        points[rate] = LoadPoint(
            rate,
            seen.p50_seconds,
            seen.p95_seconds,
            seen.p99_seconds,
            figures.error_ratio,
        )
    if not points:
        raise ProfileError("no phase at a rate was answered")
    return Fitted(PointsProfile(tuple(points.values())), None)


def fit_concurrency(phases: Sequence[Phase]) -> Fitted:
    """Slots, base, slope and variation from phases with a fixed number of callers.

    With n callers and k slots a request is served in S(m) = base + slope (m - 1), m = min(n, k), and Little's
    law gives the mean response n S(k) / k for n above k. For each k the two times follow by nonnegative least
    squares of relative errors; the k with the least error wins, the smaller of equals. The variation is that
    of answers which did not wait. ProfileError when fewer than two numbers of callers were answered.
    """
    steps = [phase for phase in phases if phase.callers and len(phase.good) >= 2 and not phase.is_failing()]
    counts = np.array([phase.callers for phase in steps], dtype=float)
    means = np.array([_mean([answer.latency_seconds for answer in phase.good]) for phase in steps])
    weights = np.sqrt(np.array([len(phase.good) for phase in steps], dtype=float))
    if len(set(counts)) < 2:
        raise ProfileError("fewer than two numbers of callers were answered: measure for longer")
    best: tuple[float, int, float, float] | None = None
    for slots in range(1, int(counts.max()) + 1):
        served = np.minimum(counts, slots)
        waits = counts / served
        design = np.stack([waits, waits * (served - 1)], axis=1) / means[:, None] * weights[:, None]
        (base, slope), error = nnls(design, weights)
        if base > 0 and (best is None or error < best[0] * (1 - 1e-6)):
            best = (float(error), slots, float(base), float(slope))
    if best is None:
        raise ProfileError("no number of slots explains the answers")
    _, slots, base, slope = best
    spread = [
        (np.var(latencies) / np.mean(latencies) ** 2, len(latencies))
        for phase in steps
        if phase.callers <= slots and len(latencies := [a.latency_seconds for a in phase.good]) >= 5
    ]
    cv2 = float(np.average([v for v, _ in spread], weights=[n for _, n in spread])) if spread else 1.0
    profile = ConcurrencyProfile(slots, _cut(base), _cut(slope), _cut(cv2))
    warnings = []
    if slots >= counts.max():
        warnings.append(
            f"slots is at least {slots}: more callers still got more answers. Raise --max-callers to see "
            "where that ends"
        )
    if not spread:
        warnings.append("cv2 is not measured but assumed as 1: too few answers met a free slot")
    return Fitted(profile, compare(profile, phases), tuple(warnings))


def fit_tokens(phases: Sequence[Phase], limits: TokensProfile, traffic: Traffic) -> Fitted:
    """The parameters of iterations from the times of tokens. ProfileError when they tell no growth."""
    seen = [row for phase in phases for row in _read_bins(phase)]
    seen += [row for phase in phases if phase.callers == 1 for row in _read_prompts(phase, limits)]
    if not any(row.sequences > 0 for row in seen):
        raise ProfileError("no answer came token by token: does the endpoint stream? Try --kind concurrency")
    fit = fit_law(seen, None)
    if not fit.is_free[1]:
        raise ProfileError("batches of one size only were seen: raise --max-callers or --duration")
    profile = apply_parameters(limits, fit.parameters)
    warnings = []
    if not fit.is_free[2]:
        warnings.append("perPrefillToken is 0 as prompts of one size tell nothing of it: measure for longer")
    return Fitted(profile, compare(profile, phases, traffic), tuple(warnings))


def compare(profile: LatencyProfile, phases: Sequence[Phase], traffic: Traffic | None = None) -> float | None:
    """The mean relative error of the model's p95 on the phases at a rate, of each metric that was seen."""
    errors = []
    for phase in phases:
        if phase.offered_rate <= 0 or phase.is_failing():
            continue
        if measure_load(profile, phase.offered_rate, traffic)[0] > _COMPARED_LOAD_RATIO:
            continue
        for metric, seconds in _list_p95(summarise(phase), isinstance(profile, TokensProfile)):
            told = percentile_seconds(profile, phase.offered_rate, 95, traffic=traffic, metric=metric)
            errors.append(abs(told - seconds) / seconds)
    return sum(errors) / len(errors) if errors else None


def find_batch(phases: Sequence[Phase]) -> tuple[int, bool]:
    """The most answers that were written at once, and whether more callers found no further place."""
    most, callers = 0, 0
    for phase in phases:
        edges = sorted(
            [(answer.token_times[0], 1) for answer in phase.good if answer.token_times]
            + [(answer.token_times[-1], -1) for answer in phase.good if answer.token_times]
        )
        running = 0
        for _, step in edges:
            running += step
            most = max(most, running)
        callers = max(callers, phase.callers)
    return max(1, most), 0 < most < callers * 0.9


def is_saturated(earlier: Figures, later: Figures) -> bool:
    """Whether more callers brought hardly more answers."""
    return later.rate < earlier.rate * _FULL_GAIN_RATIO


def _read_bins(phase: Phase) -> list[Seen]:
    """Half seconds of a phase: the mean gap between tokens, beside what the engine held then."""
    good = [answer for answer in phase.good if len(answer.token_times) > 1]
    if not good:
        return []
    start = min(answer.token_times[0] for answer in good)
    count = int((max(answer.token_times[-1] for answer in good) - start) / _BIN_SECONDS)
    if count < 1:
        return []
    gap_sum, gaps, busy, cached, prompts = (np.zeros(count) for _ in range(5))
    for answer in good:
        read = answer.input_tokens or 0
        place = int((answer.token_times[0] - start) / _BIN_SECONDS)
        if place < count:
            prompts[place] += read
        values = list_gaps(answer)
        per_packet = (answer.output_tokens or len(answer.token_times)) / len(answer.token_times)
        for number, ((earlier, later), gap) in enumerate(
            zip(pairwise(answer.token_times), values, strict=True), start=1
        ):
            place = int((later - start) / _BIN_SECONDS)
            if place >= count:
                continue
            gap_sum[place] += gap
            gaps[place] += 1
            busy[place] += later - earlier
            cached[place] += (later - earlier) * (read + number * per_packet)
    rows = []
    for place in range(1 if count > 2 else 0, count):
        if gaps[place] >= 3:
            gap = gap_sum[place] / gaps[place]
            rows.append(
                Seen(
                    seconds=float(gap),
                    sequences=float(busy[place] / _BIN_SECONDS),
                    prefill_tokens=float(prompts[place] / _BIN_SECONDS * gap),
                    cached_tokens=float(cached[place] / _BIN_SECONDS),
                )
            )
    return rows


def _read_prompts(phase: Phase, limits: TokensProfile) -> list[Seen]:
    """First tokens of a lone caller: an iteration for each chunk of the prompt, and nothing beside it."""
    return [
        Seen(
            seconds=answer.ttft_seconds,
            sequences=0.0,
            prefill_tokens=float(answer.input_tokens),
            iterations=float(math.ceil(answer.input_tokens / limits.max_batched_tokens)),
        )
        for answer in phase.good
        if answer.ttft_seconds and answer.input_tokens
    ]


def _list_p95(figures: Figures, has_tokens: bool) -> list[tuple[Metric, float]]:  # noqa: FBT001  (read in place)
    seen: list[tuple[Metric, float]] = []
    if figures.latency:
        seen.append(("latency", figures.latency.p95_seconds))
    if has_tokens and figures.ttft:
        seen.append(("ttft", figures.ttft.p95_seconds))
    if has_tokens and figures.tpot:
        seen.append(("tpot", figures.tpot.p95_seconds))
    return seen


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _cut(value: float) -> float:
    return float(f"{value:.4g}")


def set_batch(limits: TokensProfile, phases: Sequence[Phase]) -> tuple[TokensProfile, str]:
    """The limits with the batch that was seen, and a warning where its end was not."""
    batch, is_end = find_batch(phases)
    warning = "" if is_end else f"maxBatch is at least {batch}: give --max-batch as the engine is configured"
    return replace(limits, max_batch=batch), warning
