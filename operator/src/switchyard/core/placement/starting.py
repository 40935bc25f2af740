"""Seats for replicas that are being started: where their pods are, or where they will find a node.

A track that starts is as good as bound: it keeps its devices against newcomers of its tier, although most of
its pods are on no node yet. So does one whose nodes are all being taken back: its successors start. The seats
are those that a scheduler could choose now, large replicas first and the fullest node first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from switchyard.core.placement.ballot import Ballot, Held
from switchyard.core.placement.ledger import Ledger, Seats
from switchyard.core.placement.optimise.seating import Ask, seat_together
from switchyard.core.placement.pool_view import PoolView, offer_devices
from switchyard.core.placement.problem import GROWTH_NODE, JobKey, Supply

Seating = Mapping[tuple[JobKey, str], tuple[tuple[str, int], ...]]  # by job and track: replicas by node


@dataclass(frozen=True, slots=True)
class _Row:
    """A track of a pool. `running`: by node, of pods that have one; `missing` are to find one."""

    key: JobKey
    held: Held
    running: Seats
    missing: int

    @property
    def unit(self) -> int:
        return self.held.option.unit_devices


def seat_starting(ballots: Iterable[Ballot], pools: Mapping[str, PoolView]) -> Seating:
    """The seats of every track that starts, or starts again."""
    ordered = sorted(ballots, key=lambda ballot: ballot.facts.key)
    starting = {ballot.facts.key for ballot in ordered if ballot.held and not ballot.is_rooted}
    if not starting:
        return {}
    supplies: dict[str, Supply] = {}
    rows: dict[str, list[_Row]] = {}
    for ballot in ordered:
        for held in ballot.held:
            pool = held.option.pool
            supply = supplies.setdefault(pool, _with_growth(pools[pool]))
            is_starting = ballot.facts.key in starting
            rows.setdefault(pool, []).append(_read(ballot, held, supply, is_starting=is_starting))
    found = {}
    for pool, members in rows.items():
        for row, seats in zip(members, _seat(supplies[pool], members), strict=True):
            if row.key in starting:
                found[row.key, row.held.track.name] = tuple(sorted(seats.items()))
    return found


def _with_growth(view: PoolView) -> Supply:
    supply = offer_devices(view)
    grown = ((GROWTH_NODE, supply.growth_devices),) if supply.growth_devices else ()
    return replace(supply, free_by_node=(*supply.free_by_node, *grown))


def _read(ballot: Ballot, held: Held, supply: Supply, *, is_starting: bool) -> _Row:
    nodes = {node for node, _ in supply.free_by_node}
    running = {node: count for node, count in held.track.pods.scheduled_by_node.items() if node in nodes}
    is_mixed = ballot.facts.mode == "mixed" and not held.option.degradation
    wanted = held.track.replicas if is_mixed else held.option.replicas
    missing = max(0, wanted - sum(running.values())) if is_starting else 0
    return _Row(ballot.facts.key, held, running, missing)


def _seat(supply: Supply, rows: Sequence[_Row]) -> list[Seats]:
    """Seats of each row: what runs stays; the rest as it fits, all of it where any packing has room."""
    ledger = Ledger(supply)
    found = [ledger.pin(row.unit, row.running) for row in rows]
    is_short = False
    for index in sorted(range(len(rows)), key=lambda each: (-rows[each].unit, rows[each].key)):
        row = rows[index]
        count = min(row.missing, ledger.seats(row.unit))
        is_short |= count < row.missing
        if count > 0:
            for node, taken in ledger.take(row.unit, count).items():
                found[index][node] = found[index].get(node, 0) + taken
    if not is_short:
        return found
    asks = [
        Ask(row.unit, sum(row.running.values()) + row.missing, tuple(sorted(row.running.items())))
        for row in rows
    ]
    return seat_together(supply.free_by_node, asks) or found
