"""What the planner and the pods say of the two sides of a plan: values for an observation. Pure.

target      the variant in its pool, as placement judges it for the whole demand
sides       replicas wanted and ready, restarts, money, and the load at the share that each side answers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from switchyard.api import Reason
from switchyard.core.cutover.errand import carries_traffic
from switchyard.core.cutover.traffic import find_copied_percent
from switchyard.core.cutover.types import Side, SideView, State, TargetView
from switchyard.core.desired import name_track
from switchyard.core.placement.ballot import Ballot, Surroundings
from switchyard.core.placement.case import Option
from switchyard.core.placement.cost import cost_per_thousand
from switchyard.core.placement.explain import Leftover, describe_shortage
from switchyard.core.placement.guests import find_held, find_host, find_option, load_at, name_guest
from switchyard.core.placement.pool_view import PoolView
from switchyard.core.seats import Seat
from switchyard.core.tracks import Standing
from switchyard.core.world import Sight, Workload

Refusal = tuple[str, str]  # reason and message


@dataclass(frozen=True, slots=True)
class Sides:
    """A workload as its plan meets it. `whole`: all that it could choose from.

    `own`, `guest`: replicas that placement gives the side that serves, and the one beside it.
    """

    workload: Workload
    whole: Ballot
    standing: Standing
    leftover: Leftover
    own: int = 0
    guest: int = 0
    guest_option: Option | None = None  # of the guest's track as it is, where that exists

    @property
    def pools(self) -> Mapping[str, PoolView]:
        """Every pool by name."""
        return self.leftover.pools


def take_sides(seat: Seat, leftover: Leftover, around: Surroundings, state: State) -> Sides:
    """The workload of a seat as the plan with this state meets it in this pass."""
    key, guest_option = seat.workload.key, None
    if state.candidate is not None:
        pair = (state.candidate.variant, state.candidate.pool)
        held = find_held(seat.whole, around, pair, seat.standing.track(state.candidate.track))
        guest_option = held.option if held is not None else None
    placements = leftover.solution.placements
    return Sides(
        workload=seat.workload,
        whole=seat.whole,
        standing=seat.standing,
        leftover=leftover,
        own=sum(each.replicas for each in placements.get(key, ())),
        guest=sum(each.replicas for each in placements.get(name_guest(key), ())),
        guest_option=guest_option,
    )


def find_active(sides: Sides) -> Side | None:
    """The side that serves by the workload's own status; None while nothing does."""
    name = sides.workload.status.active_track or sides.standing.served
    track = sides.standing.track(name)
    return Side(track.variant, track.pool, track.name) if track is not None else None


def find_workload_problem(sides: Sides) -> Refusal | None:
    """Why no plan can move the workload as it is."""
    if sides.workload.meta.is_deleting:
        return Reason.WorkloadNotFound.value, f"workload {sides.workload.meta.name} is being deleted"
    if sides.whole.facts.mode == "mixed":
        return (
            Reason.ModeNotSupported.value,
            "placement.mode is mixed, so no single track serves; set it to single to move the workload",
        )
    if find_active(sides) is None:
        return Reason.NotServing.value, f"workload {sides.workload.meta.name} has no track that serves yet"
    return None


def view_target(sides: Sides, variant: str, pool: str | None, state: State) -> TargetView:
    """The target for the whole demand, what it costs, and why it can't be had."""
    begun = state.candidate
    if begun is not None:
        variant, pool = begun.variant, begun.pool
    chosen = pool if pool is not None else _choose_pool(sides, variant)
    option = _find_target_option(sides, variant, chosen)
    found = TargetView(
        pool=chosen,
        track=name_track(sides.workload, variant, chosen) if chosen else "",
        refusal=_refuse(sides, variant, chosen, option, state),
    )
    view = sides.pools.get(chosen)
    if view is not None:
        found = replace(
            found,
            accelerator=view.facts.accelerator or view.facts.family,
            provisioning_seconds=view.facts.provisioning_seconds,
        )
    if option is None:
        return found
    return replace(
        found,
        replicas=option.replicas,
        cost_per_hour=option.allocated_per_hour,
        cost_per_thousand=_per_thousand(sides, option),
    )


def view_candidate(sides: Sides, state: State, share_ratio: float) -> SideView:
    """The candidate as it runs, at that share of the demand; nothing before there is one."""
    side = state.candidate
    if side is None:
        return SideView()
    serves = sides.standing.served == side.track
    wanted = sides.own if serves else state.candidate_replicas
    found = _view(sides, side, wanted, share_ratio)
    taker = sides.leftover.solution.displaced.get(name_guest(sides.workload.key))
    if taker is not None and not sides.guest and not serves:
        return replace(found, ready=0, waiting_for=f"its devices: they went to {'/'.join(find_host(taker))}")
    return found


def view_baseline(sides: Sides, side: Side | None, share_ratio: float) -> SideView:
    """The baseline as it runs, at that share of the demand. Once another serves, what is ready is wanted."""
    if side is None:
        return SideView()
    if sides.standing.served == side.track:
        return _view(sides, side, sides.own, share_ratio)
    track = sides.standing.track(side.track)
    return _view(sides, side, track.pods.ready if track else 0, share_ratio)


def cost_baseline_per_thousand(sides: Sides, side: Side | None) -> Decimal | None:
    """Money per thousand requests of the baseline alone at the whole demand."""
    option = _find_side_option(sides, side) if side is not None else None
    return _per_thousand(sides, option) if option is not None else None


def estimate_share(state: State, sight: Sight | None) -> tuple[float, float]:
    """The share of requests that baseline and candidate have to do, copies included.

    Segments count by the requests that were seen of them; without any, alike.
    """
    parts = _weigh_segments(state, sight)
    moved = sum(parts[each.name] * each.weight_percent / 100 for each in state.segments)
    return 1 - moved, moved + estimate_copies(state, sight)


def estimate_copies(state: State, sight: Sight | None) -> float:
    """The share of requests that are copied to the candidate, segments weighed as above."""
    parts = _weigh_segments(state, sight)
    return sum(
        parts[each.name] * (100 - each.weight_percent) * find_copied_percent(state, each) / 10_000
        for each in state.segments
    )


def _weigh_segments(state: State, sight: Sight | None) -> dict[str, float]:
    names = [each.name for each in state.segments]
    seen = _count_requests(sight, names)
    total = sum(seen.values())
    return {name: seen[name] / total if total else 1 / len(names) for name in names}


def _count_requests(sight: Sight | None, names: Iterable[str]) -> dict[str, int]:
    found = dict.fromkeys(names, 0)
    for samples in (sight.samples if sight is not None else None) or ():
        for name in found:
            if name in samples.segments:
                found[name] += sum(samples.segments[name].started.values())
    return found


def _choose_pool(sides: Sides, variant: str) -> str:
    """The cheapest pool with room for the variant, else the cheapest; another than where it serves."""
    active = find_active(sides)
    here = (active.variant, active.pool) if active is not None else None
    options = [each for each in sides.whole.options.values() if each.variant == variant and each.name != here]
    best = min(
        options,
        key=lambda each: (
            each.degradation > 0,
            _shortage(sides, each) is not None,
            each.allocated_per_hour,
            each.pool,
        ),
        default=None,
    )
    return best.pool if best is not None else ""


def _find_target_option(sides: Sides, variant: str, pool: str) -> Option | None:
    option = find_option(sides.whole, (variant, pool))
    if option is None and sides.guest_option is not None and sides.guest_option.name == (variant, pool):
        return sides.guest_option
    return option


def _refuse(sides: Sides, variant: str, pool: str, option: Option | None, state: State) -> Refusal | None:
    facts = sides.whole.facts
    if facts.variant(variant) is None:
        names = ", ".join(each.name for each in facts.variants)
        return Reason.VariantNotFound.value, f"workload {facts.name} has no variant {variant}; it has {names}"
    if pool and pool not in sides.pools:
        return Reason.PoolNotFound.value, f"there is no AcceleratorPool {pool}"
    active = find_active(sides)
    if state.candidate is None and active is not None and (active.variant, active.pool) == (variant, pool):
        return Reason.AlreadyServing.value, f"variant {variant} on pool {pool} serves already"
    if option is None and not pool and active is not None and active.variant == variant:
        return (
            Reason.AlreadyServing.value,
            f"no other pool than {active.pool} takes variant {variant}, and it serves there",
        )
    if option is None:
        return _refuse_by_checks(sides, variant, pool)
    if state.candidate is not None and sides.guest >= state.candidate_replicas and carries_traffic(state):
        return None  # it runs: what newcomers are refused for does not end it
    shortage = _shortage(sides, option)
    return shortage if sides.standing.served != name_track(sides.workload, variant, pool) else None


def _refuse_by_checks(sides: Sides, variant: str, pool: str) -> Refusal:
    rejections = sides.whole.rejections
    found = rejections.get((variant, pool)) or rejections.get(("", pool))
    if found is not None:
        return found.reason.value, found.message
    told = [(each.reason.value, each.message) for name, each in rejections.items() if name[0] == variant]
    if told:
        return told[0]
    return Reason.AcceleratorMismatch.value, f"no pool has an accelerator that variant {variant} is made for"


def _shortage(sides: Sides, option: Option) -> Refusal | None:
    """What is missing for all replicas beside everything that is placed now, its own replicas included."""
    own = sides.guest if _is_guest(sides, option) else 0
    missing = option.replicas - own
    if missing <= 0:
        return None
    namespace = sides.workload.meta.namespace
    limit = sides.leftover.quota(namespace, option.pool)
    has_room = sides.leftover.seats(option.pool, option.unit_devices) >= missing
    is_allowed = limit is None or limit[1] >= missing * option.unit_devices
    if has_room and is_allowed:
        return None
    reason, message = describe_shortage(namespace, replace(option, replicas=missing), sides.leftover)
    return reason.value, message


def _is_guest(sides: Sides, option: Option) -> bool:
    placements = sides.leftover.solution.placements.get(name_guest(sides.workload.key), ())
    return any(each.candidate.name == option.name for each in placements)


def _view(sides: Sides, side: Side, wanted: int, share_ratio: float) -> SideView:
    track = sides.standing.track(side.track)
    pods = track.pods if track is not None else None
    option = _find_side_option(sides, side)
    utilisation, cost = None, Decimal(0)
    if option is not None:
        ready = max(1, pods.ready if pods is not None and pods.ready else wanted)
        utilisation = load_at(option, sides.whole, sides.whole.facts.mean_rate * share_ratio / ready)
        hour = sides.pools[side.pool].device_hour
        busy = option.utilisation_ratio if utilisation is None else utilisation
        cost = hour.allocated(busy) * option.unit_devices * wanted
    waits = ""
    if pods is not None and pods.ready < wanted:
        waits = pods.unschedulable_message or pods.waiting_reason or sides.standing.refusal(side.track)
    return SideView(
        wanted=wanted,
        ready=pods.ready if pods is not None else 0,
        restarts=pods.restarts if pods is not None else 0,
        cost_per_hour=cost,
        utilisation_ratio=utilisation,
        waiting_for=waits,
    )


def _find_side_option(sides: Sides, side: Side) -> Option | None:
    pair = (side.variant, side.pool)
    held = sides.whole.find_held(pair)
    if held is not None:
        return held.option
    return _find_target_option(sides, *pair)


def _per_thousand(sides: Sides, option: Option) -> Decimal | None:
    return cost_per_thousand(option.allocated_per_hour, sides.whole.facts.mean_rate, option.error_ratio)
