"""The terms of a preset in a page of metrics (Prometheus text format)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.catalog.signal_presets import Term
from switchyard.engine.signals import STALE_SECONDS

_SUFFIXES = ("_total", "_sum", "_count")


def read_samples(page: str, names: frozenset[str]) -> tuple[dict[str, list[Sample]], frozenset[str]]:
    """The samples of the named metrics, and the names of all families that the page declares.

    Only their lines are parsed: a page is mostly histogram buckets that nobody asked for. Raises NoAnswer.
    """
    families, lines = set(), []
    for line in page.splitlines():
        if line.startswith("#"):
            words = line.split(maxsplit=3)
            if len(words) > 2 and words[1] == "TYPE":
                families.add(words[2])
        elif line.partition("{")[0].partition(" ")[0] in names:
            lines.append(line)
    found: dict[str, list[Sample]] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample)
    except (ValueError, IndexError, KeyError) as error:
        raise NoAnswer("a page that is not in the Prometheus text format") from error
    return found, frozenset(families)


def read_terms(page: str, terms: Sequence[Term], now: datetime) -> dict[str, float]:
    """The value of each term that the page has. Raises NoAnswer for a page that can't be trusted.

    A family that is declared without a sample had no event yet: its counters are 0. One that is not there
    is absent from the result.
    """
    samples, families = read_samples(page, frozenset(name for term in terms for name in term.metric))
    values = {}
    for term in terms:
        value = next(
            (
                found
                for name in term.metric
                if (found := _value(term, name, samples, families, now)) is not None
            ),
            None,
        )
        if value is not None:
            values[term.name] = value
    return values


def _value(
    term: Term,
    name: str,
    samples: Mapping[str, Sequence[Sample]],
    families: frozenset[str],
    now: datetime,
) -> float | None:
    there = samples.get(name)
    if there is None:
        is_declared = name in families or any(
            name.endswith(suffix) and name.removesuffix(suffix) in families for suffix in _SUFFIXES
        )
        return 0.0 if is_declared and term.kind != "labels" else None
    matching = [
        sample
        for sample in there
        if all(sample.labels.get(label) in values for label, values in term.match.items())
    ]
    _judge(name, matching, now)
    if term.kind == "labels":
        return read_label_product(term, [sample.labels for sample in matching])
    return math.fsum(sample.value for sample in matching)


def read_label_product(term: Term, found: Sequence[Mapping[str, str]]) -> float | None:
    """The product of the numbers in the term's labels, of the first series that has them all."""
    for labels in found:
        try:
            product = math.prod(float(labels[label]) for label in term.labels)
        except (KeyError, ValueError):
            continue
        if math.isfinite(product):
            return product
    return None


def _judge(name: str, samples: Sequence[Sample], now: datetime) -> None:
    for sample in samples:
        if not math.isfinite(sample.value):
            raise NoAnswer(f"{name} is {sample.value}")
        if sample.timestamp is not None and now.timestamp() - float(sample.timestamp) > STALE_SECONDS:
            raise NoAnswer(f"{name} is older than {STALE_SECONDS:.0f} s")
