"""Every metric of the router as data: the exposition and the reference table are made from it.

Labels are bounded by the routing document (segments, comparators) and by enumerations; the epoch is the one
exception, with one series at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FamilyType = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    type: FamilyType
    help: str
    labels: tuple[str, ...] = ()


REQUESTS = Family(
    "switchyard_router_requests_total",
    "counter",
    "Users' requests that ended, by outcome: good, cancelled (the caller left), or how the backend failed: "
    "connect, timeout, reset, truncated, status (500 and above), malformed.",
    ("segment", "arm", "outcome"),
)
IN_FLIGHT = Family(
    "switchyard_router_requests_in_flight", "gauge", "Users' requests under way.", ("segment", "arm")
)
TUNNELS = Family(
    "switchyard_router_tunnels_total",
    "counter",
    "Users' requests that became a connection of another protocol (WebSocket), counted at its end.",
    ("segment", "arm"),
)
FAILURE_RUN = Family(
    "switchyard_router_failure_run",
    "gauge",
    "Failures in a row up to now, the longest of any worker.",
    ("segment", "arm"),
)
DURATION = Family(
    "switchyard_router_request_duration_seconds",
    "histogram",
    "Time from passing a user's request on to the last byte of its answer; good answers only.",
    ("segment", "arm"),
)
FIRST_TOKEN = Family(
    "switchyard_router_first_token_seconds",
    "histogram",
    "Time to the first event of a stream, else to the first byte of the body; good answers only.",
    ("segment", "arm"),
)
OUTPUT_TOKEN = Family(
    "switchyard_router_output_token_seconds",
    "histogram",
    "Mean time between the events of a stream after its first, one value per stream; good answers only.",
    ("segment", "arm"),
)
REFUSED = Family(
    "switchyard_router_refused_total",
    "counter",
    "Requests that the router answered itself before they had a segment, by status.",
    ("status",),
)
SHADOW_SAMPLED = Family(
    "switchyard_router_shadow_sampled_total", "counter", "Requests drawn for shadowing.", ("segment",)
)
SHADOW_DROPPED = Family(
    "switchyard_router_shadow_dropped_total",
    "counter",
    "Requests drawn for shadowing and not copied, by reason.",
    ("segment", "reason"),
)
SHADOW_REQUESTS = Family(
    "switchyard_router_shadow_requests_total",
    "counter",
    "Copies that ended, by outcome. Arms: candidate, noise (the baseline once more), baseline (of a replay).",
    ("segment", "arm", "outcome"),
)
SHADOW_IN_FLIGHT = Family(
    "switchyard_router_shadow_in_flight", "gauge", "Copies under way, to either backend.", ("segment",)
)
SHADOW_DURATION = Family(
    "switchyard_router_shadow_duration_seconds",
    "histogram",
    "Time from sending a copy to the last byte of its answer; good answers only.",
    ("segment", "arm"),
)
PAIRS = Family(
    "switchyard_router_pairs_total",
    "counter",
    "Requests that both arms answered, by which did without failure: both_good, baseline_only_good, "
    "candidate_only_good, none_good.",
    ("segment", "result"),
)
THRESHOLD_PAIRS = Family(
    "switchyard_router_threshold_pairs_total",
    "counter",
    "Pairs by which arm was good within a threshold of time (latency:0.25).",
    ("segment", "threshold", "result"),
)
COMPARISONS = Family(
    "switchyard_router_comparisons_total",
    "counter",
    "Answers compared with the baseline's, by result: match, mismatch, incomparable. Arms: candidate, noise.",
    ("segment", "comparator", "arm", "result"),
)
SCORES = Family(
    "switchyard_router_comparison_score",
    "histogram",
    "How like the baseline's the answers were, from 0 to 1. In hundredths, rounded against the candidate.",
    ("segment", "comparator", "arm"),
)
CONFIG_VERSION = Family(
    "switchyard_router_config_version",
    "gauge",
    "Version of the routing document in force, the lowest of any worker; -1 while one has none.",
)
EPOCH = Family(
    "switchyard_router_epoch_info",
    "gauge",
    "Always 1; the epoch is the label. Counters of different epochs must not be subtracted.",
    ("epoch",),
)

ROUTER_FAMILIES = (
    REQUESTS,
    IN_FLIGHT,
    TUNNELS,
    FAILURE_RUN,
    DURATION,
    FIRST_TOKEN,
    OUTPUT_TOKEN,
    REFUSED,
    SHADOW_SAMPLED,
    SHADOW_DROPPED,
    SHADOW_REQUESTS,
    SHADOW_IN_FLIGHT,
    SHADOW_DURATION,
    PAIRS,
    THRESHOLD_PAIRS,
    COMPARISONS,
    SCORES,
    CONFIG_VERSION,
    EPOCH,
)

CONFIG_DOCUMENTS = Family(
    "switchyard_router_config_documents_total",
    "counter",
    "Routing documents by source and what became of them: applied, unchanged, older, contradicting, invalid, "
    "unconfirmed (not in force on every worker), unreadable (the file could not be read).",
    ("source", "outcome"),
)
CONFIG_ERROR = Family(
    "switchyard_router_config_error",
    "gauge",
    "1 while the last document of a source could not be brought into force.",
    ("source",),
)
WORKER_UP = Family("switchyard_router_worker_up", "gauge", "1 for a worker that listens.", ("worker",))
WORKER_RESTARTS = Family(
    "switchyard_router_worker_restarts_total",
    "counter",
    "How often a worker ended by itself and was started again.",
    ("worker",),
)
DRAINING = Family("switchyard_router_draining", "gauge", "1 from the signal to end on.")
SAMPLES_MISSING = Family(
    "switchyard_router_samples_missing",
    "gauge",
    "1 where a worker's counts could not be had, so that this page has none of any.",
)

STATE_FAMILIES = (
    CONFIG_DOCUMENTS,
    CONFIG_ERROR,
    WORKER_UP,
    WORKER_RESTARTS,
    DRAINING,
    SAMPLES_MISSING,
)


def render_table() -> str:
    """The reference table of the router's metrics, in Markdown."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in (*ROUTER_FAMILIES, *STATE_FAMILIES):
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.type} | {labels} | {family.help} |")
    return "\n".join(lines) + "\n"
