"""Which demand to plan with, and how it is known: a missing signal is never a demand of zero.

    no signal wanted                           Planned    the spec
    measured within the last five minutes      Signal     what was measured
    measured once, not now                     LastKnown  what was measured last; nothing is scaled down
    never measured, the spec gives a rate      Planned    that rate
    never measured, no rate                    None       minReplicas

After a restart nothing was asked yet: what is stored stays as it is until the first answer, and nothing is
scaled down.

What was measured is rounded to three significant digits, and what is stored stays while the new figure lies
in a dead band around it: five percent, or 1/sqrt(n) where the window saw only n requests, which is as far as
chance alone carries a count (the standard deviation of a Poisson process). So small changes neither write a
status nor move a replica, and a restart plans with the same figures: all that is remembered is
`status.demand`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from switchyard.api import Reason
from switchyard.api.demand import Demand, TokenLength
from switchyard.api.workload_status import DemandStatus
from switchyard.core.conditions import FALSE, TRUE, UNKNOWN, Finding, format_time
from switchyard.core.placement.facts import DemandReading, DemandSource, WorkloadFacts
from switchyard.core.placement.latency import Traffic, format_rate
from switchyard.core.stability.moments import later_by, read_moment
from switchyard.core.world import SignalReading

CURRENT_FOR_SECONDS = 300.0  # a reading older than this is missing
DEAD_BAND_RATIO = 0.05
WINDOW_SECONDS = 300.0  # of a signal that does not say
DEFAULT_TOKEN_CV = 1.0  # of measured sizes, of which only the mean is known

_PLACES = 6  # after the point; a rate below is none
_HIGHEST_RATE = 1e9  # what a spec could state at most; more is an error of measurement
_MEASURED = frozenset({"Signal", "LastKnown"})
_CONDITION = "SignalsAvailable"


@dataclass(frozen=True, slots=True)
class DemandPlan:
    """The demand to plan with.

    `reading`: for `read_workload`; None where the plan in the spec counts. `finding`: SignalsAvailable; None
    without a signal. `is_frozen`: the signal is missing, so no replica is taken away. `recheck_at`: when what
    is current now will be missing.
    """

    source: DemandSource
    reading: DemandReading | None = None
    observed_at: str | None = None  # as status stores it
    finding: Finding | None = None
    is_frozen: bool = False
    recheck_at: datetime | None = None


def plan_demand(
    demand: Demand, signal: SignalReading | None, stored: DemandStatus | None, now: datetime
) -> DemandPlan:
    """The demand of a workload from its spec, the last reading of its signal, and `status.demand`."""
    if demand.signal is None:
        return DemandPlan("Planned")
    if signal is None:
        return _wait_for_answer(demand, stored)
    measured = _measured_rate(signal)
    if measured and now < later_by(measured[1], CURRENT_FOR_SECONDS):
        return _follow(demand, signal, measured, stored)
    problem = describe_problem(signal)
    if stored is not None and stored.source in _MEASURED:
        return _freeze(demand, stored, problem)
    if measured:
        # neither current nor stored: as good as a last known figure
        rounded = DemandStatus(requests_per_second=_round(measured[0]), observed_at=format_time(measured[1]))
        return _freeze(demand, rounded, problem)
    return _never_known(demand, FALSE, problem)


def describe_demand(facts: WorkloadFacts, plan: DemandPlan) -> dict[str, Any]:
    """`status.demand` of a workload that was read with `plan.reading`."""
    found: dict[str, Any] = {
        "requestsPerSecond": _write(facts.mean_rate),
        "peakRequestsPerSecond": _write(facts.peak_rate),
        "source": facts.demand_source,
    }
    if facts.traffic is not None:
        found["inputTokens"] = _write(facts.traffic.input_mean)
        found["outputTokens"] = _write(facts.traffic.output_mean)
    if plan.observed_at is not None:
        found["observedAt"] = plan.observed_at
    return found


def describe_problem(signal: SignalReading) -> str:
    """Why there is no current figure, in words that stay the same while nothing changes."""
    if signal.problem:
        return signal.problem
    if signal.requests_per_second is None:
        return "the query for the request rate answers without a value"
    if _usable(signal.requests_per_second) is None:
        return f"the query for the request rate answers {signal.requests_per_second}"
    return "the query for the request rate is not answered any more"


def dead_band_ratio(rate: float, demand: Demand) -> float:
    """How far a figure measured at that rate may lie from the stored one, as a share of the larger."""
    requests = rate * (demand.window.seconds if demand.window else WINDOW_SECONDS)
    return max(DEAD_BAND_RATIO, 1 / math.sqrt(requests)) if requests > 1 else 1.0


def _follow(
    demand: Demand,
    signal: SignalReading,
    measured: tuple[float, datetime],
    stored: DemandStatus | None,
) -> DemandPlan:
    rate, observed_at = measured
    before = stored if stored is not None and stored.source in _MEASURED else None
    stored_rate = before.requests_per_second if before else None
    band = dead_band_ratio(max(rate, _number(stored_rate) or 0.0), demand)
    kept_rate = _steady(_round(rate), stored_rate, band)
    prompt = _measured_size(signal.input_tokens, before.input_tokens if before else None, band)
    answer = _measured_size(signal.output_tokens, before.output_tokens if before else None, band)
    is_same = (
        before is not None
        and before.source == "Signal"
        and before.observed_at is not None
        and kept_rate == before.requests_per_second
        and (prompt is None or prompt == before.input_tokens)
        and (answer is None or answer == before.output_tokens)
    )
    mean_rate = float(kept_rate)
    return DemandPlan(
        source="Signal",
        reading=DemandReading(mean_rate, "Signal", _traffic(demand, prompt, answer)),
        observed_at=before.observed_at if before and is_same else format_time(observed_at),
        finding=_is_current(mean_rate),
        recheck_at=later_by(observed_at, CURRENT_FOR_SECONDS),
    )


def _is_current(mean_rate: float) -> Finding:
    message = f"{format_rate(mean_rate)} requests/s were measured"
    return Finding(_CONDITION, TRUE, Reason.SignalCurrent, message)


def _wait_for_answer(demand: Demand, stored: DemandStatus | None) -> DemandPlan:
    problem = "nothing was asked yet"
    if stored is None or stored.source not in _MEASURED:
        return _never_known(demand, UNKNOWN, problem)
    known = _freeze(demand, stored, problem)
    if known.reading is None or stored.source != "Signal":
        return known
    reading = replace(known.reading, source=stored.source)
    return replace(known, source=stored.source, reading=reading, finding=_is_current(reading.mean_rate))


def _freeze(demand: Demand, known: DemandStatus, problem: str) -> DemandPlan:
    mean_rate = _usable(_number(known.requests_per_second)) or 0.0
    since = f" of {known.observed_at}" if read_moment(known.observed_at) else ""
    message = (
        f"{problem}; the last known {format_rate(mean_rate)} requests/s{since} stay in force, and nothing is "
        "scaled down"
    )
    return DemandPlan(
        source="LastKnown",
        reading=DemandReading(
            mean_rate, "LastKnown", _traffic(demand, known.input_tokens, known.output_tokens)
        ),
        observed_at=known.observed_at,
        finding=Finding(_CONDITION, FALSE, Reason.DemandFrozen, message),
        is_frozen=True,
    )


def _never_known(demand: Demand, status: str, problem: str) -> DemandPlan:
    if demand.requests_per_second is not None:
        planned = format_rate(float(demand.requests_per_second))
        source: DemandSource = "Planned"
        message = f"{problem}; until there is a figure, demand.requestsPerSecond counts: {planned} requests/s"
    else:
        source = "None"
        message = (
            f"{problem}; until there is a figure, scaling.minReplicas run, "
            "for demand.requestsPerSecond is not set"
        )
    return DemandPlan(
        source=source, finding=Finding(_CONDITION, status, Reason.SignalNever, message), is_frozen=True
    )


def _traffic(demand: Demand, prompt: str | None, answer: str | None) -> Traffic | None:
    """Measured means with the spread that the spec states; None where a size is not known from either."""
    sizes = _size(demand.input_tokens, prompt), _size(demand.output_tokens, answer)
    if (prompt is None and answer is None) or sizes[0] is None or sizes[1] is None:
        return None
    return Traffic(*sizes[0], *sizes[1])


def _size(stated: TokenLength | None, measured: str | None) -> tuple[float, float] | None:
    if measured is not None:
        return max(1.0, _number(measured) or 1.0), float(stated.cv) if stated else DEFAULT_TOKEN_CV
    return (float(stated.mean), float(stated.cv)) if stated else None


def _measured_size(value: float | None, stored: str | None, band: float) -> str | None:
    """Tokens of a request; the stored figure where none was measured, as when no request ended of late."""
    usable = _usable(value)
    return stored if not usable else _steady(_round(usable), stored, band)


def _steady(new: str, stored: str | None, band: float) -> str:
    """The stored figure while the new one is within the dead band around it, else the new one."""
    before = _number(stored)
    if stored is None or before is None:
        return new
    return stored if abs(float(new) - before) <= band * max(before, float(new)) else new


def _measured_rate(signal: SignalReading) -> tuple[float, datetime] | None:
    if signal.observed_at is None:
        return None
    rate = _usable(signal.requests_per_second)
    return None if rate is None else (rate, signal.observed_at)


def _usable(value: float | None) -> float | None:
    return value if value is not None and 0 <= value <= _HIGHEST_RATE else None


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _round(value: float) -> str:
    return _plain(float(f"{value:.3g}"))


def _write(value: float) -> str:
    return _plain(float(f"{value:.6g}"))


def _plain(value: float) -> str:
    text = f"{Decimal(repr(value)):.{_PLACES}f}"
    return text.rstrip("0").rstrip(".")
