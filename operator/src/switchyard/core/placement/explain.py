"""Why each option that was not taken was not (`status.rejected`), and in words what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from switchyard.api import Reason
from switchyard.core.placement.admission import Option
from switchyard.core.placement.cost import count_paid_devices, format_money
from switchyard.core.placement.ledger import count_seats
from switchyard.core.placement.pose import Ballot, PoolView
from switchyard.core.placement.problem import Placement, Solution

MOST_REJECTIONS = 256
_CAPACITY_REASONS = frozenset({Reason.InsufficientCapacity})


@dataclass(frozen=True, slots=True)
class Rejection:
    """One option and why it was not taken. `variant` is empty where no variant is made for the pool."""

    variant: str
    pool: str
    reason: Reason
    message: str


class Leftover:
    """What a solution leaves free, counted once per pool and unit."""

    def __init__(self, solution: Solution) -> None:
        self.solution = solution
        self._seats: dict[tuple[str, int], int] = {}

    def seats(self, pool: str, unit_devices: int) -> int:
        """Replicas of that unit that still fit in the pool."""
        known = self._seats.get((pool, unit_devices))
        if known is None:
            known = count_seats(self.solution.free_by_node.get(pool, ()), unit_devices)
            self._seats[pool, unit_devices] = known
        return known

    def devices(self, pool: str) -> int:
        """Devices still free in the pool, wherever they are."""
        return self.seats(pool, 1)


def explain_rejections(
    ballot: Ballot, placement: Placement | None, leftover: Leftover, pools: Mapping[str, PoolView]
) -> tuple[Rejection, ...]:
    """Every option not taken, by pool and variant; of too many, mismatches are left out first."""
    found = [
        Rejection(variant, pool, verdict.reason, verdict.message)
        for (variant, pool), verdict in ballot.rejections.items()
    ]
    for name, option in ballot.options.items():
        if placement is None or placement.candidate.name != name:
            found.append(
                _untaken(name, option, ballot=ballot, placement=placement, leftover=leftover, pools=pools)
            )
    if placement is not None:
        found = [each for each in found if (each.variant, each.pool) != placement.candidate.name]
    found.sort(key=lambda each: (each.reason == Reason.AcceleratorMismatch, each.pool, each.variant))
    return tuple(sorted(found[:MOST_REJECTIONS], key=lambda each: (each.pool, each.variant)))


def describe_shortage(option: Option, pools: Mapping[str, PoolView], leftover: Leftover) -> str:
    """What is missing: `needs 6 x nvidia-l4 units, 2 free in pool l4-eu`."""
    view = pools[option.pool]
    what = view.facts.accelerator or view.facts.resource_name
    seats = leftover.seats(option.pool, option.unit_devices)
    each = "units" if option.unit_devices == 1 else f"units of {option.unit_devices} devices"
    devices = leftover.devices(option.pool)
    split = ""
    if seats * option.unit_devices < devices and option.unit_devices > 1:
        split = f" ({devices} devices free, but not {option.unit_devices} on one node)"
    message = f"needs {option.replicas} x {what} {each}, {seats} free in pool {option.pool}{split}"
    if seats >= option.replicas:
        limit = view.facts.pilot_max_per_hour
        message = (
            f"needs {option.replicas} x {what} {each}; the pilot pool {option.pool} may cost {limit} per hour"
        )
    return message


def describe_misfortune(
    ballot: Ballot, leftover: Leftover, pools: Mapping[str, PoolView]
) -> tuple[Reason, str]:
    """Why a workload has no place: the shortage of its nearest option, or what refused it everywhere."""
    if ballot.options:
        nearest = min(
            ballot.options.values(), key=lambda each: (_gap(each, leftover), each.pool, each.variant)
        )
        message = describe_shortage(nearest, pools, leftover)
        taker = leftover.solution.displaced.get(ballot.facts.key)
        if taker is not None:
            return Reason.Displaced, f"gave way to {taker[0]}/{taker[1]} of a higher tier; {message}"
        return Reason.InsufficientCapacity, message
    if not pools:
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
            Reason.ProfileMissing,
            Reason.ObjectiveUnreachable,
            Reason.MaxReplicasExceeded,
            Reason.OverBudget,
        )
    )
}


def _gap(option: Option, leftover: Leftover) -> int:
    seats = leftover.seats(option.pool, option.unit_devices)
    return (option.replicas - seats) * option.unit_devices


def _untaken(
    name: tuple[str, str],
    option: Option,
    *,
    ballot: Ballot,
    placement: Placement | None,
    leftover: Leftover,
    pools: Mapping[str, PoolView],
) -> Rejection:
    seats = leftover.seats(option.pool, option.unit_devices)
    if placement is None or seats < option.replicas:
        message = describe_shortage(option, pools, leftover)
        return Rejection(*name, Reason.InsufficientCapacity, message)
    marginal = _marginal(option, pools[option.pool], leftover)
    difference = marginal - placement.cost_per_hour
    figures = (
        f"{option.replicas} replicas would add {format_money(marginal)} per hour"
        f" against {format_money(placement.cost_per_hour)}"
    )
    if difference > 0:
        return Rejection(*name, Reason.CostHigher, f"{format_money(difference)} per hour dearer: {figures}")
    if difference == 0:
        return Rejection(*name, Reason.CostHigher, f"costs the same; ties go by name: {figures}")
    if ballot.held is not None:
        return Rejection(
            *name,
            Reason.Sticky,
            f"{format_money(-difference)} per hour cheaper, but what serves stays: {figures}",
        )
    return Rejection(
        *name, Reason.InsufficientCapacity, f"room came free only after others were placed: {figures}"
    )


def _marginal(option: Option, view: PoolView, leftover: Leftover) -> Decimal:
    """What the option would add to the bill now, all others staying where they are."""
    paid = count_paid_devices(view.facts, view.capacity.devices_total)
    paid_left = max(0, paid - leftover.solution.used_devices.get(view.facts.name, 0))
    devices = option.unit_devices * option.replicas
    billed = max(0, devices - paid_left)
    energy = view.device_hour.energy_share(option.utilisation_ratio)
    return billed * view.device_hour.billed() + devices * energy
