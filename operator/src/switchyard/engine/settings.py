"""What an admin sets for the operator, once, in a file: parsed and judged before anything starts.

Objects of users name a metric source, never an address: the addresses stand here, where only admins write.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from switchyard.api import Duration

# Whoever controls what answers here controls credentials of the machine (cloud metadata services).
_FORBIDDEN_HOSTS = frozenset({"metadata", "metadata.google.internal", "instance-data"})
_OWN_CREDENTIALS = "/var/run/secrets/kubernetes.io/"


class SettingsError(ValueError):
    """One line per problem: field, value, way out."""


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class MetricSource(_Section):
    """A place where measurements can be asked for. This release checks that it answers, and no more."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    type: Literal["prometheus"] = "prometheus"
    url: str
    token_file: str | None = None

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


class OperatorSettings(_Section):
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    price_max_age_days: Annotated[int, Field(ge=1, le=3650)] = 90
    resync: Duration = Duration("60s")
    concurrency: Annotated[int, Field(ge=1, le=256)] = 16
    metric_sources: Annotated[tuple[MetricSource, ...], Field(max_length=32)] = ()

    @field_validator("resync")
    @classmethod
    def _judge_resync(cls, resync: Duration) -> Duration:
        if not 5 <= resync.seconds <= 3600:
            raise ValueError("give 5s to 1h")
        return resync

    @field_validator("metric_sources")
    @classmethod
    def _judge_names(cls, sources: tuple[MetricSource, ...]) -> tuple[MetricSource, ...]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each source needs a name of its own; given twice: {', '.join(twice)}")
        return sources


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
        known = ", ".join(to_camel(name) for name in OperatorSettings.model_fields)
        return f"{path}: no such setting; at the top there are {known}"
    if problem["type"] == "missing":
        return f"{path}: must be given"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{path}: {problem['input']!r}: {message}"


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False
