"""The document that a plan asks its routers for, the number it gets, and what a document does for a plan.

A plan may need several documents: a share that is held back until its arm is ready, an arm whose address
changed, a document that somebody else wrote in between. Routers only take a higher number, so each plan has a
range of numbers, and the documents of a newer plan are above all of an older one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from switchyard.core.routing.document import DEFAULT_SEGMENT, Arm, Arms, RoutingDocument, Segment
from switchyard.core.routing.plan import Share, TrafficPlan

DOCUMENTS_PER_PLAN = 1024


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the arms of a plan are: URLs. `candidate` is empty where there is none."""

    baseline: str
    candidate: str = ""


def build_url(address: str, port: int) -> str:
    """`http://address:port`, an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    return f"http://{host}:{port}"


def build_document(plan: TrafficPlan, addresses: Addresses) -> RoutingDocument:
    """The document of a plan, with the lowest number of its range."""
    candidate = Arm(url=addresses.candidate) if addresses.candidate else None
    return RoutingDocument(
        version=plan.version * DOCUMENTS_PER_PLAN,
        workload=f"{plan.namespace}/{plan.workload}",
        arms=Arms(baseline=Arm(url=addresses.baseline), candidate=candidate),
        segments=plan.segments,
        shadow=plan.shadow,
        limits=plan.limits,
        strata=plan.strata,
        measure=plan.measure,
        comparators=plan.comparators,
    )


def send_all(plan: TrafficPlan, document: RoutingDocument | None, url: str) -> RoutingDocument:
    """`document` with all requests sent to the arm at `url` and no copies, numbered for the plan.

    Measurements go on under the same arm and segments where the document has that arm.
    """
    lowest = plan.version * DOCUMENTS_PER_PLAN
    known = document.arms if document is not None else None
    if document is None or known is None or url not in {known.baseline.url, _candidate_url(document)}:
        arms = Arms(baseline=Arm(url=url))
        workload = f"{plan.namespace}/{plan.workload}"
        alone = (Segment(name=DEFAULT_SEGMENT),)
        return RoutingDocument(version=lowest, workload=workload, arms=arms, segments=alone)
    percent = 0.0 if url == known.baseline.url else 100.0
    still = {"candidate_percent": percent, "shadow_percent": 0.0}
    segments = tuple(segment.model_copy(update=still) for segment in document.segments)
    return document.model_copy(update={"version": lowest, "segments": segments})


def number_document(
    wanted: RoutingDocument, written: RoutingDocument | None, taken: Iterable[RoutingDocument]
) -> RoutingDocument:
    """`wanted` with the number that routers take it by.

    `written`: what they are told to read, `taken`: what they have. The number stays where the same content is
    written under a number of this plan that nothing outnumbers.
    """
    there = [*taken, *([] if written is None else [written])]
    highest = max((each.version for each in there), default=-1)
    is_kept = (
        written is not None
        and is_same(written, wanted)
        and written.version >= max(wanted.version, highest)
        and all(is_same(each, wanted) for each in there if each.version == written.version)
    )
    if written is not None and is_kept:
        return written
    return wanted.model_copy(update={"version": max(wanted.version, highest + 1)})


def is_same(one: RoutingDocument, other: RoutingDocument) -> bool:
    """True when both do the same with every request."""
    return one == other.model_copy(update={"version": one.version})


def fulfils(document: RoutingDocument, wanted: RoutingDocument) -> bool:
    """True when a router with `document` does what the plan of `wanted` asks, and knows that it does."""
    return document.version >= wanted.version and is_same(document, wanted)


def find_plan_version(document_version: int) -> int:
    """The version of the plan in whose range a number falls."""
    return document_version // DOCUMENTS_PER_PLAN


def read_shares(document: RoutingDocument, addresses: Addresses) -> dict[str, Share]:
    """The shares of the candidate at that address, by segment; all zero where the document knows another."""
    is_known = bool(addresses.candidate) and _candidate_url(document) == addresses.candidate
    return {
        each.name: Share(each.candidate_percent, each.shadow_percent) if is_known else Share(0.0, 0.0)
        for each in document.segments
    }


def _candidate_url(document: RoutingDocument) -> str:
    return document.arms.candidate.url if document.arms.candidate is not None else ""
