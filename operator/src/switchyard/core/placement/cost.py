"""What devices cost per hour: `marginal` adds to the bill (decisions), `allocated` is a share of it.

    owned device-hour   = (purchase - salvage) / (lifetime in months x 730.5 hours)
    energy              = watts / 1000 x utilisation x PUE x price per kWh
    full device-hour    = (price + energy) x (1 + overhead percent / 100)

Reserved and owned devices are paid whether used or not: their marginal cost is energy until they are full.
Money is Decimal, rounded to a millionth, half to even.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from switchyard.core.placement.facts import PoolFacts

HOURS_PER_MONTH = Decimal("730.5")
_PAID_CAPACITY_TYPES = frozenset({"reserved", "owned"})
_MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class DeviceHour:
    """One device for one hour. `energy` at full load. `is_known` is False where the pool states no price."""

    price: Decimal
    energy: Decimal
    overhead_ratio: Decimal
    is_known: bool = True

    def allocated(self, utilisation_ratio: float = 1.0) -> Decimal:
        """Price, energy at that load, and overhead."""
        return _round((self.price + self.energy * _ratio(utilisation_ratio)) * (1 + self.overhead_ratio))

    def billed(self) -> Decimal:
        """What a device beyond those already paid adds, energy apart."""
        return _round(self.price * (1 + self.overhead_ratio))

    def energy_share(self, utilisation_ratio: float) -> Decimal:
        """What energy at that load adds, with its overhead."""
        return _round(self.energy * _ratio(utilisation_ratio) * (1 + self.overhead_ratio))

    def marginal(self, *, is_paid: bool, utilisation_ratio: float = 1.0) -> Decimal:
        """What one more device adds to the bill."""
        return self.energy_share(utilisation_ratio) + (Decimal(0) if is_paid else self.billed())


def price_device_hour(pool: PoolFacts) -> DeviceHour:
    """The device-hour of a pool. A capacity that is owned is written off; all others have a price."""
    price = pool.price
    energy = Decimal(0)
    if pool.power_watts is not None and price.energy_price_per_kwh:
        energy = Decimal(str(pool.power_watts)) / 1000 * price.pue * price.energy_price_per_kwh
    overhead = price.overhead_percent / 100
    hourly = price.device_per_hour
    if pool.capacity_type == "owned" and price.purchase_price is not None and price.lifetime_months:
        hourly = (price.purchase_price - price.salvage_price) / (price.lifetime_months * HOURS_PER_MONTH)
    return DeviceHour(_round(hourly or Decimal(0)), _round(energy), overhead, is_known=hourly is not None)


def count_paid_devices(pool: PoolFacts, devices_total: int) -> int:
    """Devices that are paid whether used or not: what is reserved, or all of a reserved or owned pool."""
    if pool.reserved_devices is not None:
        return pool.reserved_devices
    return devices_total if pool.capacity_type in _PAID_CAPACITY_TYPES else 0


def cost_per_thousand(per_hour: Decimal, rate: float, error_ratio: float = 0.0) -> Decimal | None:
    """Money per thousand successful requests at `rate` requests per second; None without any."""
    successful_per_hour = rate * (1 - error_ratio) * 3600
    if successful_per_hour <= 0:
        return None
    return _round(per_hour / Decimal(str(successful_per_hour)) * 1000)


def format_money(amount: Decimal) -> str:
    """A decimal string: cents where they suffice, else up to six places (`3.06`, `0.0041`)."""
    cents = amount.quantize(Decimal("0.01"))
    if cents == amount:
        return f"{cents:f}"
    text = f"{_round(amount):f}".rstrip("0")
    places = len(text.partition(".")[2])
    return f"{amount:.2f}" if abs(amount) >= 1 else text if places > 2 else f"{amount:.2f}"


def _ratio(value: float) -> Decimal:
    return Decimal(str(round(min(1.0, max(0.0, value)), 4)))


def _round(amount: Decimal) -> Decimal:
    return amount.quantize(_MILLIONTH)
