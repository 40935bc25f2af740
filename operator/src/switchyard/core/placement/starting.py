"""Seats for replicas that are being started: where their pods are, or where they will find a node.

A track that starts is as good as bound: it keeps its devices against newcomers of its tier, although most of
its pods are on no node yet. So does one whose nodes are all being taken back: its successors start. The seats
are those that a scheduler could choose now, fullest node first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from switchyard.core.errors import LedgerError
from switchyard.core.placement.ballot import Ballot, Held
from switchyard.core.placement.ledger import Ledger, Seats
from switchyard.core.placement.pool_view import PoolView, offer_devices
from switchyard.core.placement.problem import GROWTH_NODE, JobKey

Seating = Mapping[tuple[JobKey, str], tuple[tuple[str, int], ...]]  # by job and track: replicas by node


def seat_starting(ballots: Iterable[Ballot], pools: Mapping[str, PoolView]) -> Seating:
    """The seats of every track that starts, or starts again, in order of their keys."""
    ordered = sorted(ballots, key=lambda ballot: ballot.facts.key)
    if all(ballot.is_rooted or not ballot.held for ballot in ordered):
        return {}
    ledgers: dict[str, Ledger] = {}
    for ballot in ordered:
        for held in ballot.held:
            ledger = ledgers.setdefault(held.option.pool, _open(pools[held.option.pool]))
            _pin(ledger, held)
    found: dict[tuple[JobKey, str], tuple[tuple[str, int], ...]] = {}
    for ballot in ordered:
        if ballot.is_rooted:
            continue
        for held in ballot.held:
            seats = _pinned(ledgers[held.option.pool], held)
            is_mixed = ballot.facts.mode == "mixed" and not held.option.degradation
            wanted = held.track.replicas if is_mixed else held.option.replicas
            missing = wanted - sum(seats.values())
            for node, count in _take(ledgers[held.option.pool], held, missing).items():
                seats[node] = seats.get(node, 0) + count
            found[ballot.facts.key, held.track.name] = tuple(sorted(seats.items()))
    return found


def _open(view: PoolView) -> Ledger:
    supply = offer_devices(view)
    grown = ((GROWTH_NODE, supply.growth_devices),) if supply.growth_devices else ()
    return Ledger(replace(supply, free_by_node=(*supply.free_by_node, *grown)))


def _pin(ledger: Ledger, held: Held) -> None:
    ledger.pin(held.option.unit_devices, _pinned(ledger, held))


def _pinned(ledger: Ledger, held: Held) -> Seats:
    """Where its pods are, on nodes that take pods."""
    nodes = {node for node, _ in ledger.free_by_node}
    return {node: count for node, count in held.track.pods.scheduled_by_node.items() if node in nodes}


def _take(ledger: Ledger, held: Held, replicas: int) -> Seats:
    count = min(replicas, ledger.seats(held.option.unit_devices))
    if count <= 0:
        return {}
    try:
        return ledger.take(held.option.unit_devices, count)
    except LedgerError:
        return {}
