"""What is left in one pool while a plan is made: devices per node, paid devices, a cap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal

from switchyard.core.errors import LedgerError
from switchyard.core.placement.problem import Candidate, Supply

Seats = dict[str, int]  # replicas by node


def count_seats(free_by_node: Iterable[tuple[str, int]], unit_devices: int) -> int:
    """Replicas of `unit_devices` that fit, each on one node: the pool's sum does not count, its nodes do."""
    return sum(free // unit_devices for _, free in free_by_node)


class Ledger:
    """Takes and gives back replicas of one pool; fullest node first: large replicas need whole nodes."""

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        self.used_devices = supply.used_devices
        self._held_devices = 0
        self._free = dict(supply.free_by_node)
        self._sizes = Counter(self._free.values())
        self._seats_by_unit: dict[int, int] = {}

    @property
    def free_by_node(self) -> tuple[tuple[str, int], ...]:
        """Devices left, by node name."""
        return tuple(sorted(self._free.items()))

    def seats(self, unit_devices: int) -> int:
        """Replicas of `unit_devices` that still fit."""
        known = self._seats_by_unit.get(unit_devices)
        if known is None:
            known = sum(free // unit_devices * nodes for free, nodes in self._sizes.items() if free > 0)
            if self.supply.device_limit is not None:
                allowed = max(0, self.supply.device_limit - self._held_devices)
                known = min(known, allowed // unit_devices)
            self._seats_by_unit[unit_devices] = known
        return known

    def take(self, unit_devices: int, replicas: int) -> Seats:
        """The nodes that `replicas` go to; raises LedgerError when they don't fit."""
        if replicas > self.seats(unit_devices):
            raise LedgerError(f"{replicas} x {unit_devices} devices do not fit in pool {self.supply.name}")
        taken: Seats = {}
        left = replicas
        for free in sorted(size for size in self._sizes if size >= unit_devices):
            if not left:
                break
            for node in sorted(name for name, size in self._free.items() if size == free):
                count = min(left, free // unit_devices)
                taken[node] = count
                left -= count
                if not left:
                    break
        self._move(taken, unit_devices, 1)
        return taken

    def pin(self, unit_devices: int, by_node: Mapping[str, int]) -> Seats:
        """What of replicas that run on these nodes still has its devices there."""
        taken: Seats = {}
        for node, wanted in sorted(by_node.items()):
            count = min(wanted, self._free.get(node, 0) // unit_devices)
            if count > 0:
                taken[node] = count
        self._move(taken, unit_devices, 1)
        return taken

    def give_back(self, unit_devices: int, seats: Mapping[str, int]) -> None:
        """Undo a take or a pin."""
        self._move(seats, unit_devices, -1)

    def cost(self, candidate: Candidate, replicas: int) -> Decimal:
        """Marginal money per hour of adding `replicas` of `candidate` now: paid devices cost their energy."""
        devices = candidate.unit_devices * replicas
        paid_left = max(0, self.supply.paid_devices - self.used_devices)
        billed = max(0, devices - paid_left)
        return billed * self.supply.price_per_hour + devices * candidate.energy_per_hour

    def _move(self, seats: Mapping[str, int], unit_devices: int, sign: int) -> None:
        for node, replicas in seats.items():
            before = self._free[node]
            after = before - sign * replicas * unit_devices
            self._free[node] = after
            self._sizes[before] -= 1
            if not self._sizes[before]:
                del self._sizes[before]
            self._sizes[after] += 1
        devices = sign * unit_devices * sum(seats.values())
        self.used_devices += devices
        self._held_devices += devices
        self._seats_by_unit.clear()
