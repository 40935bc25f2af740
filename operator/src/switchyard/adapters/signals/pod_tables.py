"""The terms of a preset for many pods at once, each by one query."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.adapters.signals.exposition import read_label_product
from switchyard.adapters.signals.instant_query import Asker, Series
from switchyard.catalog.signal_presets import Term
from switchyard.engine.query_templates import format_window, judge_name, select_series
from switchyard.engine.signals import Want

_NAMESPACES_PER_QUERY = 50

PodKey = tuple[str, str]  # namespace, pod
Table = dict[PodKey, float]


@dataclass(frozen=True, slots=True)
class PodTables:
    """Term -> pod -> value; when each pod was last sampled (Unix seconds); restarts in the window."""

    values: Mapping[str, Mapping[PodKey, float]]
    seen_at: Mapping[PodKey, float]
    resets: Mapping[PodKey, float] = field(default_factory=dict)


async def ask_pods(
    asker: Asker,
    terms: Sequence[Term],
    wants: Sequence[Want],
    window_seconds: float,
    *,
    with_resets: bool = False,
) -> PodTables:
    """The terms for the pods of all these workloads. Raises NoAnswer, naming the query."""
    counter = next(term for term in terms if term.name.startswith("requests."))
    wanted = {(want.workload[0], pod.name) for want in wants for pod in want.pods}
    namespaces = sorted({judge_name(want.workload[0]) for want in wants})
    window = format_window(window_seconds)

    async def table(what: str, term: Term, form: str, extra_labels: Sequence[str] = ()) -> Table:
        try:
            return await _ask_term(asker, term, form, namespaces, wanted, extra_labels)
        except NoAnswer as problem:
            raise NoAnswer(f"the query for {what} failed: {problem}") from problem

    forms = {
        "counter": f"rate({{}}[{window}])",
        "stock": f"delta({{}}[{window}]) / {window[:-1]}",
        "gauge": f"avg_over_time({{}}[{window}])",
        "labels": "{}",
    }
    jobs = [table(term.name, term, forms[term.kind], term.labels) for term in terms]
    jobs.append(table("the age of samples", counter, "timestamp({})"))
    if with_resets:
        jobs.append(table("restarts", counter, f"resets({{}}[{window}])"))
    found = await asyncio.gather(*jobs)
    names = [term.name for term in terms]
    return PodTables(
        dict(zip(names, found, strict=False)),
        found[len(names)],
        found[len(names) + 1] if with_resets else {},
    )


async def _ask_term(  # noqa: PLR0917 - `table` of ask_pods, called by it alone
    asker: Asker,
    term: Term,
    form: str,
    namespaces: Sequence[str],
    wanted: set[PodKey],
    extra_labels: Sequence[str],
) -> Table:
    """The first of the term's metrics that a pod has counts for it; the next is asked for the others."""
    found: Table = {}
    combine = "max" if extra_labels or form.startswith("timestamp") else "sum"
    grouped = ", ".join(("namespace", "pod", *extra_labels))
    for metric in term.metric:
        for start in range(0, len(namespaces), _NAMESPACES_PER_QUERY):
            part = namespaces[start : start + _NAMESPACES_PER_QUERY]
            selector = select_series(metric, {"namespace": part, **term.match})
            query = f"{combine} by ({grouped}) ({form.replace('{}', selector, 1)})"
            for key, value in _read_rows(term, await asker.ask(query)):
                found.setdefault(key, value)
        if wanted <= found.keys():
            break
    return found


def _read_rows(term: Term, rows: Sequence[Series]) -> list[tuple[PodKey, float]]:
    read = []
    for row in rows:
        key = (row.labels.get("namespace", ""), row.labels.get("pod", ""))
        value = read_label_product(term, [row.labels]) if term.kind == "labels" else row.value
        if all(key) and value is not None:
            read.append((key, value))
    return read
