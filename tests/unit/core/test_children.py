"""The children: their names, their pods, and how a difference is noticed."""

from __future__ import annotations

import copy
import json

import pytest
from tests.unit.core.worlds import GPU, variant, workload

from switchyard.api import labels
from switchyard.core.desired import (
    Track,
    build_deployment,
    build_disruption_budget,
    build_stable_service,
    choose_strategy,
)
from switchyard.core.drift import APPLIED_HASH, differs, seal
from switchyard.core.errors import TemplateError
from switchyard.core.naming import LONGEST_NAME, label_value, track_name
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.world import PodTemplate

POOL = PoolFacts(
    "p",
    "nvidia-l4",
    "gpu",
    GPU,
    ({"pool": "p"},),
    tolerations=({"key": "dedicated", "operator": "Exists"},),
)
CHAT = workload("chat")
TRACK = Track("chat-v-p", "v", "p", 3, 2)


def deployment(pool: PoolFacts = POOL):
    return build_deployment(CHAT, TRACK, pool, None)


def pod_spec(pool: PoolFacts = POOL):
    return deployment(pool)["spec"]["template"]["spec"]


def test_short_names_are_kept():
    assert track_name("chat", "trt", "l4-eu") == "chat-trt-l4-eu"


@pytest.mark.parametrize(
    "parts", [("w" * 40, "v" * 20, "p" * 20), ("chat", "v", "pool.with.dots"), ("a" * 63, "b", "c")]
)
def test_names_that_cannot_be_are_cut_and_told_apart_by_a_hash(parts):
    name = track_name(*parts)
    assert len(name) <= LONGEST_NAME
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name != track_name(*parts[:2], parts[2] + "x")


def test_label_values_fit():
    assert label_value("x" * 63) == "x" * 63
    assert len(label_value("x" * 200)) == 63
    assert label_value("x" * 200) != label_value("x" * 201)


def test_the_pod_asks_for_the_devices_and_goes_to_the_pool():
    spec = pod_spec()
    assert spec["containers"][0]["resources"] == {"requests": {GPU: "2"}, "limits": {GPU: "2"}}
    assert spec["nodeSelector"] == {"pool": "p"}
    assert spec["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]


def test_a_pool_that_is_identified_in_several_ways_is_reached_by_affinity():
    pool = PoolFacts("p", "nvidia-l4", "gpu", GPU, ({"a": "1"}, {"b": "2", "c": "3"}))
    required = pod_spec(pool)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    keys = [[each["key"] for each in term["matchExpressions"]] for term in required["nodeSelectorTerms"]]
    assert keys == [["a"], ["b", "c"]]


def test_the_pod_is_restricted_by_default():
    spec = pod_spec()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_server_learns_where_it_runs():
    env = {each["name"]: each["value"] for each in pod_spec()["containers"][0]["env"]}
    assert env == {
        "SWITCHYARD_ACCELERATOR": "nvidia-l4",
        "SWITCHYARD_POOL": "p",
        "SWITCHYARD_VARIANT": "v",
        "SWITCHYARD_WORKLOAD": "chat",
    }


def test_a_template_keeps_what_its_author_decided():
    template = PodTemplate(
        "team",
        "tpl",
        "1",
        {
            "spec": {
                "securityContext": {"runAsNonRoot": False},
                "containers": [
                    {"name": "a", "image": "i", "readinessProbe": {"httpGet": {"path": "/", "port": 1}}}
                ],
            }
        },
    )
    chat = workload("chat", variants=[variant(container=None, podTemplateRef={"name": "tpl"})])
    spec = build_deployment(chat, TRACK, POOL, template)["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is False
    assert spec["containers"][0]["readinessProbe"] == {"httpGet": {"path": "/", "port": 1}}
    assert "resources" not in template.template["spec"]["containers"][0]


def test_a_template_without_a_container_is_refused():
    chat = workload("chat", variants=[variant(container=None, podTemplateRef={"name": "tpl"})])
    with pytest.raises(TemplateError, match="no container"):
        build_deployment(chat, TRACK, POOL, PodTemplate("team", "tpl", "1", {"spec": {}}))


def test_every_child_is_owned_and_labelled():
    for body in (deployment(), build_stable_service(CHAT, "chat-v-p"), build_disruption_budget(CHAT)):
        (owner,) = body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("InferenceWorkload", "uid-chat", True)
        assert body["metadata"]["labels"][labels.MANAGED_BY] == "switchyard"


def test_pods_match_the_selector_of_their_deployment_and_of_the_stable_service():
    marks = deployment()["spec"]["template"]["metadata"]["labels"].items()
    assert deployment()["spec"]["selector"]["matchLabels"].items() <= marks
    assert build_stable_service(CHAT, "chat-v-p")["spec"]["selector"].items() <= marks


@pytest.mark.parametrize("replicas", [1, 2, 3, 100])
def test_a_change_of_the_template_never_takes_the_last_pod(replicas):
    update = choose_strategy(replicas)["rollingUpdate"]
    assert replicas - update["maxUnavailable"] >= 1
    assert update["maxSurge"] + update["maxUnavailable"] >= 1


def observed(**changes):
    """What a server would store: defaults filled in, quantities as they were written."""
    body = copy.deepcopy(dict(deployment()))
    body["metadata"].update(uid="x", resourceVersion="7", generation=1)
    body["spec"]["progressDeadlineSeconds"] = 600
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["imagePullPolicy"] = "IfNotPresent"
    container["resources"]["limits"][GPU] = "2000m"
    container["env"].append({"name": "ADDED_BY_A_WEBHOOK", "value": "1"})
    body["status"] = {"replicas": 3}
    return body


def test_defaults_other_managers_and_spelling_are_no_difference():
    assert not differs(deployment(), observed())


EDITS = [
    ("replicas", lambda body: body["spec"].update(replicas=9)),
    ("a label that was taken away", lambda body: body["metadata"]["labels"].pop(labels.POOL)),
    ("an image", lambda body: body["spec"]["template"]["spec"]["containers"][0].update(image="evil")),
    ("an owner that was taken away", lambda body: body["metadata"].update(ownerReferences=[])),
    (
        "a toleration more",
        lambda body: body["spec"]["template"]["spec"]["tolerations"].append({"operator": "Exists"}),
    ),
    (
        "a quantity",
        lambda body: body["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"].update(
            {GPU: "3"}
        ),
    ),
    (
        "an environment variable",
        lambda body: body["spec"]["template"]["spec"]["containers"][0]["env"][0].update(value="no"),
    ),
]


@pytest.mark.parametrize("edit", [case[1] for case in EDITS], ids=[case[0] for case in EDITS])
def test_an_edit_by_hand_is_a_difference(edit):
    body = observed()
    edit(body)
    assert differs(deployment(), body)


def test_a_field_that_is_no_longer_wanted_is_a_difference():
    before = dict(deployment())
    before["spec"] = {**before["spec"], "minReadySeconds": 5}
    stored = seal({**before, "metadata": {**before["metadata"], "annotations": {}}})
    assert differs(deployment(), stored)


def test_the_hash_depends_on_content_only():
    body = json.loads(json.dumps(deployment()))
    shuffled = {key: body[key] for key in sorted(body, reverse=True)}
    shuffled["metadata"] = {key: value for key, value in body["metadata"].items() if key != "annotations"}
    assert (
        seal(shuffled)["metadata"]["annotations"][APPLIED_HASH]
        == body["metadata"]["annotations"][APPLIED_HASH]
    )
