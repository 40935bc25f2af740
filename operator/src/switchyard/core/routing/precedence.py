"""Matches that make a route of the Gateway API take segments in their order, and what stands in the way.

Our segments are ordered: the first that takes a request has it. A route of the Gateway API is not: of all
matches of a request the one with the longest path wins, then the one with the most headers, and only then the
first rule (HTTPRouteRule.matches, "Precedence"). So a rule gets, beside its own matches, for each match of a
later rule that would outrank it the narrower match of both: as long a path and at least as many headers, and
therefore won by the earlier rule.

    segments                    own matches             added
    1. header tier=batch        /, tier=batch           /v1/chat, tier=batch
    2. path /v1/chat            /v1/chat
    3. (the rest)               /

One pass from the last rule to the first is enough: a narrower match is never outranked by the match that it
was made for, and it takes no request that its own segment does not take.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from switchyard.core.routing.document import TIER_HEADER, Match, Segment

MOST_MATCHES_OF_A_RULE, MOST_MATCHES, MOST_RULES, MOST_HEADERS = 64, 128, 16, 16

# gateway.networking.k8s.io/v1 HTTPPathMatch of type PathPrefix
_PATH_VALUE = re.compile(r"/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")
_PATH_REFUSED = re.compile(r"//|/\.\.?(/|$)|%2[fF]")
_LONGEST_PATH = 1024


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A path prefix and headers that a request must have. `headers`: names in lower case, sorted."""

    prefix: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def rank(self) -> tuple[int, int]:
        """What the Gateway API compares, higher first, before the order of rules."""
        return len(self.prefix), len(self.headers)

    def includes(self, other: PathMatch) -> bool:
        """True when it takes every request that `other` takes."""
        return lies_within(other.prefix, self.prefix) and set(self.headers) <= set(other.headers)

    def narrow(self, other: PathMatch) -> PathMatch | None:
        """The match of the requests that both take; None when there are none."""
        prefix = _longer(self.prefix, other.prefix)
        headers = {**dict(self.headers), **dict(other.headers)}
        if prefix is None or any(headers[name] != value for name, value in self.headers):
            return None
        return PathMatch(prefix, tuple(sorted(headers.items())))


@dataclass(frozen=True, slots=True)
class RulePlan:
    """Matches by segment, in the order of rules; a segment that no request can reach has none.

    `problems`: one sentence for each way in which a route would not do what the segments say.
    """

    matches: Mapping[str, tuple[PathMatch, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def plan_rules(paths: Sequence[str], segments: Sequence[Segment]) -> RulePlan:
    """The matches of each segment's rule in a route that takes these path prefixes."""
    exposed = join_paths(paths)
    problems: list[str] = []
    own: dict[str, tuple[PathMatch, ...]] = {}
    for segment in segments:
        found = _find_own(segment, exposed)
        if isinstance(found, str):
            problems.append(f"segment {segment.name}: {found}")
            continue
        earlier = [match for matches in own.values() for match in matches]
        reached = tuple(match for match in found if not any(each.includes(match) for each in earlier))
        if not reached and segment.match is not None:
            problems.append(
                f"segment {segment.name}: earlier segments take every request of it: move it up, or remove it"
            )
        own[segment.name] = reached
    matches = _keep_order(own)
    problems += _judge_size(matches)
    return RulePlan({name: each for name, each in matches.items() if each}, tuple(problems))


def join_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """The prefixes without trailing slashes and without those that lie within another, in their order."""
    plain = list(dict.fromkeys(_trim(each) for each in paths))
    return tuple(
        each for each in plain if not any(each != other and lies_within(each, other) for other in plain)
    )


def lies_within(path: str, prefix: str) -> bool:
    """True when the requests of `path` are among those of `prefix`, element by element."""
    return prefix in ("/", path) or path.startswith(f"{prefix}/")


def find_prefixes(match: Match | None, exposed: Sequence[str]) -> tuple[str, ...]:
    """The prefixes of a segment within the exposed ones (both without trailing slashes)."""
    if match is None or match.path_prefix is None:
        return tuple(exposed)
    wanted = _trim(match.path_prefix)
    return join_paths([each for path in exposed if (each := _longer(path, wanted)) is not None])


def find_headers(match: Match | None) -> dict[str, str] | None:
    """Header names in lower case with the values that a request must have; None when no request can."""
    if match is None:
        return {}
    found: dict[str, str] = {}
    given = [*match.headers.items(), *([(TIER_HEADER, match.tier)] if match.tier is not None else [])]
    for name, value in given:
        if found.setdefault(name.lower(), value) != value:
            return None
    return found


def _find_own(segment: Segment, exposed: Sequence[str]) -> tuple[PathMatch, ...] | str:
    """The matches of a segment alone, or why there are none."""
    headers = find_headers(segment.match)
    if headers is None:
        return "a header is asked to have two values: leave one of them out"
    if len(headers) > MOST_HEADERS:
        return f"{len(headers)} headers, with the tier's: give at most {MOST_HEADERS}"
    prefixes = find_prefixes(segment.match, exposed)
    if not prefixes:
        wanted = segment.match.path_prefix if segment.match else ""
        return (
            f"pathPrefix {wanted} is outside of the paths of the exposure: give one within {_list(exposed)}"
        )
    for prefix in prefixes:
        if len(prefix) > _LONGEST_PATH or not _PATH_VALUE.fullmatch(prefix) or _PATH_REFUSED.search(prefix):
            return (
                f"pathPrefix {prefix} can't stand in a route: leave out '//', '/./', '/../', '%2f' and "
                "what is no character of a path"
            )
    return tuple(PathMatch(prefix, tuple(sorted(headers.items()))) for prefix in prefixes)


def _keep_order(own: Mapping[str, tuple[PathMatch, ...]]) -> dict[str, tuple[PathMatch, ...]]:
    names = list(own)
    final: dict[str, tuple[PathMatch, ...]] = {}
    later: list[PathMatch] = []
    for index in range(len(names) - 1, -1, -1):
        earlier = [match for name in names[:index] for match in own[name]]
        matches = list(own[names[index]])
        for mine in own[names[index]]:
            for theirs in later:
                both = mine.narrow(theirs)
                is_needed = both is not None and theirs.rank > mine.rank
                if both is None or not is_needed or any(each.includes(both) for each in earlier):
                    continue
                if any(each.includes(both) and each.rank >= theirs.rank for each in matches):
                    continue
                if len(matches) > MOST_MATCHES_OF_A_RULE:  # refused in any case
                    break
                matches.append(both)
        final[names[index]] = tuple(matches)
        later += [match for match in matches if match not in later]
    return {name: final[name] for name in names}


def _judge_size(matches: Mapping[str, Sequence[PathMatch]]) -> list[str]:
    problems = []
    used = {name: len(each) for name, each in matches.items() if each}
    if len(used) > MOST_RULES:
        problems.append(f"{len(used)} segments: a route has at most {MOST_RULES} rules")
    for name, count in used.items():
        if count > MOST_MATCHES_OF_A_RULE:
            problems.append(
                f"segment {name}: to come before later segments it needs over {MOST_MATCHES_OF_A_RULE} "
                "matches: put segments by path before segments by header, or give fewer"
            )
    total = sum(used.values())
    if total > MOST_MATCHES and not problems:
        problems.append(
            f"the segments need {total} matches in their order, and a route has at most {MOST_MATCHES}: put "
            "segments by path before segments by header, or give fewer"
        )
    headers = [
        name for name, each in matches.items() if any(len(match.headers) > MOST_HEADERS for match in each)
    ]
    return problems + [
        f"segment {name}: with those of a later segment it needs over {MOST_HEADERS} headers: give fewer"
        for name in headers
    ]


def _longer(left: str, right: str) -> str | None:
    if lies_within(left, right):
        return left
    return right if lies_within(right, left) else None


def _trim(path: str) -> str:
    return path.rstrip("/") or "/"


def _list(paths: Sequence[str]) -> str:
    return ", ".join(paths)
