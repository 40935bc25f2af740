"""What stands behind a mirror: found by copies, and by nothing else."""

from __future__ import annotations

from switchyard.api import labels
from switchyard.core.routing.comparator_objects import build_comparator_service, find_comparator
from switchyard.core.routing.document import Segment
from switchyard.core.routing.plan import Target, TrafficPlan
from switchyard.core.routing.router_objects import COMPARATOR, RouterForm, build_deployment

PLAN = TrafficPlan(
    namespace="shop",
    workload="chat",
    workload_uid="uid-1",
    holder="move-chat",
    version=1,
    baseline=Target("chat-gpu", 8000),
    candidate=Target("chat-inf2", 8000),
    segments=(Segment(name="default"),),
)


def test_the_service_selects_the_pods_that_replay_on_the_port_that_they_listen_on() -> None:
    deployment = build_deployment(PLAN, RouterForm("switchyard:1", part=COMPARATOR), "0" * 64)
    service = build_comparator_service(PLAN)
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    assert {"--mode=replay", "--port=8000"} <= {*container["args"]}
    assert service["spec"]["ports"][0]["targetPort"] == 8000
    assert find_comparator(PLAN) == Target(service["metadata"]["name"], 8000)


def test_neither_the_workloads_services_nor_its_disruption_budget_take_a_comparator_for_a_replica() -> None:
    deployment = build_deployment(PLAN, RouterForm("switchyard:1", part=COMPARATOR), "0" * 64)
    marks = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels.WORKLOAD not in marks
    assert labels.TRACK not in marks
    assert labels.SHARED not in marks


def test_it_goes_with_its_workload() -> None:
    (owner,) = build_comparator_service(PLAN)["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("uid-1", True)
