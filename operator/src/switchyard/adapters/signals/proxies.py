"""Demand as the proxies before a workload count it, from Prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.adapters.signals.instant_query import Asker, Series, is_usable
from switchyard.catalog.signal_presets import ServiceLabels, SignalPreset, Term
from switchyard.engine.query_templates import escape_pattern, format_window, judge_name, select_series
from switchyard.engine.signals import STALE_SECONDS, Figures, Measured, Want, WorkloadKey

# how Envoy Gateway names the cluster of a route's rule
_ROUTE = re.compile(r"httproute/([^/]+)/([^/]+)/rule/\d+")
_NAMES_PER_QUERY = 100


async def measure_services(asker: Asker, preset: SignalPreset, wants: Sequence[Want]) -> list[Measured]:
    """The demand of each workload, by its Service or route. Raises NoAnswer, naming the query."""
    rates: dict[WorkloadKey, float] = {}
    seen_at: dict[WorkloadKey, float] = {}
    (term,) = preset.terms()
    window = format_window(wants[0].signal.window_seconds)
    for identity in preset.service:
        left = [want.workload for want in wants if want.workload not in seen_at]
        for start in range(0, len(left), _NAMES_PER_QUERY):
            part = left[start : start + _NAMES_PER_QUERY]
            grouped = ", ".join(identity.labels)
            selector = _select(term, identity, part)
            ages = await _ask(asker, "the age of samples", f"max by ({grouped}) (timestamp({selector}))")
            grown = await _ask(asker, "requests.0", f"sum by ({grouped}) (rate({selector}[{window}]))")
            for row in ages:
                key = _identify(identity, row.labels)
                seen_at[key] = max(seen_at.get(key, 0.0), row.value)
            for row in grown:
                key = _identify(identity, row.labels)
                rates[key] = rates.get(key, 0.0) + row.value
    return [_read(term, want, rates, seen_at, asker) for want in wants]


async def _ask(asker: Asker, what: str, query: str) -> list[Series]:
    try:
        return await asker.ask(query)
    except NoAnswer as problem:
        raise NoAnswer(f"the query for {what} failed: {problem}") from problem


def _read(
    term: Term,
    want: Want,
    rates: Mapping[WorkloadKey, float],
    seen_at: Mapping[WorkloadKey, float],
    asker: Asker,
) -> Measured:
    name = "/".join(want.workload)
    at_seconds = seen_at.get(want.workload)
    if at_seconds is None or asker.now.timestamp() - at_seconds > STALE_SECONDS:
        return Measured(problem=f"no {term.metric[0]} of {name} within {STALE_SECONDS:.0f} s")
    rate = rates.get(want.workload)
    if rate is None:
        return Measured(problem=f"no rate of {term.metric[0]} of {name} over the window yet")
    if not is_usable(rate):
        return Measured(problem=f"the query for requests of {name} gives {rate}")
    return Measured(Figures(requests_per_second=rate))


def _select(term: Term, identity: ServiceLabels, workloads: Sequence[WorkloadKey]) -> str:
    for namespace, name in workloads:
        judge_name(namespace)
        judge_name(name)
    if identity.route is not None:
        routes = "|".join(
            f"{escape_pattern(namespace)}/{escape_pattern(name)}" for namespace, name in workloads
        )
        return select_series(
            term.metric[0], term.match, {identity.route: f"httproute/({routes})/rule/[0-9]+"}
        )
    match = {
        str(identity.namespace): sorted({namespace for namespace, _ in workloads}),
        str(identity.name): sorted({name for _, name in workloads}),
    }
    return select_series(term.metric[0], {**match, **term.match})


def _identify(identity: ServiceLabels, labels: Mapping[str, str]) -> WorkloadKey:
    if identity.route is not None:
        found = _ROUTE.fullmatch(labels.get(identity.route, ""))
        return (found[1], found[2]) if found else ("", "")
    return (labels.get(str(identity.namespace), ""), labels.get(str(identity.name), ""))
