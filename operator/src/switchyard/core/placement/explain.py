"""Why each option that was not taken was not (`status.rejected`), and in words what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from switchyard.api import Reason
from switchyard.core.placement.ballot import Ballot
from switchyard.core.placement.case import Option
from switchyard.core.placement.cost import (
    PAID_CAPACITY_TYPES,
    count_paid_devices,
    expect_interruptions,
    format_money,
    spread_change,
)
from switchyard.core.placement.guests import find_host
from switchyard.core.placement.ledger import count_seats
from switchyard.core.placement.pool_view import PoolView
from switchyard.core.placement.problem import Candidate, Placement, Quota, Solution
from switchyard.core.placement.resilience import judge_alone, judge_together

MOST_REJECTIONS = 256


@dataclass(frozen=True, slots=True)
class Rejection:
    """One option and why it was not taken. `variant` is empty where no variant is made for the pool."""

    variant: str
    pool: str
    reason: Reason
    message: str
    replicas: int | None = None
    cost_per_hour: Decimal | None = None


class Leftover:
    """What a solution leaves free, counted once per pool and unit."""

    def __init__(
        self, solution: Solution, pools: Mapping[str, PoolView], quotas: Iterable[Quota] = ()
    ) -> None:
        self.solution = solution
        self.pools = pools
        self._quotas = tuple(quotas)
        self._held: dict[tuple[str, str], int] = {}
        self._by_namespace: dict[tuple[str, str], int] = {}
        for key, placements in solution.placements.items():
            for each in placements:
                devices = each.replicas * each.candidate.unit_devices
                pool = each.candidate.pool
                self._held[pool, ""] = self._held.get((pool, ""), 0) + devices
                owner = (key[0], pool)
                self._by_namespace[owner] = self._by_namespace.get(owner, 0) + devices
        self._seats: dict[tuple[str, int], int] = {}

    def seats(self, pool: str, unit_devices: int) -> int:
        """Replicas of that unit that still fit in the pool, on nodes that are there or may come."""
        known = self._seats.get((pool, unit_devices))
        if known is None:
            known = count_seats(self.solution.free_by_node.get(pool, ()), unit_devices)
            known += self._growth(pool) // unit_devices
            self._seats[pool, unit_devices] = known
        return known

    def devices(self, pool: str) -> int:
        """Devices still free in the pool, wherever they are."""
        return self.seats(pool, 1)

    def quota(self, namespace: str, pool: str) -> tuple[Quota, int] | None:
        """The tightest quota on that pool, and what it leaves now; None where there is none."""
        found = []
        for quota in self._quotas:
            if quota.namespace == namespace and pool in quota.pools:
                held = sum(self._by_namespace.get((namespace, name), 0) for name in quota.pools)
                found.append((quota, max(0, quota.devices - held)))
        return min(found, key=lambda each: (each[1], each[0].name), default=None)

    def _growth(self, pool: str) -> int:
        view = self.pools[pool]
        there = sum(count for _, count in view.capacity.free_for_plan)
        free = sum(count for _, count in self.solution.free_by_node.get(pool, ()))
        beyond = max(0, self._held.get((pool, ""), 0) - (there - free))
        return max(0, view.growth_devices - beyond)


def explain_rejections(
    ballot: Ballot,
    placements: Sequence[Placement],
    leftover: Leftover,
    guests: Sequence[Placement] = (),
) -> tuple[Rejection, ...]:
    """Every option not taken, by pool and variant; of too many, mismatches are left out first.

    `guests`: what the workload has beside its own placements while it is moved.
    """
    taken = {each.candidate.name for each in (*placements, *guests)}
    found = {
        (variant, pool): Rejection(
            variant, pool, verdict.reason, verdict.message, verdict.replicas, verdict.cost_per_hour
        )
        for (variant, pool), verdict in ballot.rejections.items()
        if (variant, pool) not in taken
    }
    for key in sorted(ballot.options):
        option = ballot.options[key]
        if option.name not in taken and option.name not in found:
            found[option.name] = _untaken(option, ballot, placements, leftover)
    listed = sorted(
        found.values(), key=lambda each: (each.reason == Reason.AcceleratorMismatch, each.pool, each.variant)
    )
    return tuple(sorted(listed[:MOST_REJECTIONS], key=lambda each: (each.pool, each.variant)))


def describe_shortage(namespace: str, option: Option, leftover: Leftover) -> tuple[Reason, str]:
    """What is missing: `needs 6 x nvidia-l4 units, 2 free in pool l4-eu`."""
    view = leftover.pools[option.pool]
    what = view.facts.accelerator or view.facts.resource_name
    seats = leftover.seats(option.pool, option.unit_devices)
    each = "units" if option.unit_devices == 1 else f"units of {option.unit_devices} devices"
    needs = f"needs {option.replicas} x {what} {each}"
    devices = leftover.devices(option.pool)
    split = ""
    if seats * option.unit_devices < devices and option.unit_devices > 1:
        split = f" ({devices} devices free, but not {option.unit_devices} on one node)"
    if seats < option.replicas:
        grown = " on its nodes and those that may come" if view.growth_devices else ""
        return Reason.InsufficientCapacity, f"{needs}, {seats} free in pool {option.pool}{grown}{split}"
    limit = leftover.quota(namespace, option.pool)
    if limit is not None and limit[1] < option.replicas * option.unit_devices:
        quota, left = limit
        return (
            Reason.QuotaExceeded,
            f"{needs}; ResourceQuota {quota.name.split('/')[1]} leaves {left} of {quota.devices} devices",
        )
    ceiling = view.facts.pilot_max_per_hour
    if ceiling is not None:
        return (
            Reason.InsufficientCapacity,
            f"{needs}; the pilot pool {option.pool} may cost {ceiling} per hour",
        )
    return Reason.InsufficientCapacity, f"{needs}; others took what is free in pool {option.pool}"


def describe_limit(namespace: str, option: Option, leftover: Leftover) -> tuple[Reason, str] | None:
    """The quota that allows no further replica where the pool has room for one; None without such a quota."""
    limit = leftover.quota(namespace, option.pool)
    if limit is None or limit[1] >= option.unit_devices:
        return None
    if not leftover.seats(option.pool, option.unit_devices):
        return None
    quota, left = limit
    name = quota.name.split("/")[1]
    return Reason.QuotaExceeded, f"ResourceQuota {name} leaves {left} of {quota.devices} devices"


def describe_misfortune(ballot: Ballot, leftover: Leftover) -> tuple[Reason, str]:
    """Why a workload has no place: the shortage of its nearest option, or what refused it everywhere."""
    if ballot.options:
        return _describe_shortage_of_all(ballot, leftover)
    if not leftover.pools:
        return Reason.NoPools, "there is no AcceleratorPool"
    reasons = _count_reasons(ballot)
    telling = [item for item in reasons if item[0] != Reason.AcceleratorMismatch]
    if not telling and ballot.facts.unknown_accelerators:
        return Reason.UnknownAccelerator, _describe_unknown(ballot.facts.unknown_accelerators)
    if not telling:
        names = ", ".join(
            sorted({name for variant in ballot.facts.variants for name in variant.accelerators})
        )
        return Reason.AcceleratorMismatch, f"no pool has any of the accelerators {names}"
    reason, message, count = telling[0]
    if count > 1:
        message = f"{message} (and {count - 1} more alike)"
    return reason, message


def _describe_shortage_of_all(ballot: Ballot, leftover: Leftover) -> tuple[Reason, str]:
    options = list(ballot.options.values())
    namespace = ballot.facts.namespace
    if ballot.facts.mode == "mixed":
        names = sorted({each.pool for each in options if each.degradation == 0})
        verdict = judge_together(ballot.facts, options, [leftover.pools[name].facts for name in names])
        if verdict is not None:
            return verdict.reason, verdict.message
    nearest = min(
        options, key=lambda each: (each.degradation > 0, _gap(each, leftover), each.pool, each.variant)
    )
    reason, message = describe_shortage(namespace, nearest, leftover)
    taker = leftover.solution.displaced.get(ballot.facts.key)
    if taker is not None:
        taker = find_host(taker)
        return Reason.Displaced, f"gave way to {taker[0]}/{taker[1]} of a higher tier; {message}"
    return reason, message


def _describe_unknown(unknown: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    parts = [f"{name} (near it: {', '.join(near)})" if near else name for name, near in unknown]
    return f"neither the catalog nor any pool has accelerator {'; '.join(parts)}"


def _count_reasons(ballot: Ballot) -> list[tuple[Reason, str, int]]:
    """Reasons with their first message, the one nearest to success first: the later check stopped it."""
    order = list(Reason)
    grouped: dict[Reason, list[str]] = {}
    for name in sorted(ballot.rejections, key=lambda each: (each[1], each[0])):
        verdict = ballot.rejections[name]
        grouped.setdefault(verdict.reason, []).append(verdict.message)
    rows = [(reason, messages[0], len(messages)) for reason, messages in grouped.items()]
    return sorted(rows, key=lambda row: (-_LATENESS.get(row[0], 0), order.index(row[0])))


_LATENESS: Mapping[Reason, int] = {
    reason: index
    for index, reason in enumerate(
        (
            Reason.NamespaceNotAllowed,
            Reason.PoolNotReady,
            Reason.PoolCordoned,
            Reason.AcceleratorMismatch,
            Reason.ResidencyMismatch,
            Reason.ZoneMismatch,
            Reason.CapacityTypeMismatch,
            Reason.MaturityMismatch,
            Reason.AllocationUnit,
            Reason.InsufficientMemory,
            Reason.PrecisionUnsupported,
            Reason.RuntimeUnsupported,
            Reason.PodTemplateNotFound,
            Reason.QuotaExceeded,
            Reason.ProfileMissing,
            Reason.ObjectiveUnreachable,
            Reason.MaxReplicasExceeded,
            Reason.SpotNotSurvivable,
            Reason.FirmFloorUnreachable,
            Reason.SpreadUnreachable,
            Reason.OverBudget,
            Reason.PoolBackOff,  # it will pass, and everything else may well hold
        )
    )
}


def _gap(option: Option, leftover: Leftover) -> int:
    seats = leftover.seats(option.pool, option.unit_devices)
    return (option.replicas - seats) * option.unit_devices


def _untaken(
    option: Option, ballot: Ballot, placements: Sequence[Placement], leftover: Leftover
) -> Rejection:
    """The reason of an option that the checks admit."""

    def reject(reason: Reason, message: str) -> Rejection:
        return Rejection(*option.name, reason, message, option.replicas, option.allocated_per_hour)

    if option.degradation and placements and all(not each.candidate.degradation for each in placements):
        return reject(
            Reason.FallbackNotNeeded, f"fallback {option.degradation}: the objectives are met without"
        )
    if not placements or leftover.seats(option.pool, option.unit_devices) < option.replicas:
        return reject(*describe_shortage(ballot.facts.namespace, option, leftover))
    alone = judge_alone(ballot.facts, leftover.pools[option.pool].facts, option.replicas)
    if alone is not None:
        return reject(alone.reason, f"as the only pool of a mix: {alone.message}")
    marginal = _marginal(option, leftover) + _burden(option, option.replicas, ballot, leftover)
    present = sum(
        (
            each.cost_per_hour + _burden(each.candidate, each.replicas, ballot, leftover)
            for each in placements
        ),
        Decimal(0),
    )
    difference = marginal - present
    figures = (
        f"{option.replicas} replicas would add {format_money(marginal)} per hour"
        f" against {format_money(present)}"
    )
    if difference > 0:
        return reject(Reason.CostHigher, f"{format_money(difference)} per hour dearer: {figures}")
    if difference == 0:
        return reject(Reason.CostHigher, f"costs the same; ties go by name: {figures}")
    cheaper = f"{format_money(-difference)} per hour cheaper"
    if ballot.is_live:
        return reject(Reason.Sticky, f"{cheaper}, but what serves stays: {figures}")
    if ballot.held:
        return reject(Reason.Sticky, f"{cheaper}, but what is being started stays: {figures}")
    return reject(Reason.InsufficientCapacity, f"room came free only after others were placed: {figures}")


def _burden(option: Option | Candidate, replicas: int, ballot: Ballot, leftover: Leftover) -> Decimal:
    """Money per hour beside devices and energy: interruptions, and the start of what does not serve yet."""
    view = leftover.pools[option.pool]
    total, is_spot = Decimal(0), view.facts.capacity_type == "spot"
    if ballot.is_live and not is_spot:
        return total
    per_hour = view.device_hour.billed() * option.unit_devices
    if is_spot:
        total += expect_interruptions(view.facts, per_hour).per_hour * replicas
    if not ballot.is_live and view.facts.capacity_type not in PAID_CAPACITY_TYPES:
        total += spread_change(view.facts, per_hour, ballot.facts.horizon_seconds)[0] * replicas
    return total


def _marginal(option: Option, leftover: Leftover) -> Decimal:
    """What the option would add to the bill now, all others staying where they are."""
    view = leftover.pools[option.pool]
    paid = count_paid_devices(view.facts, view.capacity.devices_total)
    paid_left = max(0, paid - leftover.solution.used_devices.get(view.facts.name, 0))
    devices = option.unit_devices * option.replicas
    billed = max(0, devices - paid_left)
    energy = view.device_hour.energy_share(option.utilisation_ratio)
    return billed * view.device_hour.billed() + devices * energy
