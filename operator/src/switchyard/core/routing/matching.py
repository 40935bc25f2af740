"""Which segment and arm a request goes to, and whether it is shadowed: the same on every worker.

Draws are hashes, not random numbers: a request id (or the value that keeps a caller on an arm) always falls
on the same side, in every process and after every restart, and a weight that grows only moves callers towards
the candidate, never back and forth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

from switchyard.core.routing.document import (
    BASELINE,
    CANDIDATE,
    TIER_HEADER,
    Match,
    RoutingDocument,
    Segment,
    Shadow,
)

CopyArm = Literal["candidate", "noise", "baseline"]

_SCALE = float(1 << 64)


def find_segment(document: RoutingDocument, path: str, headers: Mapping[str, str]) -> Segment:
    """The first segment that takes the request. `headers`: names in lower case."""
    for segment in document.segments:
        if segment.match is None or matches(segment.match, path, headers):
            return segment
    return document.segments[-1]


def matches(match: Match, path: str, headers: Mapping[str, str]) -> bool:
    """True when the request has everything that is stated. A prefix ends at a path element."""
    if match.path_prefix is not None and not has_prefix(path, match.path_prefix):
        return False
    if match.tier is not None and headers.get(TIER_HEADER) != match.tier:
        return False
    return all(headers.get(name.lower()) == value for name, value in match.headers.items())


def has_prefix(path: str, prefix: str) -> bool:
    """True when `path` is `prefix` or below it: `/v1` takes `/v1` and `/v1/x`, not `/v10`."""
    plain = prefix.rstrip("/")
    path = path.partition("?")[0]
    return path == plain or path.startswith(f"{plain}/")


def find_caller(segment: Segment, headers: Mapping[str, str]) -> str:
    """The value by which a caller sticks to an arm; empty where there is none. `headers` as above."""
    sticky = segment.sticky
    if sticky is None:
        return ""
    if sticky.header is not None:
        return headers.get(sticky.header.lower(), "")
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == sticky.cookie:
            return value
    return ""


def choose_arm(segment: Segment, key: str) -> Literal["baseline", "candidate"]:
    """Baseline or candidate, by the segment's weight. `key`: the caller that is sticky, else the request."""
    return CANDIDATE if 100 * draw("arm", segment.name, key) < segment.candidate_percent else BASELINE


def is_shadowed(segment: Segment, request_id: str) -> bool:
    """True when a copy of this request goes to the candidate."""
    return 100 * draw("shadow", segment.name, request_id) < segment.shadow_percent


def is_noise_sampled(shadow: Shadow, request_id: str) -> bool:
    """True when this shadowed request is also asked of the baseline a second time."""
    return 100 * draw("noise", "", request_id) < shadow.noise_percent


def is_replay_sampled(shadow: Shadow, request_id: str) -> bool:
    """True when the baseline is asked too, because the answer that the user got is not seen."""
    return 100 * draw("replay", "", request_id) < shadow.replay_percent


def plan_copies(shadow: Shadow, request_id: str, *, is_answer_seen: bool) -> tuple[CopyArm, ...]:
    """What a copied request is sent as: to the candidate, and to the baseline for a share of the requests.

    Where the user's answer is not seen, the baseline's answer to a copy stands for it; without one there is
    nothing to tell noise by.
    """
    baseline: tuple[CopyArm, ...] = () if is_answer_seen else (BASELINE,)
    if baseline and not is_replay_sampled(shadow, request_id):
        return (CANDIDATE,)
    noise: tuple[CopyArm, ...] = ("noise",) if is_noise_sampled(shadow, request_id) else ()
    return (CANDIDATE, *baseline, *noise)


def may_repeat(shadow: Shadow, method: str, path: str) -> bool:
    """True when the request may be sent twice."""
    if method not in shadow.methods:
        return False
    return not any(
        (rule.method is None or rule.method == method)
        and (rule.path_prefix is None or has_prefix(path, rule.path_prefix))
        for rule in shadow.exclude
    )


def draw(purpose: str, segment: str, key: str) -> float:
    """A number in [0, 1) that depends on these three alone. Different purposes are independent."""
    digest = hashlib.blake2b(f"{segment}\0{key}".encode(), digest_size=8, person=purpose.encode()).digest()
    return int.from_bytes(digest, "big") / _SCALE
