"""Where the cheapest option changes: at which demand, and at which price of a device.

Exact on the curves of `cost_curve`: between two breakpoints every cost is a straight line, and the least of
straight lines changes only where two of them cross. Ties go by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from switchyard.core.placement.cost_curve import Name, Offer, Segment, cost_at, count_replicas, trace_cost

_TIE_RATIO = 1e-9
_STRIPES = 64  # of the demand, in which curves that can't be cheapest are found quickly


@dataclass(frozen=True, slots=True)
class Reign:
    """Demand above `demand_from`, up to `demand_to`, over which one option is cheapest; None: none can."""

    demand_from: float
    demand_to: float
    name: Name | None


@dataclass(frozen=True, slots=True)
class DemandTurn:
    """Past `demand` the cheapest option is another: `before` below, `after` above. None: none can."""

    demand: float
    before: Name | None
    after: Name | None


@dataclass(frozen=True, slots=True)
class PriceTurn:
    """Past `price_per_hour` of a device of `pool`, `after` is cheapest instead of `before`.

    `is_rise`: the price must rise to there; else it must fall.
    """

    pool: str
    price_per_hour: float
    price_now_per_hour: float
    before: Name
    after: Name
    is_rise: bool


def find_reigns(offers: Iterable[Offer], lowest: float, highest: float) -> tuple[Reign, ...]:
    """Who is cheapest over a range of demand, without gaps, in order."""
    traces = {each.name: trace_cost(each, lowest, highest) for each in offers}
    return merge_traces(_drop_hopeless(traces, lowest, highest), lowest, highest)


def merge_traces(
    traces: Mapping[Name, Sequence[Segment]], lowest: float, highest: float
) -> tuple[Reign, ...]:
    """The lower envelope of cost curves, by who is on it."""
    cuts = {lowest, highest}
    for segments in traces.values():
        for each in segments:
            cuts |= {each.demand_from, each.demand_to}
    ordered = sorted(cut for cut in cuts if lowest <= cut <= highest)
    places = dict.fromkeys(traces, 0)
    reigns: list[Reign] = []
    for start, end in pairwise(ordered):
        lines = []
        for name, segments in traces.items():
            place = places[name]
            while place < len(segments) and segments[place].demand_to <= start:
                place += 1
            places[name] = place
            if place < len(segments) and segments[place].demand_from <= start:
                segment = segments[place]
                lines.append((name, segment.cost_at(start), segment.slope))
        for reign in _split(lines, start, end):
            _append(reigns, reign)
    return tuple(reigns)


def find_demand_turns(reigns: Sequence[Reign]) -> tuple[DemandTurn, ...]:
    """The demands at which the cheapest option changes."""
    return tuple(DemandTurn(before.demand_to, before.name, after.name) for before, after in pairwise(reigns))


def find_cheapest(offers: Iterable[Offer], demand: float) -> Offer | None:
    """The cheapest option at a demand; None when none can be had."""
    priced = [(cost, each) for each in offers if (cost := cost_at(each, demand)) is not None]
    if not priced:
        return None
    least = min(cost for cost, _ in priced)
    return min((each for cost, each in priced if _is_tie(cost, least)), key=lambda each: each.name)


def find_price_turns(offers: Sequence[Offer], demand: float) -> tuple[PriceTurn, ...]:
    """For each pool, the nearest prices above and below today's at which another option is cheapest.

    Prices are as `Offer.price_per_hour` has them, overhead included, the same for all options of a pool.
    """
    now = find_cheapest(offers, demand)
    if now is None:
        return ()
    able = [each for each in offers if cost_at(each, demand) is not None]
    turns = []
    for pool in sorted({each.pool for each in able}):
        price = next(each.price_per_hour for each in able if each.pool == pool)
        lines = {each.name: _price_line(each, demand, pool) for each in able}
        crossings = _find_crossings(lines, now.name, price)
        falls = [(-at, after) for at, after, is_rise in crossings if not is_rise]
        rises = [(at, after) for at, after, is_rise in crossings if is_rise]
        if falls:
            at, after = min(falls)
            turns.append(PriceTurn(pool, -at, price, now.name, after, is_rise=False))
        if rises:
            at, after = min(rises)
            turns.append(PriceTurn(pool, at, price, now.name, after, is_rise=True))
    return tuple(turns)


def _drop_hopeless(
    traces: Mapping[Name, Sequence[Segment]], lowest: float, highest: float
) -> dict[Name, Sequence[Segment]]:
    """The curves that may be cheapest somewhere: the others are dearer than one of these in every stripe."""
    width = (highest - lowest) / _STRIPES
    least: dict[Name, list[float]] = {}
    ceiling = [math.inf] * _STRIPES
    for name, segments in traces.items():
        lows, highs, covered = [math.inf] * _STRIPES, [0.0] * _STRIPES, [0.0] * _STRIPES
        for each in segments:
            first = int((each.demand_from - lowest) / width)
            for stripe in range(max(0, first - 1), min(_STRIPES, int((each.demand_to - lowest) / width) + 2)):
                start = max(each.demand_from, lowest + stripe * width)
                end = min(each.demand_to, lowest + (stripe + 1) * width)
                if end > start:
                    costs = (each.cost_at(start), each.cost_at(end))
                    lows[stripe] = min(lows[stripe], *costs)
                    highs[stripe] = max(highs[stripe], *costs)
                    covered[stripe] += end - start
        least[name] = lows
        for stripe in range(_STRIPES):
            if covered[stripe] >= width * (1 - _TIE_RATIO):
                ceiling[stripe] = min(ceiling[stripe], highs[stripe])
    return {
        name: traces[name]
        for name, lows in least.items()
        if any(
            low < math.inf and (low <= most or _is_tie(low, most))
            for low, most in zip(lows, ceiling, strict=True)
        )
    }


def _price_line(offer: Offer, demand: float, pool: str) -> tuple[float, float]:
    """The cost as a + b x price of the pool: a and b."""
    cost = cost_at(offer, demand)
    if cost is None:
        return (math.inf, 0.0)
    if offer.pool != pool:
        return (cost, 0.0)
    devices = offer.unit_devices * count_replicas(offer, demand)
    billed = max(0, devices - offer.paid_devices) + devices * offer.extra_ratio
    return (cost - billed * offer.price_per_hour, billed)


def _find_crossings(
    lines: Mapping[Name, tuple[float, float]], now: Name, price: float
) -> list[tuple[float, Name, bool]]:
    """The prices from which on other options are cheaper than `now`, and whether the price must rise there.

    `now` is cheapest today. Who has fewer billed devices overtakes it when the price rises, who has more
    when it falls; nobody sells below 0.
    """
    base, billed = lines[now]
    found = []
    for name, (other_base, other_billed) in lines.items():
        if name == now or other_billed == billed:
            continue
        at = (other_base - base) / (billed - other_billed)
        is_rise = other_billed < billed
        at = max(at, price) if is_rise else min(at, price)  # a tie today turns at once
        if is_rise or at > 0:
            found.append((at, name, is_rise))
    return found


def _split(lines: Sequence[tuple[Name, float, float]], start: float, end: float) -> list[Reign]:
    """The least of straight lines (name, cost at start, slope) between two demands."""
    if not lines:
        return [Reign(start, end, None)]
    found = []
    while start < end:
        least = min(cost for _, cost, _ in lines)
        ties = [line for line in lines if _is_tie(line[1], least)]
        flattest = min(slope for _, _, slope in ties)
        name, cost, slope = min(line for line in ties if _is_tie(line[2], flattest))
        next_at = end
        for _, other_cost, other_slope in lines:
            if other_slope < slope and not _is_tie(other_slope, slope):
                at = start + (other_cost - cost) / (slope - other_slope)
                if start < at < next_at and not _is_tie(at, start):
                    next_at = at
        if _is_tie(next_at, end):
            next_at = end
        found.append(Reign(start, next_at, name))
        lines = [(each, cost_there + rise * (next_at - start), rise) for each, cost_there, rise in lines]
        start = next_at
    return found


def _append(reigns: list[Reign], new: Reign) -> None:
    if reigns and reigns[-1].name == new.name:
        reigns[-1] = Reign(reigns[-1].demand_from, new.demand_to, new.name)
    else:
        reigns.append(new)


def _is_tie(left: float, right: float) -> bool:
    return abs(left - right) <= _TIE_RATIO * max(1.0, abs(left), abs(right))
