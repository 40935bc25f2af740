"""The objects of routers: what a restricted namespace takes, and what restarts a pod."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.core.worlds import workload

from switchyard.api import labels
from switchyard.core.desired import build_disruption_budget, build_stable_service
from switchyard.core.routing.document import RoutingDocument, Segment
from switchyard.core.routing.plan import Target, TrafficPlan
from switchyard.core.routing.router_document import Addresses, build_document
from switchyard.core.routing.router_objects import (
    DOCUMENT_KEY,
    RouterForm,
    build_config_map,
    build_deployment,
    name_router,
    select_routers,
)
from switchyard.core.tracks import SHARED
from switchyard.dataplane.options import parse_router_options
from switchyard.sandbox.cluster.programs import Invocation, find_program

FORM = RouterForm("switchyard:1", workers=2, resources={"requests": {"cpu": "1"}})
TOKEN = "ab" * 32
PLAN = TrafficPlan(
    namespace="team",
    workload="chat",
    workload_uid="uid-chat",
    holder="move-chat",
    version=3,
    baseline=Target("chat-v-p", 8000),
    candidate=None,
    segments=(Segment(name="default"),),
)


def pod_spec(plan: TrafficPlan = PLAN, form: RouterForm = FORM) -> dict[str, Any]:
    spec: dict[str, Any] = build_deployment(plan, form, TOKEN)["spec"]["template"]["spec"]
    return spec


def document(plan: TrafficPlan = PLAN) -> RoutingDocument:
    return build_document(plan, Addresses("http://10.0.0.1:8000"))


def test_the_router_understands_what_its_pod_starts_it_with() -> None:
    (container,) = pod_spec()["containers"]
    found = find_program(container)
    assert isinstance(found, Invocation)
    assert found.program == "router"
    options = parse_router_options(found.args, {})
    mount = container["volumeMounts"][0]["mountPath"]
    assert str(options.config) == f"{mount}/{DOCUMENT_KEY}"
    assert (options.port, options.admin_port, options.workers) == (8000, 8081, 2)
    assert (options.drain_delay_seconds, options.grace_seconds) == (10.0, 300.0)
    assert options.admin_token_sha256 == TOKEN
    assert pod_spec()["terminationGracePeriodSeconds"] > options.grace_seconds


def test_a_restricted_namespace_takes_the_pod() -> None:
    """kubernetes.io/docs/concepts/security/pod-security-standards, Restricted."""
    spec = pod_spec()
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert not any({"hostPath", "secret"} & set(volume) for volume in spec["volumes"])


def test_a_new_document_changes_no_pod_template_and_new_settings_do() -> None:
    before = build_deployment(PLAN, FORM, TOKEN)
    later = replace(PLAN, version=9, segments=(Segment(name="other"),), holder="another")
    assert build_deployment(later, FORM, TOKEN) == before
    assert build_config_map(later, document(later), 9) != build_config_map(PLAN, document(), 3)
    assert build_deployment(PLAN, replace(FORM, image="switchyard:2"), TOKEN) != before


def test_a_port_below_1024_may_be_bound_without_a_privilege() -> None:
    low = pod_spec(replace(PLAN, baseline=Target("chat-v-p", 80)))
    assert low["securityContext"]["sysctls"] == [
        {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
    ]
    assert "sysctls" not in pod_spec()["securityContext"]


@pytest.mark.parametrize(("port", "admin"), [(8000, 8081), (8081, 8082), (8082, 8081)])
def test_traffic_and_administration_never_meet_on_one_port(port: int, admin: int) -> None:
    (container,) = pod_spec(replace(PLAN, baseline=Target("chat-v-p", port)))["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": port, "admin": admin}
    assert {
        container[each]["httpGet"]["port"] for each in ("startupProbe", "livenessProbe", "readinessProbe")
    } == {admin}


def test_no_service_of_the_workload_selects_routers_and_its_budget_does() -> None:
    owner = workload("chat")
    marks = build_deployment(PLAN, FORM, TOKEN)["spec"]["template"]["metadata"]["labels"]
    for serving in ("chat-v-p", SHARED):
        selector = build_stable_service(owner, serving)["spec"]["selector"]
        assert not selector.items() <= marks.items()
    budget = build_disruption_budget(owner)["spec"]["selector"]["matchLabels"]
    assert budget.items() <= marks.items()
    assert select_routers("chat").items() <= marks.items()
    assert labels.TRACK not in marks


def test_everything_is_the_workloads_and_goes_with_it() -> None:
    for body in (build_deployment(PLAN, FORM, TOKEN), build_config_map(PLAN, document(), 3)):
        (owner,) = body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("InferenceWorkload", "chat", "uid-chat")
        assert owner["controller"] is True
        assert body["metadata"]["name"] == "chat-router"


def test_names_and_labels_of_long_workloads_stay_within_limits() -> None:
    one, other = name_router("w" * 80), name_router("w" * 81)
    assert len(one) <= 63
    assert one != other
    assert all(len(value) <= 63 for value in select_routers("w" * 80).values())
