"""What devices cost per hour: `marginal` adds to the bill (decisions), `allocated` is a share of it.

    owned device-hour   = (purchase - salvage) / (lifetime in months x 730.5 hours)
    energy              = watts / 1000 x utilisation x PUE x price per kWh
    full device-hour    = (price + energy) x (1 + overhead percent / 100)
    spot interruptions  = L = interruptions per day / 24
      lost replica-hours per hour = L x max(0, S - notice), S = provisioning + start-up of a replica
      risk per hour     = price of a replica per hour x (lost replica-hours + L x S)
    change              = price of a replica per hour x S / horizon, for each replica that is new

An interruption costs twice: the time in which the replica is missing, which others must carry, and the time
in which its successor is paid for and does not serve yet. A notice covers the first as far as it reaches.
Reserved and owned devices are paid whether used or not: their marginal cost is energy until they are full,
and those that idle are waste. Money is Decimal, rounded to a millionth, half to even.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from switchyard.api.pool_status import EffectiveCost
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.world import PriceReading

HOURS_PER_MONTH = Decimal("730.5")
PAID_CAPACITY_TYPES = frozenset({"reserved", "owned"})
_MILLIONTH = Decimal("0.000001")
START_UP_SECONDS = 180.0  # of a replica on a node that is there: image, model, warm-up
DRAIN_SECONDS = 60.0  # a replica that goes is paid for while its last requests end
_OVERRIDE_PREFIX = "opencost:"
_OVERRIDE_KEPT = timedelta(days=1)  # a price that its source gives no more, before the spec's counts again


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
    return devices_total if pool.capacity_type in PAID_CAPACITY_TYPES else 0


def steady_price(
    reading: PriceReading | None, stored: EffectiveCost | None, now: datetime
) -> PriceReading | None:
    """The price of a source that is in force; None where the spec's is.

    It is rounded as status shows it, and one that status has stays while the source says the same, or for a
    day while it says nothing: so neither a restart nor an outage of the source moves a price.
    """
    known = _read_override(stored)
    if reading is None or not reading.device_per_hour.is_finite() or reading.device_per_hour < 0:
        return known if known is not None and now - known.as_of < _OVERRIDE_KEPT else None
    shown = Decimal(format_money(reading.device_per_hour))
    if known is not None and (known.device_per_hour, known.source) == (shown, reading.source):
        age = reading.as_of - known.as_of
        if timedelta(0) <= age < _OVERRIDE_KEPT / 2:
            return known
    return replace(reading, device_per_hour=shown)


def _read_override(stored: EffectiveCost | None) -> PriceReading | None:
    if stored is None or not (stored.source or "").startswith(_OVERRIDE_PREFIX):
        return None
    try:
        as_of = datetime.fromisoformat(stored.as_of or "")
        return PriceReading(Decimal(stored.price), stored.source or "", as_of) if as_of.tzinfo else None
    except (ValueError, ArithmeticError):
        return None


@dataclass(frozen=True, slots=True)
class SpotRisk:
    """What interruptions are expected to do to one replica."""

    lost_ratio: float  # of its time in which it is missing
    per_hour: Decimal


def expect_interruptions(
    pool: PoolFacts, replica_per_hour: Decimal, start_up_seconds: float = START_UP_SECONDS
) -> SpotRisk:
    """The risk of a replica in a pool, by the formula above; none outside spot capacity."""
    if pool.capacity_type != "spot" or pool.interruptions_per_day <= 0:
        return SpotRisk(0.0, Decimal(0))
    per_hour = pool.interruptions_per_day / 24
    missing_hours = pool.provisioning_seconds / 3600 + start_up_seconds / 3600
    lost_ratio = per_hour * max(0.0, missing_hours - (pool.notice_seconds or 0.0) / 3600)
    ratio = Decimal(str(round(lost_ratio + per_hour * missing_hours, 9)))
    return SpotRisk(min(1.0, lost_ratio), _round(replica_per_hour * ratio))


def spread_change(
    pool: PoolFacts,
    replica_per_hour: Decimal,
    horizon_seconds: float,
    start_up_seconds: float = START_UP_SECONDS,
) -> tuple[Decimal, Decimal]:
    """What one replica more and one less than today cost per hour, spread over the horizon.

    More: it is paid for from provisioning until it serves. Less: until its last requests ended.
    """
    horizon = Decimal(str(max(horizon_seconds, 60.0)))
    added = Decimal(str(pool.provisioning_seconds + start_up_seconds))
    return (
        _round(replica_per_hour * added / horizon),
        _round(replica_per_hour * Decimal(str(DRAIN_SECONDS)) / horizon),
    )


def waste_per_hour(hour: DeviceHour, idle_devices: int) -> Decimal:
    """What devices that are paid for and not used cost: price and overhead, no energy."""
    return _round(hour.billed() * max(0, idle_devices))


def cost_per_ten_thousand_tokens(
    per_hour: Decimal, rate: float, tokens_per_request: float, error_ratio: float = 0.0
) -> Decimal | None:
    """Money per 10,000 tokens of successful requests, prompts and answers together; None without any."""
    tokens_per_hour = rate * (1 - error_ratio) * tokens_per_request * 3600
    if tokens_per_hour <= 0:
        return None
    return _round(per_hour / Decimal(str(tokens_per_hour)) * 10_000)


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
