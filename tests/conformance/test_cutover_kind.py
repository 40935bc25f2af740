"""CutoverPlan on a server: taken with its rules at a cost that the server allows, explained, and frozen under way."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.providers import Cluster
from e2e.providers.plain_http import poll
from tests.conformance.widgets import CRDS_PATH, causes
from tests.unit.api.cutover_cases import BAD, FREE, FROZEN, GOOD, PHASES_AT_REST, PHASES_UNDER_WAY, plan

from switchyard.api.crd import CUTOVER_PLAN, build_definition

API = "/apis/switchyard.dev/v1alpha1"
DEFINITION_PATH = f"{CRDS_PATH}/cutoverplans.switchyard.dev"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
EXAMPLES = [
    pytest.param(document, id=document["metadata"]["name"])
    for path in sorted((Path(__file__).parents[2] / "crds" / "examples" / "cutover").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


@pytest.fixture(scope="module")
def kind(cluster: Cluster) -> Iterator[None]:
    """The kind, served."""
    answer = cluster.http.post(CRDS_PATH, build_definition(CUTOVER_PLAN), fieldValidation="Strict")
    assert answer.code == 201, answer.text
    assert poll(lambda: cluster.http.get(f"{API}/cutoverplans").code, lambda code: code == 200) == 200
    yield
    cluster.http.delete(DEFINITION_PATH)
    poll(lambda: cluster.http.get(DEFINITION_PATH).code, lambda code: code == 404)


@pytest.fixture
def plans(kind: None, namespace: str) -> str:
    del kind
    return f"{API}/namespaces/{namespace}/cutoverplans"


def _create(http, path: str, body: dict[str, Any]):
    return http.post(path, body, fieldValidation="Strict", dryRun="All")


def test_the_definition_is_established_without_complaints(http, kind) -> None:
    del kind

    def conditions() -> dict[str, str]:
        return {
            each["type"]: each["status"] for each in http.get(DEFINITION_PATH).body["status"]["conditions"]
        }

    assert poll(conditions, lambda seen: seen.get("Established") == "True") == {
        "NamesAccepted": "True",
        "Established": "True",
    }


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_accepted_with_strict_validation(http, plans: str, example: dict[str, Any]) -> None:
    answer = _create(http, plans, example)
    assert answer.code == 201, answer.text


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_good_input_is_taken(http, plans: str, body: dict[str, Any]) -> None:
    answer = _create(http, plans, body)
    assert answer.code == 201, answer.text


@pytest.mark.parametrize(("body", "field"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_by_field(http, plans: str, body: dict[str, Any], field: str) -> None:
    answer = _create(http, plans, body)
    assert answer.code == 422, answer.text
    told = dict(causes(answer.body))
    assert any(name.startswith(field) for name in told), told


def _bring_to(http, plans: str, phase: str | None) -> str:
    """The path of a plan in a phase."""
    made = http.post(plans, plan())
    assert made.code == 201, made.text
    path = f"{plans}/it"
    if phase is not None:
        answer = http.patch(f"{path}/status", {"status": {"observedGeneration": 1, "phase": phase}})
        assert answer.body["status"]["phase"] == phase, answer.text
    return path


@pytest.mark.parametrize("phase", PHASES_UNDER_WAY)
def test_a_plan_under_way_keeps_workload_and_target(http, plans: str, phase: str) -> None:
    path = _bring_to(http, plans, phase)
    for change, field in FROZEN.values():
        answer = http.patch(path, {"spec": change})
        assert answer.code == 422, answer.text
        ((where, message),) = causes(answer.body)
        assert where == field
        assert "the plan is under way: abort it first" in message
    for change in FREE.values():
        assert http.patch(path, {"spec": change}).code == 200
    spec = http.get(path).body["spec"]
    assert (spec["workloadRef"], spec["target"]) == ({"name": "chat"}, {"variant": "neuron"})


@pytest.mark.parametrize("phase", PHASES_AT_REST)
def test_a_plan_at_rest_may_get_another_target(http, plans: str, phase: str | None) -> None:
    path = _bring_to(http, plans, phase)
    for change, _ in FROZEN.values():
        answer = http.patch(path, {"spec": change})
        assert answer.code == 200, answer.text


def test_a_replaced_object_is_held_to_its_phase_too(http, plans: str) -> None:
    """A status that comes along with a spec counts for nothing, so it can't free the target."""
    path = _bring_to(http, plans, "Canary")
    body = copy.deepcopy(http.get(path).body)
    body["spec"]["target"] = {"variant": "gpu"}
    body["status"]["phase"] = "Completed"
    answer = http.put(path, body)
    assert answer.code == 422, answer.text
    assert dict(causes(answer.body)).keys() == {"spec.target"}


def test_the_status_is_written_while_a_plan_is_under_way(http, plans: str) -> None:
    path = _bring_to(http, plans, "Canary")
    answer = http.patch(f"{path}/status", {"status": {"phase": "Soaking"}})
    assert (answer.code, answer.body["metadata"]["generation"]) == (200, 1)


def test_the_columns_answer_the_first_questions(http, kind) -> None:
    del kind
    table = http.call("GET", f"{API}/cutoverplans", headers=TABLE).body
    shown = [(each["name"], each["priority"]) for each in table["columnDefinitions"]]
    assert [name for name, priority in shown if priority == 0] == [
        "Name",
        "Workload",
        "Target",
        "Phase",
        "Segment",
        "Weight",
        "Verdict",
        "Age",
    ]
    assert [name for name, priority in shown if priority] == ["Router", "Cost", "Message"]


def test_the_short_name_finds_the_kind(cluster: Cluster, kind) -> None:
    del kind
    assert cluster.kubectl("get", "cutover", "--all-namespaces").returncode == 0


@pytest.mark.parametrize(
    "path",
    [
        "spec",
        "spec.shadow",
        "spec.segments.match",
        "spec.steps",
        "spec.gates",
        "spec.gates.errors.margin",
        "spec.gates.parity",
        "spec.analysis",
        "spec.windows",
        "status",
        "status.gates",
        "status.machine",
    ],
)
def test_explain_describes_every_field(cluster: Cluster, kind, path: str) -> None:
    del kind
    done = poll(
        lambda: cluster.kubectl("explain", f"cutoverplan.{path}", expect=None),
        lambda done: done.returncode == 0,
        every=0.5,
    )
    assert done.returncode == 0, done.stderr
    assert "<no description>" not in done.stdout
