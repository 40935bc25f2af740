"""Queries made of constants and of names that were judged and escaped: text that no tenant can shape.

A placeholder stands for a name of Kubernetes or for a time. Nothing else of a custom resource ever gets
into a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

PLACEHOLDERS = ("namespace", "workload", "service", "track", "window")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_PLACEHOLDER = re.compile(r"\{\s*([a-zA-Z_]\w*)\s*\}")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_WINDOW = re.compile(r"\[\{window\}(:\d*[smh]?)?\]")
# what has a meaning in RE2, which Prometheus uses, and may occur in a name
_REGEX_SIGNS = re.compile(r"([.\\+*?()|\[\]{}^$])")


class TemplateProblem(ValueError):  # noqa: N818 - reads as what is wrong
    """The query can't be used; the message names the way out."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a query: code, or a string with its quotes. `is_pattern`: matched as a regex."""

    text: str
    is_string: bool = False
    is_pattern: bool = False


def judge_template(query: str) -> None:
    """Raise TemplateProblem when placeholders are unknown, missing or out of place."""
    names = {match.group(1) for match in _PLACEHOLDER.finditer(query)}
    unknown = sorted(names - set(PLACEHOLDERS))
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise TemplateProblem(f"no such placeholder: {{{unknown[0]}}}; there are {known}")
    if "namespace" not in names or not names & {"workload", "service", "track"}:
        raise TemplateProblem(
            "the query must tell workloads apart: use {namespace}, and {workload}, {service} or {track}, "
            "in label values"
        )
    for piece in _split(query):
        if piece.is_string:
            if "{window}" in piece.text:
                raise TemplateProblem("{window} is a range, not a label value: write [{window}]")
            continue
        if set(piece.text) & set("'`#"):
            raise TemplateProblem("write strings in double quotes, and no comments")
        left = _PLACEHOLDER.search(_WINDOW.sub("[]", piece.text))
        if left and left.group(1) == "window":
            raise TemplateProblem("{window} is a range: write [{window}]")
        if left:
            raise TemplateProblem(
                f'{left.group(0)} is a label value: write it in double quotes, "{left.group(0)}"'
            )


def fill_template(
    query: str, *, namespace: str, workload: str, service: str, window_seconds: float, track: str = ""
) -> str:
    """The query for one workload, or with `track` for one of its tracks.

    Raises TemplateProblem for a name that Kubernetes would not take, and for a track that there is none.
    """
    if not track and any(match.group(1) == "track" for match in _PLACEHOLDER.finditer(query)):
        raise TemplateProblem("{track} stands for a cutover's candidate; for demand use {service}")
    values = {"namespace": namespace, "workload": workload, "service": service, "track": track}
    window = format_window(window_seconds)
    return "".join(
        _fill_string(piece, values) if piece.is_string else piece.text.replace("{window}", window)
        for piece in _split(query)
    )


def select_series(
    metric: str, match: Mapping[str, Iterable[str]], patterns: Mapping[str, str] | None = None
) -> str:
    """The selector of a metric whose labels have one of the given values each, or match a pattern."""
    parts = [f"{label}=~{quote(pattern)}" for label, pattern in (patterns or {}).items()]
    for label, values in match.items():
        found = list(values)
        if len(found) == 1:
            parts.append(f"{label}={quote(found[0])}")
        else:
            parts.append(f"{label}=~{quote('|'.join(escape_pattern(value) for value in found))}")
    return f"{metric}{{{','.join(parts)}}}"


def judge_name(name: str) -> str:
    """The name, if Kubernetes would take it. Raises TemplateProblem otherwise."""
    if not _NAME.fullmatch(name):
        raise TemplateProblem(f"{name!r} is no name of Kubernetes: small letters, digits, - and . only")
    return name


def quote(value: str) -> str:
    """The value as a PromQL string in double quotes."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def escape_pattern(value: str) -> str:
    """The value as a regular expression that matches it alone (RE2)."""
    return _REGEX_SIGNS.sub(r"\\\1", value)


def format_window(seconds: float) -> str:
    """A range in PromQL: whole seconds, at least one."""
    return f"{max(1, round(seconds))}s"


def _fill_string(piece: _Piece, values: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        name = judge_name(values[match.group(1)])
        return quote(escape_pattern(name) if piece.is_pattern else name)[1:-1]

    return _PLACEHOLDER.sub(value_of, piece.text)


def _split(query: str) -> Iterator[_Piece]:
    end = 0
    for match in _STRING.finditer(query):
        before = query[end : match.start()]
        yield _Piece(before)
        yield _Piece(match.group(), is_string=True, is_pattern=before.rstrip().endswith("~"))
        end = match.end()
    yield _Piece(query[end:])
