"""On which nodes of a pool the replicas of a plan go, where no simple packing finds seats for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from switchyard.core.placement.ledger import Seats
from switchyard.core.placement.optimise.programme import Effort, Programme, solve

_EFFORT = Effort(nodes=20_000, seconds=10.0)


@dataclass(frozen=True, slots=True)
class Ask:
    """`seated` replicas of `unit_devices`; of those in `running` as many as possible stay on their node."""

    unit_devices: int
    seated: int
    running: tuple[tuple[str, int], ...] = ()


def seat_together(free_by_node: Sequence[tuple[str, int]], asks: Sequence[Ask]) -> list[Seats] | None:
    """Replicas by node for each ask; None when they cannot all be seated."""
    programme = Programme()
    on_node: dict[str, list[tuple[int, float]]] = {node: [] for node, _ in free_by_node}
    columns: list[dict[str, list[int]]] = []
    for ask in asks:
        staying = min(ask.seated, sum(count for node, count in ask.running if node in on_node))
        mine: dict[str, list[int]] = {}
        for node, count in ask.running:
            if node in on_node:
                mine.setdefault(node, []).append(
                    programme.add_column(0.0, upper=float(count), is_integer=True)
                )
        programme.add_row(
            [(column, 1.0) for places in mine.values() for column in places],
            lower=float(staying),
            upper=float(staying),
        )
        missing = ask.seated - staying
        fresh = []
        for node, free in free_by_node if missing else ():
            if free >= ask.unit_devices:
                column = programme.add_column(0.0, upper=float(missing), is_integer=True)
                mine.setdefault(node, []).append(column)
                fresh.append((column, 1.0))
        programme.add_row(fresh, lower=float(missing), upper=float(missing))
        for node, places in mine.items():
            on_node[node] += [(column, float(ask.unit_devices)) for column in places]
        columns.append(mine)
    for node, free in free_by_node:
        programme.add_row(on_node[node], upper=float(free))
    answer = solve(programme, _EFFORT)
    if answer.values is None:
        return None
    seated: list[Seats] = []
    for mine in columns:
        counts = {node: sum(round(float(answer.values[each])) for each in mine[node]) for node in mine}
        seated.append({node: count for node, count in sorted(counts.items()) if count})
    return seated
