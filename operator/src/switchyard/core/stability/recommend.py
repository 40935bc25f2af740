"""Whether another place for a workload that serves is worth a change: a recommendation, never a move.

    saving         = today's cost per hour - advised cost per hour          both marginal, in one accounting
    migration cost = cost per hour of the replicas that are new
                     x (provisioning + start-up + shadow time)              old and new run side by side
    payback        = migration cost / saving

A place that ends the use of a fallback is recommended whatever it costs: the author asked for full service.
Another is recommended when saving >= minSavingPercent of today's cost, and saving x horizon >= 1.25 x
migration cost. It is settled once it held for `stabilisation`: `since` in status remembers, so a restart goes
on counting. One that is shown stays while its saving is at least 0.8 of what would be asked of a new one, and
its figures stay while they change by less than five percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from switchyard.api.values import Duration
from switchyard.api.workload_status import Recommendation, RecommendedPlacement
from switchyard.core.conditions import format_time
from switchyard.core.placement.cost import START_UP_SECONDS, format_money
from switchyard.core.placement.facts import WorkloadFacts
from switchyard.core.stability.moments import later_by, read_moment
from switchyard.core.world import Advice, AdvisedPlacement

SHADOW_SECONDS = 900.0  # both serve, so that the new one can be compared with the old one
PAYBACK_RATIO = Decimal("1.25")
KEPT_RATIO = Decimal("0.8")  # of the saving asked of a new recommendation
DEAD_BAND_RATIO = Decimal("0.05")

Pair = tuple[str, str]  # variant, pool


@dataclass(frozen=True, slots=True)
class Today:
    """Where a workload runs: replicas by variant and pool, and the worst degradation among them.

    `start_up_seconds`: by pool, until a replica there would serve, provisioning included.
    """

    replicas: Mapping[Pair, int]
    degradation: int = 0
    start_up_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecommendationPlan:
    """What `status.recommendation` shows. `is_newly_settled`: the event RecommendationReady is due, once."""

    recommendation: Recommendation | None = None
    is_newly_settled: bool = False
    recheck_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Offer:
    placements: tuple[RecommendedPlacement, ...]
    saving_per_hour: Decimal
    saving_ratio: Decimal
    cost_per_hour: Decimal
    migration_cost: Decimal
    is_restoring: bool  # of a lower degradation than today's


def plan_recommendation(
    facts: WorkloadFacts,
    today: Today,
    advice: Advice | None,
    stored: Recommendation | None,
    now: datetime,
) -> RecommendationPlan:
    """The recommendation for a workload. While there is no advice yet, the stored one stays."""
    if facts.migration == "manual" or not today.replicas:
        return RecommendationPlan()
    if advice is None:
        return RecommendationPlan(stored)
    offer = _make_offer(facts, today, advice)
    is_known = (
        offer is not None and stored is not None and _pairs(stored.placements) == _pairs(offer.placements)
    )
    if offer is None or not _is_worth(offer, facts, is_known=is_known):
        return RecommendationPlan()
    since = read_moment(stored.since) if stored is not None and is_known else None
    if since is None or since > now:
        since = now.replace(microsecond=0)
    settles_at = later_by(since, facts.stabilisation_seconds)
    is_settled = now >= settles_at
    was_settled = stored is not None and is_known and stored.settled
    shown = _describe(offer, since, is_settled=is_settled)
    if stored is not None and is_known and _is_close(stored, offer):
        shown = stored.model_copy(update={"since": format_time(since), "settled": is_settled})
    return RecommendationPlan(
        shown,
        is_newly_settled=is_settled and not was_settled,
        recheck_at=None if is_settled else settles_at,
    )


def migration_cost(
    today: Mapping[Pair, int], advised: Sequence[AdvisedPlacement], start_up_seconds: Mapping[str, float]
) -> Decimal:
    """What running old and new side by side costs once: new replicas, until they serve and are compared."""
    total = Decimal(0)
    for each in advised:
        added = each.replicas - today.get((each.variant, each.pool), 0)
        if added <= 0:
            continue
        seconds = start_up_seconds.get(each.pool, START_UP_SECONDS) + SHADOW_SECONDS
        total += each.cost_per_hour * added / each.replicas * Decimal(str(seconds)) / 3600
    return total


def _make_offer(facts: WorkloadFacts, today: Today, advice: Advice) -> _Offer | None:
    """What the advice would change and save; None when it leaves things as they are, or serves less."""
    advised, now_per_hour = advice.placements.get(facts.key, ()), advice.current_cost_per_hour.get(facts.key)
    wanted = {(each.variant, each.pool): each.replicas for each in advised if each.replicas > 0}
    if not wanted or now_per_hour is None or advice.unserved.get(facts.key, 0.0) > 0:
        return None
    if wanted == today.replicas or (facts.mode == "single" and wanted.keys() == today.replicas.keys()):
        return None
    degradation = max(each.degradation for each in advised)
    if degradation > today.degradation:
        return None
    then_per_hour = sum((each.cost_per_hour for each in advised), Decimal(0))
    saving = now_per_hour - then_per_hour
    return _Offer(
        placements=tuple(
            RecommendedPlacement(variant=variant, pool=pool, replicas=count)
            for (variant, pool), count in sorted(wanted.items())
        ),
        saving_per_hour=saving,
        saving_ratio=saving / now_per_hour if now_per_hour > 0 else Decimal(0),
        cost_per_hour=then_per_hour,
        migration_cost=migration_cost(today.replicas, advised, today.start_up_seconds),
        is_restoring=degradation < today.degradation,
    )


def _is_worth(offer: _Offer, facts: WorkloadFacts, *, is_known: bool) -> bool:
    if offer.is_restoring:
        return True
    share = KEPT_RATIO if is_known else Decimal(1)
    if offer.saving_per_hour <= 0 or offer.saving_ratio < share * Decimal(str(facts.min_saving_ratio)):
        return False
    horizon_hours = Decimal(str(facts.horizon_seconds)) / 3600
    return offer.saving_per_hour * horizon_hours >= share * PAYBACK_RATIO * offer.migration_cost


def _describe(offer: _Offer, since: datetime, *, is_settled: bool) -> Recommendation:
    places = " and ".join(f"{each.replicas} x {each.variant} in {each.pool}" for each in offer.placements)
    saving, percent = format_money(offer.saving_per_hour), max(0, round(100 * offer.saving_ratio))
    payback: Duration | None = None
    told = f"saves {saving} per hour ({percent}%)"
    if offer.saving_per_hour > 0:
        payback = write_duration(float(offer.migration_cost / offer.saving_per_hour * 3600))
        told = f"{told}; the change is repaid after {payback}"
    else:
        told = f"adds {format_money(-offer.saving_per_hour)} per hour"
    if offer.is_restoring:
        told = f"full service again, without a fallback; {told}"
    return Recommendation(
        placements=offer.placements,
        saving_per_hour=saving,
        saving_percent=percent,
        cost_per_hour=format_money(max(offer.cost_per_hour, Decimal(0))),
        migration_cost=format_money(offer.migration_cost),
        payback=payback,
        since=format_time(since),
        settled=is_settled,
        message=f"{places}: {told}"[:1024],
    )


def _is_close(stored: Recommendation, offer: _Offer) -> bool:
    if stored.placements != offer.placements:
        return False
    figures = (
        (stored.saving_per_hour, offer.saving_per_hour),
        (stored.cost_per_hour, offer.cost_per_hour),
        (stored.migration_cost or "0", offer.migration_cost),
    )
    return all(abs(Decimal(shown) - now) <= DEAD_BAND_RATIO * abs(now) for shown, now in figures)


def _pairs(placements: Sequence[RecommendedPlacement]) -> frozenset[Pair]:
    return frozenset((each.variant, each.pool) for each in placements)


def write_duration(seconds: float) -> Duration:
    """A duration as authors write it, to the second below an hour and to the minute above: `15m`, `1h30m`."""
    whole = round(seconds) if seconds < 3600 else round(seconds / 60) * 60
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    parts = [f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if count]
    return Duration("".join(parts) or "0s")
