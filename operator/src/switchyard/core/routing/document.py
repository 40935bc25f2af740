"""The routing document: what a router does with requests, as the operator writes it and the router reads it.

One document is one version; it is applied whole or not at all. Field names are those of its JSON form.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from switchyard.core.errors import RoutingDocumentError

BASELINE: Final = "baseline"
CANDIDATE: Final = "candidate"
TIER_HEADER = "x-switchyard-tier"
DEFAULT_SEGMENT = "default"

Percent = Annotated[float, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
HeaderName = Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, Field(max_length=1024, pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$")]
PathPrefix = Annotated[str, Field(max_length=1024, pattern=r"^/[^?#\s]*$")]
Method = Annotated[str, Field(max_length=32, pattern=r"^[A-Z]+$")]

Edges = Annotated[tuple[Seconds, ...], Field(min_length=1, max_length=64)]
# eight to a decade: each edge is a third above the one before
DEFAULT_EDGES = tuple(round(0.001 * 10 ** (step / 8), 6) for step in range(46))  # 1 ms to 420 s
DEFAULT_TOKEN_EDGES = tuple(round(0.0002 * 10 ** (step / 8), 7) for step in range(40))  # 0.2 ms to 15 s

# RFC 9110 section 9.2.2: repeating these has the effect of one; POST counts here too, since inference is
# asked by POST and changes nothing. What must not be asked twice goes into `exclude`.
REPEATABLE_METHODS = ("GET", "HEAD", "POST", "OPTIONS")


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )


class Arm(_Part):
    """One of the two backends."""

    url: Annotated[str, Field(max_length=2048)]
    """`http://host:port`, nothing more."""

    @field_validator("url")
    @classmethod
    def _judge_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018  (reading it checks it)
        except ValueError:
            raise ValueError("give http://host:port") from None
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("give http://host:port")
        if parts.query or parts.fragment or parts.username:
            raise ValueError("give http://host:port and nothing more")
        return f"http://{parts.netloc}"


class Arms(_Part):
    """The backends."""

    baseline: Arm
    """Where the service is served now."""
    candidate: Arm | None = None
    """Where it may be served from; absent where nothing is tried."""


class Match(_Part):
    """What a request must have; everything stated must hold."""

    headers: Annotated[Mapping[HeaderName, HeaderValue], Field(max_length=16)] = {}
    """Header fields and the exact value that each must have. Names don't care about case."""
    path_prefix: PathPrefix | None = None
    """Path elements that the path begins with: `/v1` takes `/v1` and `/v1/x`, not `/v10`."""
    tier: Literal["customer-facing", "internal", "batch"] | None = None
    """The value of the header `x-switchyard-tier`."""

    @model_validator(mode="after")
    def _state_something(self) -> Self:
        if not self.headers and self.path_prefix is None and self.tier is None:
            raise ValueError("give headers, pathPrefix or tier; leave match out for all that is left")
        return self


class Stickiness(_Part):
    """What keeps a caller on one arm: the value of a header or of a cookie."""

    header: HeaderName | None = None
    """Name of the header field."""
    cookie: HeaderName | None = None
    """Name of the cookie."""

    @model_validator(mode="after")
    def _state_one(self) -> Self:
        if (self.header is None) == (self.cookie is None):
            raise ValueError("give exactly one of header and cookie")
        return self


class Segment(_Part):
    """A share of the traffic with a weight and a shadow of its own."""

    name: Name
    """Its name in measurements. One that goes on under the same name keeps its counts."""
    match: Match | None = None
    """Which requests it takes, of those that no segment before it took; absent for all."""
    candidate_percent: Percent = 0.0
    """Share of its requests that the candidate answers."""
    shadow_percent: Percent = 0.0
    """Share of the requests that the baseline answers of which the candidate gets a copy."""
    sticky: Stickiness | None = None
    """What keeps a caller on one arm. Absent, or not in a request: its id decides."""


class Exclusion(_Part):
    """Requests that are never sent twice; everything stated must hold."""

    method: Method | None = None
    """The method of such requests."""
    path_prefix: PathPrefix | None = None
    """Path elements that the path of such requests begins with."""

    @model_validator(mode="after")
    def _state_something(self) -> Self:
        if self.method is None and self.path_prefix is None:
            raise ValueError("give method or pathPrefix")
        return self


class Shadow(_Part):
    """How copies are sent."""

    max_concurrency: Annotated[int, Field(ge=1, le=4096)] = 32
    """Copies under way at a time, in each worker."""
    queue: Annotated[int, Field(ge=0, le=65_536)] = 64
    """Copies that may wait for their turn, in each worker; more are dropped and counted."""
    max_body_bytes: Annotated[int, Field(ge=0, le=64 << 20)] = 1 << 20
    """A request with a longer body is not copied; of answers as much is kept to compare."""
    noise_percent: Percent = 5.0
    """Share of the copied requests that the baseline is asked a second time."""
    replay_percent: Percent = 10.0
    """In replay mode, share of the copies that the baseline is asked too, to compare with."""
    timeout_seconds: Seconds = 60.0
    """How long a copy may take."""
    methods: tuple[Method, ...] = REPEATABLE_METHODS
    """Methods that may be repeated."""
    exclude: Annotated[tuple[Exclusion, ...], Field(max_length=64)] = ()
    """Requests that must not be repeated."""


class Limits(_Part):
    """What a request and its connection may take; each worker has as many connections."""

    max_body_bytes: Annotated[int, Field(ge=0, le=16 << 30)] = 256 << 20
    """Of a request's body; a longer one is refused with 413."""
    max_head_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 64 << 10
    """Of a request's line and header fields; more is refused with 431."""
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Of callers, in each worker; more are refused with 503."""
    connect_timeout_seconds: Seconds = 5.0
    """How long a backend is tried before the answer is 503."""
    first_byte_timeout_seconds: Seconds = 300.0
    """How long a backend may say nothing before the answer is 504."""
    idle_timeout_seconds: Seconds = 300.0
    """How long nothing may move within a body, an answer or a WebSocket."""
    header_timeout_seconds: Seconds = 10.0
    """How long a request's head may take before it is refused with 408."""
    keep_alive_seconds: Seconds = 75.0
    """How long a caller's connection may be idle."""


class Strata(_Part):
    """Edges of the buckets into which samples are sorted by length, in tokens (or bytes where unknown)."""

    prompt_edges: Annotated[tuple[int, ...], Field(max_length=8)] = (256, 1024, 4096)
    """Upper edges for the prompt, in tokens."""
    output_edges: Annotated[tuple[int, ...], Field(max_length=8)] = (64, 256, 1024)
    """Upper edges for the answer, in tokens."""

    @field_validator("prompt_edges", "output_edges")
    @classmethod
    def _rise(cls, edges: tuple[int, ...]) -> tuple[int, ...]:
        if edges and (edges[0] <= 0 or any(later <= earlier for earlier, later in itertools.pairwise(edges))):
            raise ValueError("edges must be above 0 and rise")
        return edges


class Threshold(_Part):
    """A bound that divides good answers from slow ones; also an edge of the metric's histograms."""

    metric: Literal["latency", "ttft", "tpot"]
    """latency: to the end of the answer; ttft: to its first token; tpot: per further token."""
    seconds: Seconds
    """The longest that is good."""


class Measure(_Part):
    """What is told apart in the measurements. Edges in seconds; the last bucket has none."""

    latency_edges: Edges = DEFAULT_EDGES
    """Edges of the histogram of latency."""
    ttft_edges: Edges = DEFAULT_EDGES
    """Edges of the histogram of the time to the first token."""
    tpot_edges: Edges = DEFAULT_TOKEN_EDGES
    """Edges of the histogram of the time per token after the first."""
    thresholds: Annotated[tuple[Threshold, ...], Field(max_length=8)] = ()
    """Bounds by which pairs are told apart."""

    @field_validator("latency_edges", "ttft_edges", "tpot_edges")
    @classmethod
    def _rise(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in itertools.pairwise(edges)):
            raise ValueError("edges must rise")
        return edges

    def edges(self, metric: Literal["latency", "ttft", "tpot"]) -> tuple[float, ...]:
        """The edges of one metric with its thresholds among them."""
        plain: tuple[float, ...] = getattr(self, f"{metric}_edges")
        own = {each.seconds for each in self.thresholds if each.metric == metric}
        return tuple(sorted({*plain, *own}))


class Comparator(_Part):
    """How two answers are compared; options are those of the comparator's type."""

    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    """`exact`, `json`, `text`, `tokens`, `embedding` or `topk`."""
    options: Annotated[Mapping[str, Any], Field(max_length=16)] = {}
    """Options of that type."""


class RoutingDocument(_Part):
    """All that a router needs to know. The last segment takes what no other matched."""

    version: Annotated[int, Field(ge=0, le=2**53)]
    """Whose document wins: a router takes a higher one only."""
    workload: Annotated[str, Field(max_length=317)] = ""
    """`namespace/name`, for people."""
    arms: Arms
    """The two backends."""
    segments: Annotated[tuple[Segment, ...], Field(min_length=1, max_length=16)] = (
        Segment(name=DEFAULT_SEGMENT),
    )
    """In order; the last one has no match."""
    shadow: Shadow = Shadow()
    """How copies are sent."""
    limits: Limits = Limits()
    """What requests may take."""
    strata: Strata = Strata()
    """How samples are told apart by length."""
    measure: Measure = Measure()
    """How times are counted."""
    comparators: Annotated[tuple[Comparator, ...], Field(max_length=8)] = (Comparator(type="exact"),)
    """How answers are compared."""

    @model_validator(mode="after")
    def _hang_together(self) -> Self:
        names = [segment.name for segment in self.segments]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"segments: each needs a name of its own; given twice: {', '.join(twice)}")
        if self.segments[-1].match is not None:
            raise ValueError("segments: the last one must have no match, to take what no other took")
        for segment in self.segments[:-1]:
            if segment.match is None:
                raise ValueError(f"segments: {segment.name} has no match and hides those after it")
        if self.arms.candidate is None:
            for segment in self.segments:
                if segment.candidate_percent or segment.shadow_percent:
                    raise ValueError(
                        f"segments: {segment.name} sends to a candidate, and arms.candidate is absent"
                    )
        return self

    def encode(self) -> bytes:
        """The document in its JSON form, equal for equal documents."""
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def parse_routing_document(text: bytes | str) -> RoutingDocument:
    """The document in a JSON text. Raises RoutingDocumentError with one line per problem."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RoutingDocumentError(f"not JSON: {error}") from None
    try:
        return RoutingDocument.model_validate(plain)
    except ValidationError as error:
        raise RoutingDocumentError("\n".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: Any) -> str:
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in problem["loc"]).lstrip(".")
    message = re.sub(r"^Value error, ", "", str(problem["msg"]))
    if problem["type"] == "extra_forbidden":
        return f"{path}: no such field"
    if problem["type"] == "missing":
        return f"{path}: must be given"
    shown = json.dumps(problem["input"], default=str)[:80]
    if not path:
        return message if problem["type"] == "value_error" else f"{shown}: {message}"
    return f"{path}: {shown}: {message}"
