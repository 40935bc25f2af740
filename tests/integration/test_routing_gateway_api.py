"""Traffic by an HTTPRoute on an API server: taken over, moved, watched and given back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from switchyard.adapters.connection import Answer, Connection
from switchyard.adapters.routing.gateway_api import GatewayApiRouter
from switchyard.adapters.routing.route_form import MirrorState
from switchyard.core.routing.document import Exclusion, Match, Segment, Shadow, Stickiness
from switchyard.core.routing.plan import Feature, Share
from switchyard.engine.ports import Conflict, Denied, Failed
from switchyard.engine.routing import Applied

from .route_rig import BASELINE, BATCH, CANDIDATE, COMPARATOR, CUTOVER, DEFAULT, HOLDER, Rig, with_rig

EXPOSURE = {
    "gateway": {
        "parentRefs": [{"name": "public", "namespace": "infra"}],
        "hostnames": ["chat.example.com"],
        "paths": ["/v1"],
    }
}
HOLD = {"switchyard.dev/traffic-held-by": HOLDER}
MIRROR, PERCENT = "HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror"
GROUP = "gateway.networking.k8s.io"

Json = dict[str, Any]


def batch(candidate: float = 0, shadow: float = 0) -> Segment:
    return BATCH.model_copy(update={"candidate_percent": candidate, "shadow_percent": shadow})


def rest(candidate: float = 0, shadow: float = 0) -> Segment:
    return DEFAULT.model_copy(update={"candidate_percent": candidate, "shadow_percent": shadow})


def weights(rule: Mapping[str, Any]) -> dict[str, int]:
    return {each["name"]: each["weight"] for each in rule["backendRefs"]}


def mirrors(rule: Mapping[str, Any]) -> list[Json]:
    found = [each["requestMirror"] for each in rule.get("filters") or ()]
    return [{**each, "backendRef": each["backendRef"]["name"]} for each in found]


async def add_gateway(
    rig: Rig, features: list[Any] | None, name: str = "public", of_class: str = "envoy"
) -> None:
    """A Gateway and its class, whose status lists these features; None: lists none at all."""
    client = rig.sandbox.client
    body = {"metadata": {"name": of_class}, "spec": {"controllerName": "example.com/gateway"}}
    made = await client.request(
        "POST",
        f"/apis/{GROUP}/v1/gatewayclasses",
        body={"apiVersion": f"{GROUP}/v1", "kind": "GatewayClass", **body},
    )
    status: Json = {"conditions": []}
    if features is not None:
        status["supportedFeatures"] = [{"name": each} for each in features]
    path = f"/apis/{GROUP}/v1/gatewayclasses/{of_class}/status"
    await client.request("PUT", path, body={**made, "status": status})
    if name == "public":
        await client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "infra"}})
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    await client.request(
        "POST",
        f"/apis/{GROUP}/v1/namespaces/infra/gateways",
        body={
            "apiVersion": f"{GROUP}/v1",
            "kind": "Gateway",
            "metadata": {"name": name},
            "spec": {"gatewayClassName": of_class, "listeners": listeners},
        },
    )


class Refusing:
    """A way to the API server that takes no change."""

    def __init__(self, connection: Connection, message: str) -> None:
        self._connection, self._message = connection, message

    async def request(self, method: str, path: str, **more: Any) -> Answer | Failed:
        if method == "PATCH":
            return Answer(500, {"message": self._message})
        return await self._connection.request(method, path, **more)


def test_a_cutover_takes_the_rules_over_and_placement_leaves_them_alone() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        assert await router.apply(rig.plan(1, batch(10), rest())) == Applied()
        rules = await rig.rules()
        assert [(each["name"], weights(each)) for each in rules] == [
            ("batch", {BASELINE: 90, CANDIDATE: 10}),
            ("default", {BASELINE: 100, CANDIDATE: 0}),
        ]
        assert await rig.marks() == {**HOLD, "switchyard.dev/traffic-version": "1"}
        await rig.placement_passes()
        assert await rig.rules() == rules
        route = await rig.route()
        assert route["spec"]["hostnames"] == ["chat.example.com"]
        owners = [
            each["manager"]
            for each in route["metadata"]["managedFields"]
            if "f:rules" in (each["fieldsV1"].get("f:spec") or {})
        ]
        assert owners == [CUTOVER]

    with_rig(EXPOSURE, scenario)


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (0.5, {BASELINE: 199, CANDIDATE: 1}),
        (33, {BASELINE: 67, CANDIDATE: 33}),
        (100, {BASELINE: 0, CANDIDATE: 1}),
    ],
)
def test_weights_keep_the_exact_ratio(percent: float, expected: dict[str, int]) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.router(GatewayApiRouter).apply(rig.plan(1, rest(percent)))
        found = weights((await rig.rules())[0])
        assert found[CANDIDATE] * expected[BASELINE] == found[BASELINE] * expected[CANDIDATE]
        assert sum(found.values()) > 0

    with_rig(EXPOSURE, scenario)


def test_nothing_is_written_while_the_baseline_is_not_ready() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.set_ready(BASELINE, 0)
        before = await rig.route()
        result = await rig.router(GatewayApiRouter).apply(rig.plan(1, rest(10)))
        assert result == Applied(f"a ready endpoint of Service shop/{BASELINE} (baseline)")
        assert await rig.route() == before

    with_rig(EXPOSURE, scenario)


def test_a_weight_is_held_back_until_the_candidate_is_ready_and_the_version_with_it() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        await router.apply(rig.plan(1, batch(10), rest(5)))
        await rig.set_ready(CANDIDATE, 0)
        plan = rig.plan(2, batch(50), rest())
        result = await router.apply(plan)
        assert isinstance(result, Applied)
        assert "segment batch stays at 10 % instead of 50 %" in result.waiting_for
        assert [weights(each)[CANDIDATE] for each in await rig.rules()] == [10, 0]
        assert (await rig.marks())["switchyard.dev/traffic-version"] == "1"
        await rig.answer_as_gateway()
        state = await router.observe(plan)
        assert "version 2 to be written" in state.waiting_for
        await rig.set_ready(CANDIDATE, 2)
        assert await router.apply(plan) == Applied()
        await rig.answer_as_gateway()
        state = await router.observe(plan)
        assert (state.version, state.waiting_for, state.problem) == (2, "", "")

    with_rig(EXPOSURE, scenario)


def test_applied_twice_nothing_is_written_the_second_time() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        plan = rig.plan(3, batch(10), rest(0, 5))
        await router.apply(plan)
        before = await rig.route()
        assert await router.apply(plan) == Applied()
        assert await rig.route() == before

    with_rig(EXPOSURE, scenario)


@pytest.mark.parametrize(
    ("shadow", "field"),
    [(7, {"percent": 7}), (0.5, {"fraction": {"numerator": 5, "denominator": 1000}}), (100, {})],
)
def test_copies_go_to_the_comparator_at_the_asked_percent(shadow: float, field: Json) -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        await router.apply(rig.plan(1, batch(), rest(0, shadow)))
        first, last = await rig.rules()
        assert mirrors(first) == []
        assert mirrors(last) == [{"backendRef": COMPARATOR, **field}]
        await rig.answer_as_gateway()
        state = await router.observe(rig.plan(1, batch(), rest(0, shadow)))
        assert state.shares["default"] == Share(0, shadow)

    with_rig(EXPOSURE, scenario)


def test_a_mirror_is_taken_out_when_the_shadow_ends() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        await router.apply(rig.plan(1, rest(0, 10)))
        await router.apply(rig.plan(2, rest(0, 0)))
        assert mirrors((await rig.rules())[0]) == []

    with_rig(EXPOSURE, scenario)


ANYTHING = Shadow(methods=("GET", "POST", "PUT", "PATCH", "DELETE"))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"comparators": (), "shadow": ANYTHING}, CANDIDATE),
        ({"comparators": ()}, COMPARATOR),
        ({"shadow": ANYTHING}, COMPARATOR),
        (
            {
                "comparators": (),
                "shadow": ANYTHING.model_copy(update={"exclude": (Exclusion(path_prefix="/v1/files"),)}),
            },
            COMPARATOR,
        ),
    ],
    ids=["nothing to compare or leave out", "PUT is not to be repeated", "comparison", "a path is excluded"],
)
def test_copies_pass_by_the_comparator_only_where_nothing_is_compared_or_left_out(
    changes: Json, place: str
) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.router(GatewayApiRouter).apply(rig.plan(1, rest(0, 10), **changes))
        assert [each["backendRef"] for each in mirrors((await rig.rules())[0])] == [place]

    with_rig(EXPOSURE, scenario)


def test_a_comparator_that_can_not_be_made_holds_the_copies_back_but_no_weight() -> None:
    async def scenario(rig: Rig) -> None:
        rig.comparator.answer = Denied(403, "exceeded quota")
        result = await rig.router(GatewayApiRouter).apply(rig.plan(1, batch(20), rest(0, 10)))
        assert isinstance(result, Applied)
        assert "exceeded quota" in result.waiting_for
        first, last = await rig.rules()
        assert weights(first)[CANDIDATE] == 20
        assert mirrors(last) == []

    with_rig(EXPOSURE, scenario)


def test_what_is_in_force_counts_only_once_every_gateway_has_taken_this_generation() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        plan = rig.plan(1, batch(10), rest())
        await router.apply(plan)
        state = await router.observe(plan)
        assert (state.is_engaged, state.version, state.shares) == (True, None, {})
        assert "Gateway infra/public to take generation" in state.waiting_for
        await rig.answer_as_gateway()
        state = await router.observe(plan)
        assert (state.version, state.waiting_for, state.problem) == (1, "", "")
        assert state.shares == {"batch": Share(10, 0), "default": Share(0, 0)}
        later = rig.plan(2, batch(30), rest())
        await router.apply(later)
        state = await router.observe(later)  # the gateway still speaks of the generation before
        assert (state.version, state.shares) == (None, {})
        assert "Gateway infra/public to take generation" in state.waiting_for

    with_rig(EXPOSURE, scenario)


@pytest.mark.parametrize(
    ("condition", "status", "message"),
    [
        ("Accepted", "False", "no listener allows it"),
        ("ResolvedRefs", "False", "Service chat-comparator does not exist"),
        ("PartiallyInvalid", "True", "dropped rule 1"),
    ],
)
def test_what_a_gateway_refuses_is_a_problem_in_its_words(condition: str, status: str, message: str) -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        plan = rig.plan(1, rest(10))
        await router.apply(plan)
        await rig.answer_as_gateway(**{condition: (status, message)})
        state = await router.observe(plan)
        assert state.problem == f"Gateway infra/public says {condition} {status}: {message}"
        assert (state.version, state.shares) == (None, {})

    with_rig(EXPOSURE, scenario)


def test_rules_edited_by_hand_are_reported_with_who_did_it_and_written_again_by_the_next_apply() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        plan = rig.plan(1, batch(10), rest())
        await router.apply(plan)

        def favour(body: Json) -> None:
            body["spec"]["rules"][0]["backendRefs"][1]["weight"] = 90

        await rig.edit_route(favour)
        await rig.answer_as_gateway()
        state = await router.observe(plan)
        (drift,) = state.drift
        assert drift.what == "HTTPRoute shop/chat spec.rules"
        assert drift.by.startswith("kubectl-edit (Update at 2")
        assert (drift.found, drift.wanted) == ("batch 50 %, default 0 %", "batch 10 %, default 0 %")
        assert state.version is None
        assert state.shares["batch"] == Share(50, 0)
        assert await router.apply(plan) == Applied()
        await rig.answer_as_gateway()
        state = await router.observe(plan)
        assert (state.drift, state.version) == ((), 1)

    with_rig(EXPOSURE, scenario)


def test_an_apply_of_the_rules_by_another_manager_is_drift_too() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        plan = rig.plan(1, rest(10))
        await router.apply(plan)
        route = await rig.route()
        body = {key: route[key] for key in ("apiVersion", "kind")}
        rules = [{"backendRefs": [{"name": "chat", "port": 8000}]}]
        metadata = {"name": "chat", "namespace": "shop"}
        await rig.apply({**body, "metadata": metadata, "spec": {"rules": rules}}, manager="argocd-controller")
        (drift,) = (await router.observe(plan)).drift
        assert drift.by.startswith("argocd-controller (Apply at ")
        assert drift.found == "no rule of a segment"

    with_rig(EXPOSURE, scenario)


def test_a_mark_that_was_taken_off_is_reported_and_put_back() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        plan = rig.plan(1, rest(10))
        await router.apply(plan)

        def strip(body: Json) -> None:
            del body["metadata"]["annotations"]["switchyard.dev/traffic-held-by"]

        await rig.edit_route(strip, manager="kubectl-annotate")
        state = await router.observe(plan)
        assert state.is_engaged
        (drift,) = state.drift
        assert drift.what.endswith("annotation switchyard.dev/traffic-held-by")
        assert drift.by == "somebody who removed it, of whom no record is kept"
        assert (drift.found, drift.wanted) == ("absent", HOLDER)
        await router.apply(plan)
        assert (await rig.marks()).items() >= HOLD.items()
        assert (await router.observe(plan)).drift == ()

    with_rig(EXPOSURE, scenario)


def test_a_route_that_another_cutover_holds_is_left_alone() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        await router.apply(rig.plan(1, rest(10)))
        before = await rig.route()
        other = rig.plan(5, rest(90), holder="another")
        for result in (await router.apply(other), await router.release(other, CANDIDATE)):
            assert isinstance(result, Denied)
            assert f"HTTPRoute shop/chat is held by {HOLDER}" in result.message
        assert f"is held by {HOLDER}" in (await router.observe(other)).problem
        assert await rig.route() == before

    with_rig(EXPOSURE, scenario)


def test_an_older_version_never_replaces_a_newer_one() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        await router.apply(rig.plan(7, rest()))
        result = await router.apply(rig.plan(6, rest(50)))
        assert result == Conflict("HTTPRoute shop/chat carries version 7, newer than 6")
        assert weights((await rig.rules())[0])[CANDIDATE] == 0

    with_rig(EXPOSURE, scenario)


def test_a_route_of_that_name_that_is_not_the_workloads_is_never_written() -> None:
    async def scenario(rig: Rig) -> None:
        before = await rig.route()
        result = await rig.router(GatewayApiRouter).apply(rig.plan(1, rest(), workload_uid="another"))
        assert isinstance(result, Denied)
        assert result.is_name_taken
        assert await rig.route() == before

    with_rig(EXPOSURE, scenario)


def test_a_route_that_is_absent_is_a_problem_that_names_the_way_out() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.sandbox.client.request("DELETE", rig.resource.path("shop", "chat"))
        router = rig.router(GatewayApiRouter)
        state = await router.observe(rig.plan())
        assert not state.is_engaged
        assert "HTTPRoute shop/chat is absent: give the workload spec.exposure.gateway" in state.problem
        support = await router.supports(rig.plan())
        assert support.features == frozenset()
        assert set(support.reasons) == set(Feature)
        assert await router.release(rig.plan(), BASELINE) == Applied()

    with_rig(EXPOSURE, scenario)


def test_no_first_copy_keeps_the_next_step_waiting() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        plan = rig.plan(1, rest(0, 20))
        await router.apply(plan)
        await rig.answer_as_gateway()
        rig.comparator.state = MirrorState(copies=0)
        state = await router.observe(plan)
        assert state.waiting_for == "a first copy: 20 % are asked for, and none has arrived"
        rig.comparator.state = MirrorState(copies=3)
        assert (await router.observe(plan)).waiting_for == ""

    with_rig(EXPOSURE, scenario)


def test_a_version_counts_once_the_comparator_has_it_too() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        await router.apply(rig.plan(1, rest(0, 20)))
        await router.apply(rig.plan(2, rest(0, 30)))
        rig.comparator.applied.pop()
        await rig.answer_as_gateway()
        assert (await router.observe(rig.plan(2, rest(0, 30)))).version == 1

    with_rig(EXPOSURE, scenario)


def test_samples_come_from_the_comparator_and_from_nowhere_else() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        assert await router.read_samples(rig.plan(1, rest(10, 0))) == ()
        samples = await router.read_samples(rig.plan(1, rest(0, 10)))
        assert isinstance(samples, tuple)
        assert [each.version for each in samples] == [1]

    with_rig(EXPOSURE, scenario)


@pytest.mark.parametrize("service", [CANDIDATE, BASELINE])
def test_a_release_leaves_route_and_stable_service_on_one_track_and_no_mark(service: str) -> None:
    moves = service == CANDIDATE

    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        plan = rig.plan(4, rest(100 if moves else 0, 5))
        await router.apply(plan)
        result = await router.release(plan, service)
        assert isinstance(result, Applied)
        assert "Gateway infra/public to take generation" in result.waiting_for
        assert weights((await rig.rules())[0]) == {service: 1}
        assert (await rig.marks()).items() >= HOLD.items()
        assert await rig.stable_track() == (service, HOLDER if moves else "")
        assert rig.comparator.is_there  # copies may still be on their way to it
        await rig.answer_as_gateway()
        assert await router.release(plan, service) == Applied()
        assert await rig.marks() == {}
        assert await rig.stable_track() == (service, "")
        assert not rig.comparator.is_there
        assert not (await router.observe(plan)).is_engaged
        await rig.placement_passes()
        (rule,) = await rig.rules()
        assert weights(rule) == {"chat": 1}
        assert await router.release(plan, service) == Applied()

    with_rig(EXPOSURE, scenario)


def test_a_release_waits_for_the_track_that_is_to_serve() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        plan = rig.plan(1, rest(100))
        await router.apply(plan)
        await rig.set_ready(BASELINE, 0)
        before = await rig.route()
        assert await router.release(plan, BASELINE) == Applied(f"a ready endpoint of Service shop/{BASELINE}")
        assert await rig.route() == before

    with_rig(EXPOSURE, scenario)


@pytest.mark.parametrize(
    ("features", "missing", "noted"),
    [
        ([MIRROR, PERCENT], set(), set()),
        ([MIRROR], {Feature.MIRROR_PERCENT}, set()),
        (["HTTPRoute"], {Feature.MIRROR, Feature.MIRROR_PERCENT, Feature.COMPARISON}, set()),
        ([PERCENT], {Feature.MIRROR, Feature.MIRROR_PERCENT, Feature.COMPARISON}, set()),
        (None, set(), {Feature.MIRROR, Feature.MIRROR_PERCENT}),
    ],
    ids=["all", "no percent", "no mirror", "percent without mirror", "says nothing"],
)
def test_support_for_mirrors_is_what_the_class_claims(
    features: list[str] | None, missing: set[Feature], noted: set[Feature]
) -> None:
    async def scenario(rig: Rig) -> None:
        await add_gateway(rig, features)
        support = await rig.router(GatewayApiRouter).supports(rig.plan(1, batch(), rest()))
        assert support.features == set(Feature) - missing - {Feature.STICKINESS}
        assert set(support.reasons) == missing | noted | {Feature.STICKINESS}
        assert all("builtin" in support.reasons[each] for each in {*missing, Feature.STICKINESS})
        assert all("GatewayClass envoy" in support.reasons[each] for each in missing | noted)

    with_rig(EXPOSURE, scenario)


def test_of_several_gateways_all_must_be_able_to() -> None:
    async def scenario(rig: Rig) -> None:
        await add_gateway(rig, [MIRROR, PERCENT])
        await add_gateway(rig, [MIRROR], name="private", of_class="contour")
        support = await rig.router(GatewayApiRouter).supports(rig.plan())
        assert Feature.MIRROR in support.features
        assert Feature.MIRROR_PERCENT not in support.features
        assert "GatewayClass contour does not list" in support.reasons[Feature.MIRROR_PERCENT]

    both = [{"name": "public", "namespace": "infra"}, {"name": "private", "namespace": "infra"}]
    with_rig({"gateway": {"parentRefs": both}}, scenario)


def test_a_share_of_copies_is_never_written_for_a_class_that_would_copy_everything() -> None:
    async def scenario(rig: Rig) -> None:
        await add_gateway(rig, [MIRROR])
        router = rig.router(GatewayApiRouter)
        before = await rig.route()
        result = await router.apply(rig.plan(1, rest(0, 10)))
        assert isinstance(result, Denied)
        assert "it would copy all requests" in result.message
        assert await rig.route() == before
        assert await router.apply(rig.plan(1, rest(0, 100))) == Applied()
        assert mirrors((await rig.rules())[0]) == [{"backendRef": COMPARATOR}]

    with_rig(EXPOSURE, scenario)


def test_a_cluster_whose_definitions_are_too_old_is_told_which_release_to_install() -> None:
    async def scenario(rig: Rig) -> None:
        said = "failed to create typed patch object: .spec.rules[0].name: field not declared in schema"
        refused = GatewayApiRouter(Refusing(rig.connection, said), rig.comparator)  # type: ignore[arg-type]
        result = await refused.apply(rig.plan(1, rest()))
        assert isinstance(result, Denied)
        assert result.message.startswith(said)
        assert "install release 1.4 of the Gateway API" in result.message

    with_rig(EXPOSURE, scenario)


def test_what_a_route_can_not_say_is_refused_with_the_segment() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(GatewayApiRouter)
        outside = Segment(name="files", match=Match(path_prefix="/files"))
        sticky = DEFAULT.model_copy(update={"sticky": Stickiness(cookie="session")})
        before = await rig.route()
        for plan, said in (
            (rig.plan(1, outside, rest()), "segment files: pathPrefix /files is outside"),
            (rig.plan(1, sticky), "segment default: sticky"),
        ):
            result = await router.apply(plan)
            assert isinstance(result, Denied)
            assert said in result.message
        support = await router.supports(rig.plan(1, outside, rest()))
        assert Feature.SEGMENTS not in support.features
        assert "segment files" in support.reasons[Feature.SEGMENTS]
        assert await rig.route() == before

    with_rig(EXPOSURE, scenario)
