"""What an admin sets for the operator, once, in a file: parsed and judged before anything starts.

Objects of users name a metric source, never an address: the addresses stand here, where only admins write.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from switchyard.api import Duration, Quantity
from switchyard.core.routing.router_objects import RouterForm
from switchyard.engine.query_templates import judge_template

# Whoever controls what answers here controls credentials of the machine (cloud metadata services).
_FORBIDDEN_HOSTS = frozenset({"metadata", "metadata.google.internal", "instance-data"})
_OWN_CREDENTIALS = "/var/run/secrets/kubernetes.io/"


_Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class SettingsError(ValueError):
    """One line per problem: field, value, way out."""


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class MetricSource(_Section):
    """A place where measurements can be asked for.

    prometheus: a server that answers queries. opencost: OpenCost itself, whose /metrics tells prices.
    """

    name: _Name
    type: Literal["prometheus", "opencost"] = "prometheus"
    url: str
    token_file: str | None = None
    interval: Duration | None = None  # between two looks; default: signalInterval, 5m for opencost

    @field_validator("interval")
    @classmethod
    def _judge_interval(cls, interval: Duration | None) -> Duration | None:
        return None if interval is None else _judge_pause(interval)

    @field_validator("url")
    @classmethod
    def _judge_url(cls, url: str) -> str:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("give a URL like https://prometheus.monitoring:9090")
        if parts.username or parts.password:
            raise ValueError("credentials don't belong into a URL; name a file with the token as tokenFile")
        if parts.query or parts.fragment:
            raise ValueError("give the base URL, without ? and #")
        if host in _FORBIDDEN_HOSTS or _is_link_local(host):
            raise ValueError(
                "link-local and metadata addresses are never asked; give the server's own address"
            )
        return url.rstrip("/")

    @field_validator("token_file")
    @classmethod
    def _judge_token_file(cls, path: str | None) -> str | None:
        if path is not None and path.startswith(_OWN_CREDENTIALS):
            raise ValueError(
                "the operator's own token is never sent; mount one that is meant for this source"
            )
        return path


class MetricTemplate(_Section):
    """A query that workloads may name as their demand's signal; admins write it, tenants only name it."""

    name: _Name
    query: Annotated[str, Field(min_length=1, max_length=2000)]
    unit: Literal["requestsPerSecond", "requestsPerMinute"] = "requestsPerSecond"

    @field_validator("query")
    @classmethod
    def _judge_query(cls, query: str) -> str:
        judge_template(query)
        return query


class Prices(_Section):
    """Where prices of devices come from, when not from the pools themselves."""

    source: _Name


class RouterResources(_Section):
    """What a router pod asks for and may take, as in a container: quantities by resource."""

    requests: Annotated[Mapping[str, Quantity], Field(max_length=8)] = {
        "cpu": Quantity("250m"),
        "memory": Quantity("256Mi"),
    }
    limits: Annotated[Mapping[str, Quantity], Field(max_length=8)] = {"memory": Quantity("1Gi")}


class Routers(_Section):
    """How the pods are made that carry a workload's traffic while it is cut over."""

    image: Annotated[str, Field(max_length=512, pattern=r"^\S*$")] = ""  # that of the operator
    replicas: Annotated[int, Field(ge=1, le=32)] = 2
    workers: Annotated[int, Field(ge=0, le=64)] = 1  # processes per pod, 0 for one per CPU
    resources: RouterResources = RouterResources()
    drain_delay: Duration = Duration("10s")  # how long a pod that ends still takes connections
    grace: Duration = Duration("5m")  # how long requests under way may take then, that delay included

    @model_validator(mode="after")
    def _judge_end(self) -> Self:
        if not self.drain_delay.seconds < self.grace.seconds <= 3600:
            raise ValueError(f"grace: give more than drainDelay ({self.drain_delay}) and at most 1h")
        return self

    def build_form(self) -> RouterForm:
        """The form of router pods."""
        return RouterForm(
            image=self.image,
            replicas=self.replicas,
            workers=self.workers,
            resources={
                "requests": dict(self.resources.requests),
                "limits": dict(self.resources.limits),
            },
            drain_delay_seconds=self.drain_delay.seconds,
            grace_seconds=self.grace.seconds,
        )


class OperatorSettings(_Section):
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    price_max_age_days: Annotated[int, Field(ge=1, le=3650)] = 90
    resync: Duration = Duration("60s")
    concurrency: Annotated[int, Field(ge=1, le=256)] = 16
    metric_sources: Annotated[tuple[MetricSource, ...], Field(max_length=32)] = ()
    metric_templates: Annotated[tuple[MetricTemplate, ...], Field(max_length=64)] = ()
    signal_interval: Duration = Duration("15s")
    advice_interval: Duration = Duration("30s")
    prices: Prices | None = None
    router: Routers = Routers()

    @field_validator("resync", "advice_interval")
    @classmethod
    def _judge_resync(cls, resync: Duration) -> Duration:
        if not 5 <= resync.seconds <= 3600:
            raise ValueError("give 5s to 1h")
        return resync

    @field_validator("signal_interval")
    @classmethod
    def _judge_signal_interval(cls, interval: Duration) -> Duration:
        return _judge_pause(interval)

    @field_validator("metric_sources")
    @classmethod
    def _judge_names(cls, sources: tuple[MetricSource, ...]) -> tuple[MetricSource, ...]:
        _judge_unique("source", [source.name for source in sources])
        return sources

    @field_validator("metric_templates")
    @classmethod
    def _judge_template_names(cls, templates: tuple[MetricTemplate, ...]) -> tuple[MetricTemplate, ...]:
        _judge_unique("template", [template.name for template in templates])
        return templates

    @field_validator("prices")
    @classmethod
    def _judge_price_source(cls, prices: Prices | None, info: ValidationInfo) -> Prices | None:
        names = [source.name for source in info.data.get("metric_sources", ())]
        # with unusable sources there is a message already, and no list to compare with
        if prices is not None and "metric_sources" in info.data and prices.source not in names:
            known = ", ".join(names) or "none"
            raise ValueError(f"metricSources has no {prices.source}; there are: {known}")
        return prices


def parse_settings(document: Any) -> OperatorSettings:
    """The settings in a parsed YAML document; an empty one gives the defaults. Raises SettingsError."""
    if document is None:
        return OperatorSettings()
    if not isinstance(document, Mapping):
        raise SettingsError("the settings file must hold a mapping of settings, like `currency: EUR`")
    try:
        return OperatorSettings.model_validate(dict(document))
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: Any) -> str:
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in problem["loc"]).lstrip(".")
    if problem["type"] == "extra_forbidden":
        if len(problem["loc"]) > 1:
            return f"{path}: no such setting"
        known = ", ".join(to_camel(name) for name in OperatorSettings.model_fields)
        return f"{path}: no such setting; at the top there are {known}"
    if problem["type"] == "missing":
        return f"{path}: must be given"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{path}: {problem['input']!r}: {message}"


def _judge_pause(interval: Duration) -> Duration:
    if not 1 <= interval.seconds <= 600:
        raise ValueError("give 1s to 10m")
    return interval


def _judge_unique(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"each {what} needs a name of its own; given twice: {', '.join(twice)}")


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False
