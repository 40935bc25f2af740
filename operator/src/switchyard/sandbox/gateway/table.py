"""What the data path looks requests up in, and how: pure, immutable, replaced as a whole.

Hosts: the most specific listener that knows a host takes the request (Gateway API, Listener). Within it the
entries stand in order of precedence; the first one that the request passes is the rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import re2

PathKind = Literal["exact", "prefix", "elements", "regex"]


class PatternError(ValueError):
    """A regular expression that RE2 does not take."""


def compile_pattern(text: str) -> Any:
    """The RE2 pattern. PatternError says what is wrong with it."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options=options)
    except re2.error as error:
        raise PatternError(f"{text!r} is not a regular expression that RE2 takes: {error}") from error


@dataclass(frozen=True, slots=True)
class TextTest:
    """A test of one value. `elements` is a prefix of whole path elements: /a passes /a/b, not /ab."""

    kind: PathKind
    value: str
    pattern: Any = None
    ignores_case: bool = False

    def passes(self, value: str) -> bool:
        """Whether the value passes."""
        wanted = self.value
        if self.ignores_case and self.pattern is None:
            value, wanted = value.lower(), wanted.lower()
        if self.kind == "exact":
            return value == wanted
        if self.kind == "prefix":
            return value.startswith(wanted)
        if self.kind == "elements":
            stem = wanted.rstrip("/")
            return value == stem or value.startswith(stem + "/")
        return self.pattern.fullmatch(value) is not None


def text_test(kind: PathKind, value: str, *, ignores_case: bool = False) -> TextTest:
    """The test. PatternError for a bad regular expression."""
    if kind != "regex":
        return TextTest(kind, value, ignores_case=ignores_case)
    return TextTest(kind, value, compile_pattern(f"(?i:{value})" if ignores_case else value))


@dataclass(frozen=True, slots=True)
class RequestLine:
    """What of a request routing looks at. Header names in lower case, several values joined by a comma."""

    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    queries: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RequestTest:
    """A conjunction of tests; an absent part passes everything."""

    path: TextTest | None = None
    method: TextTest | None = None
    authority: TextTest | None = None
    headers: tuple[tuple[str, TextTest], ...] = ()
    missing_headers: tuple[tuple[str, TextTest], ...] = ()
    queries: tuple[tuple[str, TextTest], ...] = ()

    def passes(self, line: RequestLine) -> bool:
        """Whether a request passes all of it."""
        return (
            (self.path is None or self.path.passes(line.path))
            and (self.method is None or self.method.passes(line.method))
            and (self.authority is None or self.authority.passes(line.host))
            and all(n in line.headers and t.passes(line.headers[n]) for n, t in self.headers)
            and not any(n in line.headers and t.passes(line.headers[n]) for n, t in self.missing_headers)
            and all(n in line.queries and t.passes(line.queries[n]) for n, t in self.queries)
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A port of a Service, or of those of its pods that have these labels."""

    namespace: str
    service: str
    port: int
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """As counters show it."""
        subset = "".join(f",{key}={value}" for key, value in self.labels)
        return f"{self.namespace}/{self.service}:{self.port}{subset}"


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """What is done to headers, in this order: remove, set, add."""

    remove: tuple[str, ...] = ()
    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Backend:
    """Where requests go, or what they are answered with where it does not exist: 500 in Gateway API."""

    name: str
    target: Target | None
    weight: int = 1
    status_without_target: int = 500
    request_changes: HeaderChanges = HeaderChanges()
    response_changes: HeaderChanges = HeaderChanges()


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where copies of requests go: `numerator` of `denominator`, each drawn by itself."""

    target: Target
    numerator: float = 1
    denominator: float = 1
    host_suffix: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to the requests that an entry takes. Timeouts of None are none."""

    name: str
    backends: tuple[Backend, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    request_changes: HeaderChanges = HeaderChanges()
    response_changes: HeaderChanges = HeaderChanges()
    request_timeout_seconds: float | None = None
    backend_timeout_seconds: float | None = None

    def choose(self, draw: float) -> Backend | None:
        """The backend that a draw from [0, 1) falls on, in proportion to the weights; None without any."""
        total = sum(backend.weight for backend in self.backends)
        place = draw * total
        for backend in self.backends:
            place -= backend.weight
            if place < 0:
                return backend
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """One match of one rule for one host. `order` ranks entries of hosts that are equally specific."""

    hostname: str
    test: RequestTest
    rule: Rule
    order: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class ListenerTable:
    """The entries of one listener, best first.

    `is_host_final`: a host known here keeps a request even when none of its entries takes it (Istio); without
    it the next less specific host is asked.
    """

    hostname: str
    entries: tuple[Entry, ...] = ()
    is_host_final: bool = False

    def find(self, line: RequestLine) -> Rule | None:
        """The rule for a request."""
        decided = ""
        for entry in self.entries:
            if decided and entry.hostname != decided:
                return None
            if not covers(entry.hostname, line.host):
                continue
            if self.is_host_final:
                decided = entry.hostname
            if entry.test.passes(line):
                return entry.rule
        return None


@dataclass(frozen=True, slots=True)
class Table:
    """All listeners by address and port."""

    listeners: Mapping[tuple[str, int], tuple[ListenerTable, ...]] = field(default_factory=dict)

    def find(self, address: str, port: int, line: RequestLine) -> Rule | None:
        """The rule for a request that came in at an address and port."""
        for listener in self.listeners.get((address, port), ()):
            if covers(listener.hostname, line.host):
                return listener.find(line)
        return None


def build_listener(hostname: str, entries: Sequence[Entry], *, is_host_final: bool = False) -> ListenerTable:
    """The listener with its entries in order: most specific host first, then by `order`."""
    ranked = sorted(entries, key=lambda entry: (_specificity(entry.hostname), entry.order))
    return ListenerTable(hostname, tuple(ranked), is_host_final)


def rank_listeners(listeners: Sequence[ListenerTable]) -> tuple[ListenerTable, ...]:
    """The listeners of one port, most specific host first."""
    return tuple(sorted(listeners, key=lambda listener: _specificity(listener.hostname)))


def _specificity(hostname: str) -> tuple[bool, int, str]:
    """Precise names before wildcards, longer before shorter, the empty one (every host) last."""
    return (hostname.startswith("*") or not hostname, -len(hostname), hostname)


def covers(pattern: str, host: str) -> bool:
    """Whether a host belongs to a pattern: empty or `*` is every host, `*.a.b` all names that end so."""
    if pattern in ("", "*"):
        return True
    if pattern.startswith("*."):
        return len(host) > len(pattern) - 1 and host.endswith(pattern[1:])
    return host == pattern


def intersect(left: str, right: str) -> str | None:
    """The narrower of two host patterns when one lies within the other, otherwise None."""
    if left in ("", "*"):
        return right
    if right in ("", "*") or left == right:
        return left
    if left.startswith("*.") and right.startswith("*."):
        wide, narrow = sorted((left, right), key=len)
        return narrow if narrow.endswith(wide[1:]) else None
    if left.startswith("*."):
        return right if covers(left, right) else None
    return left if covers(right, left) else None
