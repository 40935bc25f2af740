"""Demand and engine windows from the /metrics pages of a workload's own pods.

Each look adds what every pod's counters grew since the look before to one timeline of the workload, so
pods may restart, come and go without a jump: one that came since the last look counts from 0, one that
was there before we were counts from what it shows first.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import aiohttp

from switchyard.adapters.signals.bounded_http import Bounds, NoAnswer, fetch_text, open_session
from switchyard.adapters.signals.exposition import read_terms
from switchyard.catalog.signal_presets import SignalPreset
from switchyard.core.learning.sample import EngineSample
from switchyard.engine.counters import Timeline, find_increases
from switchyard.engine.signals import (
    LEARNING_WINDOW_SECONDS,
    WARM_SECONDS,
    YOUNG_SECONDS,
    Measured,
    PodRef,
    Want,
    combine_terms,
    make_sample,
)

_MISSES = 3  # looks in a row that a pod may miss before it counts as missing
_LEAST_LOOKS = 3  # before a rate is believed
_LEAST_SHARE = 0.2  # of the window, likewise
_CONNECTIONS = 32


@dataclass
class _EngineWindow:
    """One pod's current window for learning."""

    start_at: datetime
    is_warm: bool
    grown: dict[str, float] = field(default_factory=dict)
    levels: list[Mapping[str, float]] = field(default_factory=list)


@dataclass
class _PodState:
    raw: dict[str, float] = field(default_factory=dict)
    seen_at: datetime | None = None
    misses: int = 0
    window: _EngineWindow | None = None


@dataclass
class _WorkloadState:
    timeline: Timeline
    looks: int = 0
    first_look_at: datetime | None = None
    last_look_at: datetime | None = None
    pods: dict[str, _PodState] = field(default_factory=dict)  # by uid
    last: Measured | None = None


@dataclass
class PodScraper:
    """Asks pods directly. One per process: it remembers what each pod showed last."""

    presets: Mapping[str, SignalPreset]
    bounds: Bounds = field(default_factory=Bounds)
    _states: dict[tuple[str, str, str, float], _WorkloadState] = field(default_factory=dict)

    async def measure(self, wants: Sequence[Want], now: datetime) -> Sequence[Measured]:
        keys = [(*want.workload, want.signal.preset, want.signal.window_seconds) for want in wants]
        self._states = {key: state for key, state in self._states.items() if key in set(keys)}
        async with self._session() as session:
            free = asyncio.Semaphore(_CONNECTIONS)
            return await asyncio.gather(
                *(
                    self._measure_one(session, free, key, want, now)
                    for key, want in zip(keys, wants, strict=True)
                )
            )

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with open_session(self.bounds, connections=_CONNECTIONS) as session:
            yield session

    async def _measure_one(
        self,
        session: aiohttp.ClientSession,
        free: asyncio.Semaphore,
        key: tuple[str, str, str, float],
        want: Want,
        now: datetime,
    ) -> Measured:
        preset = self.presets.get(want.signal.preset)
        if preset is None or preset.kind != "pods":
            return Measured(problem=_refuse(want.signal.preset, preset))
        state = self._states.setdefault(key, _WorkloadState(Timeline(want.signal.window_seconds)))

        async def ask(pod: PodRef) -> dict[str, float] | NoAnswer:
            try:
                async with free:
                    page = await fetch_text(session, build_page_url(pod, preset), self.bounds)
                return _read_page(page, preset, now)
            except NoAnswer as problem:
                return problem

        answers = await asyncio.gather(*(ask(pod) for pod in want.pods))
        return _take(state, want, preset, answers, now)


def _take(
    state: _WorkloadState,
    want: Want,
    preset: SignalPreset,
    answers: Sequence[dict[str, float] | NoAnswer],
    now: datetime,
) -> Measured:
    """What one look at all pods of a workload says, kept in its state."""
    problem = "" if want.pods else "no pod of the workload runs that could be asked"
    is_partial = False
    increases: dict[str, float] = {}
    samples = []
    for pod, answer in zip(want.pods, answers, strict=True):
        held = state.pods.setdefault(pod.uid, _PodState())
        if isinstance(answer, NoAnswer):
            held.misses += 1
            held.window = None
            if pod.is_ready and pod.age_seconds(now) >= YOUNG_SECONDS:
                is_partial = True
                if held.misses >= _MISSES or held.seen_at is None:
                    problem = problem or f"pod {pod.name}: {answer}"
            continue
        seen_at = held.seen_at
        grown, restarted = _grow(state, held, pod, preset, answer, now)
        if seen_at is not None and state.last_look_at is not None and seen_at < state.last_look_at:
            # it was silent for a while: what it did meanwhile was not all done just now
            state.timeline.backdate(seen_at.timestamp(), now.timestamp(), grown)
        else:
            for name, amount in grown.items():
                increases[name] = increases.get(name, 0.0) + amount
        sample = _watch_engine(held, pod, preset, grown, answer, now, restarted=restarted)
        samples += [sample] if sample and want.is_learning else []
    there = {pod.uid for pod in want.pods}
    state.pods = {uid: held for uid, held in state.pods.items() if uid in there}
    state.timeline.advance(now.timestamp(), increases)
    state.looks += 1
    state.first_look_at = state.first_look_at or now
    state.last_look_at = now
    if not problem and is_partial and state.last is not None:
        return Measured(state.last.figures, samples=tuple(samples))
    if problem or not _is_enough(state):
        return Measured(problem=problem, is_waiting=not problem, samples=tuple(samples))
    state.last = Measured(combine_terms(preset, state.timeline.rates(), {}), samples=tuple(samples))
    return state.last


def _grow(  # noqa: PLR0917 - one look at one pod
    state: _WorkloadState,
    held: _PodState,
    pod: PodRef,
    preset: SignalPreset,
    values: dict[str, float],
    now: datetime,
) -> tuple[dict[str, float], bool]:
    """What the pod adds to its workload, and whether it restarted since it was seen last."""
    grown, restarted = find_increases(preset.terms(), held.raw, values)
    if held.seen_at is None:
        first = state.first_look_at
        is_born_since = first is not None and pod.created_at is not None and pod.created_at >= first
        grown = grown if is_born_since else dict.fromkeys(grown, 0.0)
    held.raw, held.seen_at, held.misses = values, now, 0
    return grown, restarted


def _is_enough(state: _WorkloadState) -> bool:
    """Whether enough of the window was seen for a rate to be believed."""
    needed_seconds = _LEAST_SHARE * state.timeline.window_seconds
    return state.looks >= _LEAST_LOOKS and state.timeline.span_seconds >= needed_seconds


def _watch_engine(  # noqa: PLR0917 - one look at one pod
    held: _PodState,
    pod: PodRef,
    preset: SignalPreset,
    grown: Mapping[str, float],
    values: Mapping[str, float],
    now: datetime,
    *,
    restarted: bool,
) -> EngineSample | None:
    """The sample of the pod's window when that ends now; a new one begins then, and after a restart."""
    if not preset.has_learning:
        return None
    window = held.window
    if window is None or restarted:
        held.window = _EngineWindow(now, pod.age_seconds(now) >= WARM_SECONDS and not restarted)
        return None
    for name, amount in grown.items():
        window.grown[name] = window.grown.get(name, 0.0) + amount
    window.levels.append({term.name: values[term.name] for term in preset.terms() if term.name in values})
    span_seconds = (now - window.start_at).total_seconds()
    if span_seconds < LEARNING_WINDOW_SECONDS:
        return None
    held.window = _EngineWindow(now, pod.age_seconds(now) >= WARM_SECONDS)
    rates = {name: amount / span_seconds for name, amount in window.grown.items()}
    return make_sample(
        pod, combine_terms(preset, rates, _mean_levels(preset, window.levels)), now, is_warm=window.is_warm
    )


def _mean_levels(preset: SignalPreset, looks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found = {}
    for term in preset.terms():
        values = [look[term.name] for look in looks if term.name in look]
        if term.kind in ("gauge", "labels") and values:
            found[term.name] = sum(values) / len(values)
    return found


def _read_page(page: str, preset: SignalPreset, now: datetime) -> dict[str, float]:
    terms = preset.terms()
    values = read_terms(page, terms, now)
    for term in terms:
        if term.name.startswith(("requests.", "stock.")) and term.name not in values:
            raise NoAnswer(f"its page has no {' or '.join(term.metric)}; is {preset.name} the right preset?")
    return values


def build_page_url(pod: PodRef, preset: SignalPreset) -> str:
    """Where a pod's page is. Raises NoAnswer for an address that is never asked."""
    try:
        address = ipaddress.ip_address(pod.address)
    except ValueError:
        raise NoAnswer("its address is none") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        raise NoAnswer("its address is never asked")
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"http://{host}:{pod.port}{preset.path}"


def _refuse(name: str, preset: SignalPreset | None) -> str:
    if preset is not None:
        return f"preset {name} is about a proxy, not about pods: name a metric source of type prometheus"
    if name:
        return f"there is no preset {name}"
    return "no preset says which metrics to read: give demand.signal.preset or signals.preset"
