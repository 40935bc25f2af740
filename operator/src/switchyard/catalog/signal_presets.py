"""The metrics by which engines and proxies tell what they serve, as loaded from their data file.

A preset comes apart into terms: each is one number that a page of metrics or a query gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from switchyard.catalog.loading import CatalogError

TermKind = Literal["counter", "stock", "gauge", "labels"]
FIGURES = ("requests", "inputTokens", "outputTokens", "interToken", "ttft", "running", "kvTokens")
_RATIOS = ("input_tokens", "output_tokens", "inter_token", "ttft")

_MetricText = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*( \| [a-zA-Z_:][a-zA-Z0-9_:]*)*$")]
_Label = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]


@dataclass(frozen=True, slots=True)
class Term:
    """One number. `metric`: names of which the first that is there counts; `match`: label -> values.

    counter: only grows; stock: a level whose growth counts; gauge: a level; labels: the product of the
    numbers in the named labels of an info metric.
    """

    name: str
    kind: TermKind
    metric: tuple[str, ...]
    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )


class Requests(_Part):
    counters: Annotated[tuple[_MetricText, ...], Field(min_length=1)]
    stock: tuple[_MetricText, ...] = ()
    match: Mapping[_Label, tuple[str, ...]] = Field(default_factory=dict)


class Ratio(_Part):
    sum: _MetricText
    count: _MetricText
    scale: Annotated[float, Field(gt=0)] = 1.0


class InfoLabels(_Part):
    metric: _MetricText
    labels: Annotated[tuple[_Label, ...], Field(min_length=1)]


class CacheLevel(_Part):
    gauge: _MetricText
    times_gauge: _MetricText | None = None
    times_labels: InfoLabels | None = None


class Failures(_Part):
    """How failed answers are told from others: by counters of their own, by how a label begins, or both.

    `is_made_late`: the counters are not there before the first failure.
    """

    counters: tuple[_MetricText, ...] = ()
    match: Mapping[_Label, tuple[str, ...]] = Field(default_factory=dict)
    label: _Label | None = None
    begins: tuple[str, ...] = ()
    is_made_late: bool = False

    @model_validator(mode="after")
    def _judge(self) -> Failures:
        if bool(self.label) != bool(self.begins) or not (self.counters or self.label):
            raise ValueError("give counters, or label and begins")
        return self

    def holds(self, labels: Mapping[str, str]) -> bool:
        """True for the series of an answer that failed, by its label."""
        return self.label is not None and labels.get(self.label, "").startswith(self.begins)


class Answers(_Part):
    """What became of requests that ended: counters of answers, and histograms of the good ones in seconds.

    `counters`: good answers, and failed ones where a label tells which they are. `scale`: seconds in the unit
    of the histograms' edges.
    """

    counters: Annotated[tuple[_MetricText, ...], Field(min_length=1)]
    match: Mapping[_Label, tuple[str, ...]] = Field(default_factory=dict)
    failures: Failures
    latency: _MetricText | None = None
    ttft: _MetricText | None = None
    tpot: _MetricText | None = None
    scale: Annotated[float, Field(gt=0)] = 1.0

    def find_histogram(self, metric: str) -> tuple[str, ...]:
        """The names of the histogram that tells it, of which the first that is there counts; or none."""
        text: str | None = getattr(self, metric)
        return _names(text) if text else ()


class ServiceLabels(_Part):
    """How a proxy's series name what they are about: a Service by two labels, or a route by one."""

    namespace: _Label | None = None
    name: _Label | None = None
    route: _Label | None = None

    @model_validator(mode="after")
    def _judge(self) -> ServiceLabels:
        if (self.route is None) == (self.namespace is None or self.name is None):
            raise ValueError("give namespace and name, or route")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels to group by."""
        return tuple(each for each in (self.namespace, self.name, self.route) if each)


class SignalPreset(_Part):
    """What one engine or proxy tells. Figures that it does not tell are None."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    title: str
    kind: Literal["pods", "service"]
    path: Annotated[str, Field(pattern=r"^/[a-z/]+$")] = "/metrics"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    requests: Requests
    input_tokens: Ratio | None = None
    output_tokens: Ratio | None = None
    inter_token: Ratio | None = None
    ttft: Ratio | None = None
    running: _MetricText | None = None
    kv_tokens: CacheLevel | None = None
    answers: Answers | None = None
    service: tuple[ServiceLabels, ...] = ()
    track: ServiceLabels | None = None  # how a proxy's series name the Deployment that answered
    notes: str = ""
    sources: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _judge(self) -> SignalPreset:
        if (self.kind == "service") != bool(self.service):
            raise ValueError(f"{self.name}: labels of the service go with kind service, and with no other")
        return self

    @property
    def has_learning(self) -> bool:
        """Whether it tells enough of the engine to learn a profile from."""
        return self.running is not None and self.inter_token is not None

    def terms(self) -> tuple[Term, ...]:
        """All numbers that the figures are made of."""
        return tuple(self._terms())

    def _terms(self) -> Iterator[Term]:
        asked = self.requests
        for number, text in enumerate(asked.counters):
            yield Term(f"requests.{number}", "counter", _names(text), asked.match)
        for number, text in enumerate(asked.stock):
            yield Term(f"stock.{number}", "stock", _names(text))
        for name in _RATIOS:
            ratio: Ratio | None = getattr(self, name)
            if ratio is not None:
                yield Term(f"{name}.sum", "counter", _names(ratio.sum))
                yield Term(f"{name}.count", "counter", _names(ratio.count))
        if self.running is not None:
            yield Term("running", "gauge", _names(self.running))
        if self.kv_tokens is not None:
            yield Term("kv_tokens", "gauge", _names(self.kv_tokens.gauge))
            if self.kv_tokens.times_gauge is not None:
                yield Term("kv_tokens.times", "gauge", _names(self.kv_tokens.times_gauge))
            if self.kv_tokens.times_labels is not None:
                info = self.kv_tokens.times_labels
                yield Term("kv_tokens.times", "labels", _names(info.metric), labels=info.labels)


class _SourceData(_Part):
    title: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]


class _File(_Part):
    as_of: date
    sources: dict[str, _SourceData]
    presets: tuple[SignalPreset, ...]

    @model_validator(mode="after")
    def _judge(self) -> _File:
        for preset in self.presets:
            missing = [each for each in preset.sources if each not in self.sources]
            if missing:
                raise ValueError(f"{preset.name}: sources lists no {', '.join(missing)}")
        names = [preset.name for preset in self.presets]
        if len(set(names)) < len(names):
            raise ValueError("a preset is there twice")
        return self


@cache
def load_signal_presets() -> Mapping[str, SignalPreset]:
    """The presets that ship with the package, by name. Loaded once."""
    return {preset.name: preset for preset in _load().presets}


@cache
def _load() -> _File:
    text = (resources.files("switchyard.catalog") / "data" / "signals" / "presets.yaml").read_text("utf-8")
    return read_signal_presets(text)


def read_signal_presets(text: str) -> _File:
    """The presets in a data file. Raises CatalogError."""
    try:
        return _File.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise CatalogError(f"signals/presets.yaml: {error}") from error


def render_preset_page() -> str:
    """The reference page in Markdown: what each preset tells, by which metrics, and who says their names."""
    file = _load()
    lines = [
        "# Signal presets",
        "",
        f"Which metrics tell what, as of {file.as_of.isoformat()}. Where two names are given, the first that",
        "is there counts: versions differ. How they are asked: [Demand and signals](../signals.md).",
        "",
        "| preset | asked | figure | metrics |",
        "|---|---|---|---|",
    ]
    for preset in file.presets:
        port = f" on port {preset.port}" if preset.port else ""
        asked = f"the pods, `{preset.path}`{port}, or Prometheus" if preset.kind == "pods" else "Prometheus"
        first = (f"`{preset.name}`", asked)
        for figure, metrics in _describe(preset):
            lines.append(f"| {first[0]} | {first[1]} | {figure} | {metrics} |")
            first = ("", "")
    lines += ["", "| preset | names taken from | remarks |", "|---|---|---|"]
    for preset in file.presets:
        read = "; ".join(f"{file.sources[key].title} ({file.sources[key].version})" for key in preset.sources)
        lines.append(f"| `{preset.name}` | {read} | {preset.notes.strip()} |")
    return "\n".join(lines) + "\n"


def _describe(preset: SignalPreset) -> Iterator[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for term in preset.terms():
        figure = term.name.partition(".")[0]
        names = " or ".join(f"`{name}`" for name in term.metric)
        found.setdefault("requests" if figure == "stock" else figure, []).append(names)
    for figure, metrics in found.items():
        yield figure.replace("_", " "), ", ".join(dict.fromkeys(metrics))
    yield from _describe_answers(preset)


def _describe_answers(preset: SignalPreset) -> Iterator[tuple[str, str]]:
    """What the gates of a cutover count by."""
    answers = preset.answers
    if answers is None:
        return
    yield "answers", ", ".join(map(_quote, answers.counters))
    failures = answers.failures
    parts = [_quote(each) for each in failures.counters]
    parts += [f"`{failures.label}` {' or '.join(failures.begins)}…"] if failures.label else []
    parts += [f"`{label}` {' or '.join(values)}" for label, values in failures.match.items()]
    yield "failures", ", ".join(parts)
    for metric in ("latency", "ttft", "tpot"):
        if names := answers.find_histogram(metric):
            yield f"{metric} of answers", " or ".join(f"`{name}_bucket`" for name in names)


def _quote(text: str) -> str:
    return " or ".join(f"`{name}`" for name in _names(text))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(" | "))
