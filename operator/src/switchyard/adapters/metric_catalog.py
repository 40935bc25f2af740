"""Every metric of the operator as data: collectors and the reference page are made from it.

Labels are bounded by what users create (namespaces, names, pools, variants, segments, gates) and by
enumerations; never a
pod, a uid, a hash, a URL or a message. `stable` metrics keep name, labels and meaning for two minor
releases after a notice; `alpha` ones may change in any release.
"""

from __future__ import annotations

from switchyard.adapters.cutover_metric_catalog import CUTOVER_METRICS
from switchyard.adapters.metric_spec import MetricSpec

LOOP_BUCKETS_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

LOOP_DURATION = MetricSpec(
    "switchyard_loop_duration_seconds", "histogram", "Time of one pass: decide and write.", (), "stable"
)
LOOPS = MetricSpec(
    "switchyard_loops_total",
    "counter",
    "Passes by result: finished, failed (a bug, see the log), waiting (the first lists are not complete).",
    ("result",),
    "stable",
)
LOOP_AGE = MetricSpec(
    "switchyard_loop_age_seconds",
    "gauge",
    "Time since the last finished pass; NaN before the first. Grows on a standby, which makes none.",
    (),
    "stable",
)
IS_LEADER = MetricSpec(
    "switchyard_leader",
    "gauge",
    "1 while this replica may act, else 0. The sum over replicas is at most 1.",
    (),
    "stable",
)
WATCH_EVENT_AGE = MetricSpec(
    "switchyard_watch_event_age_seconds",
    "gauge",
    "Time since the watch of a kind last brought an event. Grows in a quiet cluster as well.",
    ("kind",),
)
WATCH_STALE = MetricSpec(
    "switchyard_watch_stale",
    "gauge",
    "1 when a fresh list proved that the watch of a kind misses changes, else 0.",
    ("kind",),
    "stable",
)
WATCH_VERIFIED_AGE = MetricSpec(
    "switchyard_watch_verified_age_seconds",
    "gauge",
    "Time since a watch was last compared with a fresh list; NaN before the first time.",
    ("kind",),
)
WRITES = MetricSpec(
    "switchyard_writes_total",
    "counter",
    "Requests that change something, by kind, verb (apply, delete, status, record) and result "
    "(written, conflict, denied, failed). Stays flat while nothing changes.",
    ("kind", "verb", "result"),
    "stable",
)
WRITES_HELD_BACK = MetricSpec(
    "switchyard_objects_failing",
    "gauge",
    "Pools and workloads whose last write failed in the last pass.",
    (),
    "stable",
)
DECISIONS = MetricSpec(
    "switchyard_decisions_total",
    "counter",
    "Differences decided, by type: apply, delete, status, event.",
    ("type",),
)
SOURCE_UP = MetricSpec(
    "switchyard_metric_source_up",
    "gauge",
    "1 when the metric source answered the last probe, else 0.",
    ("source",),
    "stable",
)
ADVICE_DURATION = MetricSpec(
    "switchyard_advice_duration_seconds",
    "histogram",
    "Time of one search for the plan that would be best if everything could be placed anew.",
)
ADVICE_SEARCHES = MetricSpec(
    "switchyard_advice_searches_total",
    "counter",
    "Searches for that plan by result: found, failed (a bug, see the log; the last plan stays).",
    ("result",),
)
PLACEMENT_GAP = MetricSpec(
    "switchyard_placement_gap_ratio",
    "gauge",
    "How far the cost of the last plan found so can lie above the optimum, as a share of it; NaN while "
    "nothing is proven.",
)
BUILD_INFO = MetricSpec(
    "switchyard_build_info", "gauge", "Always 1; the version is the label.", ("version",), "stable"
)

_WORKLOAD = ("namespace", "name")
WORKLOAD_COST = MetricSpec(
    "switchyard_workload_cost_per_hour",
    "gauge",
    "Cost of a workload's placements per hour, in the currency of the operator's settings.",
    _WORKLOAD,
    "stable",
)
WORKLOAD_DESIRED = MetricSpec(
    "switchyard_workload_replicas_desired",
    "gauge",
    "Replicas that the placement asks for.",
    _WORKLOAD,
    "stable",
)
WORKLOAD_READY = MetricSpec(
    "switchyard_workload_replicas_ready", "gauge", "Replicas that are ready.", _WORKLOAD, "stable"
)
WORKLOAD_CONDITION = MetricSpec(
    "switchyard_workload_condition",
    "gauge",
    "1 when the condition (Ready, Placed, ObjectivesMet, WithinBudget, Exposed, SignalsAvailable) is True, "
    "0 when False, NaN when Unknown.",
    (*_WORKLOAD, "condition"),
    "stable",
)
WORKLOAD_DEVICES = MetricSpec(
    "switchyard_workload_devices",
    "gauge",
    "Devices of a workload on a pool, by variant.",
    (*_WORKLOAD, "variant", "pool"),
)
WORKLOAD_REJECTED = MetricSpec(
    "switchyard_workload_rejected_candidates",
    "gauge",
    "Pairs of variant and pool that were not chosen, by reason.",
    (*_WORKLOAD, "reason"),
)
WORKLOAD_DEMAND = MetricSpec(
    "switchyard_workload_demand_requests_per_second",
    "gauge",
    "Mean demand that is planned for, by how it is known: Planned, Signal, LastKnown, None.",
    (*_WORKLOAD, "source"),
)
RECOMMENDATION_SAVING = MetricSpec(
    "switchyard_recommendation_saving_per_hour",
    "gauge",
    "What the recommended placement would save per hour, in the currency of the operator's settings; only "
    "while it is settled.",
    _WORKLOAD,
    "stable",
)
RECOMMENDATION_PAYBACK = MetricSpec(
    "switchyard_recommendation_payback_seconds",
    "gauge",
    "Time in which that saving repays the change.",
    _WORKLOAD,
    "stable",
)
POOL_DEVICES = MetricSpec(
    "switchyard_pool_devices",
    "gauge",
    "Devices of a pool by state: total, allocatable, used, unhealthy, reservedIdle.",
    ("pool", "state"),
    "stable",
)
POOL_COST = MetricSpec(
    "switchyard_pool_cost_per_device_hour",
    "gauge",
    "Cost of one device of a pool for an hour, in the currency of the operator's settings.",
    ("pool",),
    "stable",
)
POOL_WASTE = MetricSpec(
    "switchyard_pool_waste_per_hour",
    "gauge",
    "What reserved or owned devices of a pool that nobody uses cost per hour, in the currency of the "
    "operator's settings.",
    ("pool",),
    "stable",
)
POOL_BACK_OFF = MetricSpec(
    "switchyard_pool_back_off_failures",
    "gauge",
    "Failures in a row of a pool that is closed to new placements for a while, or on trial after that, by "
    "reason.",
    ("pool", "reason"),
)
POOL_CONDITION = MetricSpec(
    "switchyard_pool_condition",
    "gauge",
    "1 when the condition (Ready, CapacityAvailable, Healthy, PricingCurrent, ReviewCurrent) is True, "
    "0 when False, NaN when Unknown.",
    ("pool", "condition"),
    "stable",
)

OPERATOR_METRICS = (
    LOOP_DURATION,
    LOOPS,
    LOOP_AGE,
    IS_LEADER,
    WATCH_EVENT_AGE,
    WATCH_STALE,
    WATCH_VERIFIED_AGE,
    WRITES,
    WRITES_HELD_BACK,
    DECISIONS,
    SOURCE_UP,
    ADVICE_DURATION,
    ADVICE_SEARCHES,
    PLACEMENT_GAP,
    BUILD_INFO,
)
OBJECT_METRICS = (
    WORKLOAD_COST,
    WORKLOAD_DESIRED,
    WORKLOAD_READY,
    WORKLOAD_CONDITION,
    WORKLOAD_DEVICES,
    WORKLOAD_REJECTED,
    WORKLOAD_DEMAND,
    RECOMMENDATION_SAVING,
    RECOMMENDATION_PAYBACK,
    POOL_DEVICES,
    POOL_COST,
    POOL_WASTE,
    POOL_BACK_OFF,
    POOL_CONDITION,
)
ALL_METRICS = (*OPERATOR_METRICS, *OBJECT_METRICS, *CUTOVER_METRICS)


def render_reference() -> str:
    """The reference page of all metrics, in Markdown."""
    lines = [
        "# Metrics",
        "",
        "The operator serves these at `/metrics` of its listen address, in the Prometheus text format.",
        "Times are in seconds; money is in the currency of the operator's settings. A series disappears",
        "with the object that it describes. `stable`: name, labels and meaning stay for two minor releases",
        "after a notice in the changelog; `alpha`: may change in any release.",
    ]
    for title, metrics in (
        ("The operator", OPERATOR_METRICS),
        ("Workloads and pools", OBJECT_METRICS),
        ("Cutover plans", CUTOVER_METRICS),
    ):
        lines += [
            "",
            f"## {title}",
            "",
            "| metric | type | labels | stability | meaning |",
            "|---|---|---|---|---|",
        ]
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(
                f"| `{metric.name}` | {metric.type} | {labels} | {metric.stability} | {metric.help} |"
            )
    return "\n".join(lines) + "\n"
