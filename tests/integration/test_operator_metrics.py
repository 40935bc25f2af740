"""Metrics: what the loop tells is counted, series go with their objects, labels stay bounded."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from switchyard.adapters import metric_catalog as catalog
from switchyard.adapters.audit import WatchAudit
from switchyard.adapters.metrics import Metrics
from switchyard.core.decisions import Decisions, ObjectDecision, StatusWrite
from switchyard.core.world import Advice, Meta, Pool, Workload, World
from switchyard.engine.advisor import AdviceReport
from switchyard.engine.ports import LoopReport

from .operator_fakes import FakeApi, memory_with

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POOL_STATUS = {
    "devices": {"total": 8, "allocatable": 7, "used": 3, "unhealthy": 1, "reservedIdle": 0},
    "cost": {"devicePerHour": "1.25", "price": "1.20"},
    "wastePerHour": "2.40",
    "backOff": {"reason": "PoolBackOff", "failures": 2, "until": "2026-01-01T00:10:00Z"},
    "conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}],
}
WORKLOAD_STATUS = {
    "replicas": 3,
    "readyReplicas": 2,
    "costPerHour": "3.75",
    "placements": [{"variant": "small", "pool": "l4", "devices": 3}],
    "demand": {"requestsPerSecond": "18.3", "source": "Signal"},
    "recommendation": {"savingPerHour": "4.00", "payback": "45m", "settled": True},
    "rejected": [{"variant": "small", "pool": f"p{n}", "reason": "NoCapacity"} for n in range(5)],
    "conditions": [
        {"type": "Ready", "status": "True"},
        {"type": "ObjectivesMet", "status": "Unknown"},
        {"type": "Placed", "status": "False"},
        {"type": "SignalsAvailable", "status": "True"},
    ],
}


def meta(name: str, namespace: str = "") -> Meta:
    return Meta(name=name, namespace=namespace, uid=f"uid-{name}", resource_version="1", generation=1)


def report(
    *, pools: dict[str, Any] | None = None, workloads: dict[str, Any] | None = None, **rest: Any
) -> LoopReport:
    world = World(
        now=NOW,
        pools=tuple(Pool(meta(n), None, s) for n, s in (pools or {}).items()),  # type: ignore[arg-type]
        workloads=tuple(Workload(meta(n, "shop"), None, s) for n, s in (workloads or {}).items()),  # type: ignore[arg-type]
    )
    return LoopReport(NOW, 0.05, world, **{"decisions": Decisions(), **rest})


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def value(metrics: Metrics, metric: str, /, **labels: str) -> float | None:
    return samples(metrics).get((metric, tuple(sorted(labels.items()))))


def test_pools_and_workloads_are_shown_as_their_status_says() -> None:
    metrics = Metrics()
    metrics.loop_finished(report(pools={"l4": POOL_STATUS}, workloads={"chat": WORKLOAD_STATUS}))
    chat = {"namespace": "shop", "name": "chat"}
    assert value(metrics, "switchyard_pool_devices", pool="l4", state="used") == 3
    assert value(metrics, "switchyard_pool_devices", pool="l4", state="reservedIdle") == 0
    assert value(metrics, "switchyard_pool_cost_per_device_hour", pool="l4") == 1.25
    assert value(metrics, "switchyard_workload_cost_per_hour", **chat) == 3.75
    assert value(metrics, "switchyard_workload_replicas_ready", **chat) == 2
    assert value(metrics, "switchyard_workload_condition", **chat, condition="Ready") == 1
    assert value(metrics, "switchyard_workload_condition", **chat, condition="Placed") == 0
    assert value(metrics, "switchyard_workload_devices", **chat, variant="small", pool="l4") == 3
    assert value(metrics, "switchyard_workload_rejected_candidates", **chat, reason="NoCapacity") == 5
    assert value(metrics, "switchyard_workload_demand_requests_per_second", **chat, source="Signal") == 18.3
    assert value(metrics, "switchyard_recommendation_saving_per_hour", **chat) == 4
    assert value(metrics, "switchyard_recommendation_payback_seconds", **chat) == 2700
    assert value(metrics, "switchyard_workload_condition", **chat, condition="SignalsAvailable") == 1
    assert value(metrics, "switchyard_pool_waste_per_hour", pool="l4") == 2.4
    assert value(metrics, "switchyard_pool_back_off_failures", pool="l4", reason="PoolBackOff") == 2


def test_a_recommendation_is_shown_when_it_is_settled() -> None:
    metrics = Metrics()
    observed = {**WORKLOAD_STATUS, "recommendation": {"savingPerHour": "4.00", "settled": False}}
    metrics.loop_finished(report(workloads={"chat": observed}))
    assert not [name for name, _ in samples(metrics) if name.startswith("switchyard_recommendation")]


def test_searches_for_advice_are_counted_with_the_gap_of_the_last_plan() -> None:
    metrics = Metrics()
    metrics.advice_finished(AdviceReport(0.4, Advice(NOW, gap_ratio=0.02)))
    metrics.advice_finished(AdviceReport(0.6, None, "ValueError: x"))
    assert value(metrics, "switchyard_placement_gap_ratio") == 0.02
    assert value(metrics, "switchyard_advice_searches_total", result="found") == 1
    assert value(metrics, "switchyard_advice_searches_total", result="failed") == 1
    assert value(metrics, "switchyard_advice_duration_seconds_sum") == 1.0
    metrics.advice_finished(AdviceReport(0.1, Advice(NOW)))
    unproven = value(metrics, "switchyard_placement_gap_ratio")
    assert unproven != unproven  # noqa: PLR0124 - NaN


def test_an_unknown_condition_is_neither_true_nor_false() -> None:
    metrics = Metrics()
    metrics.loop_finished(report(workloads={"chat": WORKLOAD_STATUS}))
    unknown = value(
        metrics, "switchyard_workload_condition", namespace="shop", name="chat", condition="ObjectivesMet"
    )
    assert unknown != unknown  # noqa: PLR0124 - NaN


def test_a_status_that_was_just_decided_counts_before_the_watch_shows_it() -> None:
    metrics = Metrics()
    write = StatusWrite("InferenceWorkload", meta("chat", "shop"), {"replicas": 9})
    decision = ObjectDecision("InferenceWorkload", "shop", "chat", status=write)
    metrics.loop_finished(report(workloads={"chat": WORKLOAD_STATUS}, decisions=Decisions((decision,))))
    assert value(metrics, "switchyard_workload_replicas_desired", namespace="shop", name="chat") == 9


def test_series_disappear_with_their_object() -> None:
    metrics = Metrics()
    metrics.loop_finished(report(pools={"l4": POOL_STATUS}, workloads={"chat": WORKLOAD_STATUS}))
    metrics.loop_finished(report())
    assert not [
        name
        for name, _ in samples(metrics)
        if name.startswith(("switchyard_workload", "switchyard_pool", "switchyard_recommendation"))
    ]


def test_an_object_without_a_status_yet_breaks_nothing() -> None:
    metrics = Metrics()
    metrics.loop_finished(
        report(pools={"l4": {}}, workloads={"chat": {"placements": None, "conditions": None}})
    )
    assert value(metrics, "switchyard_workload_replicas_desired", namespace="shop", name="chat") == 0


def test_writes_loops_and_failures_are_counted() -> None:
    metrics = Metrics()
    metrics.loop_waits(("nodes",))
    metrics.loop_failed(ZeroDivisionError())
    metrics.loop_finished(
        report(
            writes={("Service", "apply", "written"): 2},
            failures={("InferenceWorkload", "shop", "x"): "quota"},
        )
    )
    assert value(metrics, "switchyard_writes_total", kind="Service", verb="apply", result="written") == 2
    assert value(metrics, "switchyard_objects_failing") == 1
    for result in ("waiting", "failed", "finished"):
        assert value(metrics, "switchyard_loops_total", result=result) == 1


def test_the_age_of_the_last_loop_grows_by_itself() -> None:
    clock = [10.0]
    metrics = Metrics(now_seconds=lambda: clock[0])
    assert metrics.loop_age_seconds() != metrics.loop_age_seconds()
    metrics.loop_finished(report())
    clock[0] = 25.0
    assert value(metrics, "switchyard_loop_age_seconds") == 15.0


def test_the_number_of_series_per_object_is_bounded() -> None:
    metrics = Metrics()
    count = 50
    metrics.loop_finished(report(workloads={f"w{n}": WORKLOAD_STATUS for n in range(count)}))
    per_object = [labels for name, labels in samples(metrics) if name.startswith("switchyard_workload")]
    assert len(per_object) <= 11 * count


def every_metric() -> Metrics:
    metrics = Metrics()
    api = FakeApi()
    memory = memory_with(api)
    memory.last_event_seconds["nodes"] = 0.0
    metrics.follow_watches(WatchAudit(api, memory))  # type: ignore[arg-type]
    metrics.follow_leadership(lambda: True)
    metrics.set_source_up("main", False)
    metrics.advice_finished(AdviceReport(0.4, Advice(NOW, gap_ratio=0.02)))
    metrics.loop_waits(())
    metrics.loop_finished(
        report(
            pools={"l4": POOL_STATUS},
            workloads={"chat": WORKLOAD_STATUS},
            writes={("Service", "apply", "written"): 2},
        )
    )
    return metrics


def test_what_is_served_is_what_is_documented() -> None:
    families = {f.name: f for f in text_string_to_metric_families(every_metric().render().decode())}
    documented = {spec.name.removesuffix("_total"): spec for spec in catalog.ALL_METRICS}
    assert families.keys() == documented.keys()
    for name, family in families.items():
        assert family.type == documented[name].type
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert labels <= set(documented[name].labels)


@pytest.mark.parametrize("spec", catalog.ALL_METRICS, ids=lambda spec: spec.name)
def test_names_and_labels_follow_the_conventions(spec: catalog.MetricSpec) -> None:
    assert re.fullmatch(r"switchyard_[a-z_]+", spec.name)
    assert (spec.type == "counter") == spec.name.endswith("_total")
    assert spec.help.endswith(".")
    assert not {"pod", "uid", "hash", "url", "message", "le"} & set(spec.labels)


def test_the_reference_page_is_what_the_catalog_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
    assert page.read_text() == catalog.render_reference()
    assert all(f"`{spec.name}`" in page.read_text() for spec in catalog.ALL_METRICS)
