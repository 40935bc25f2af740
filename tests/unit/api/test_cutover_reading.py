"""Whatever the API server takes as a cutover plan can be read, also into facts that routers follow."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.contract.test_crd_admission import documents
from tests.unit.api.cutover_cases import plan
from tests.unit.api.test_cutover_definition import SCHEMA, admit

from switchyard.api.parsing import parse_plan
from switchyard.core.cutover.facts import list_comparators, read_plan
from switchyard.core.cutover.types import PlanFacts
from switchyard.core.routing.document import Arm, Arms, RoutingDocument, Segment, Shadow
from switchyard.dataplane.compare.registry import check_comparators

SPEC = SCHEMA["properties"]["spec"]["properties"]
SEGMENT = SPEC["segments"]["items"]["properties"]
GATE = SPEC["gates"]["items"]["properties"]
KINDS = sorted(set(GATE) - {"name", "stages"})
QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def read(body: dict[str, Any]) -> PlanFacts:
    spec = parse_plan(body).spec
    return read_plan(spec, None, namespace="ml", name="it", uid="u", generation=1)


@QUICK
@given(spec=documents(SCHEMA["properties"]["spec"]))
def test_whatever_the_schema_takes_the_models_read(spec: dict[str, Any]) -> None:
    stored, problems = admit(plan(**spec))
    parse_plan(stored)
    assert all(problem.reason == "FieldValueInvalid" for problem in problems), "only rules may object"


@QUICK
@given(status=documents(SCHEMA["properties"]["status"]))
def test_whatever_status_the_schema_takes_the_models_read(status: dict[str, Any]) -> None:
    """Also one with moments that are none: the operator writes over it, so it must not stop at it."""
    stored, problems = admit({**plan(), "status": status})
    assert {problem.detail.partition(": ")[0] for problem in problems} <= {
        f"{problem.field} in body must be of type date-time" for problem in problems
    }
    parse_plan(stored)


@st.composite
def gates(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(KINDS))
    return {"name": "it", kind: draw(documents(GATE[kind]))}


@QUICK
@given(gate=gates())
def test_routers_take_the_comparator_of_every_gate_that_the_server_takes(gate: dict[str, Any]) -> None:
    stored, problems = admit(plan(gates=[gate]))
    assume(not problems)
    assert check_comparators(list_comparators(read(stored).gates)) == ()


@QUICK
@given(
    match=documents(SEGMENT["match"]),
    sticky=documents(SPEC["traffic"]["properties"]["sticky"]),
    exclude=documents(SPEC["shadow"]["properties"]["exclude"]),
)
def test_routers_take_the_segments_of_every_plan_that_the_server_takes(
    match: dict[str, Any], sticky: dict[str, Any], exclude: list[dict[str, Any]]
) -> None:
    body = plan(
        traffic={"sticky": sticky}, shadow={"exclude": exclude}, segments=[{"name": "some", "match": match}]
    )
    stored, problems = admit(body)
    assume(not problems)
    facts = read(stored)
    some, rest = RoutingDocument(
        version=1,
        arms=Arms(baseline=Arm(url="http://a:1"), candidate=Arm(url="http://b:1")),
        segments=tuple(
            Segment(name=each.name, match=each.match, sticky=each.sticky) for each in facts.segments
        ),
        shadow=Shadow(exclude=facts.shadow.exclude),
    ).segments
    assert (some.match, rest.match) == (facts.segments[0].match, None)
