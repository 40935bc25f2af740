"""Traffic by a VirtualService on an API server: what differs from the Gateway API."""

from __future__ import annotations

from typing import Any

import pytest

from switchyard.adapters.routing.istio import IstioRouter
from switchyard.core.routing.document import Match, Segment, Stickiness
from switchyard.core.routing.plan import Feature, Share
from switchyard.engine.ports import Denied
from switchyard.engine.routing import Applied

from .route_rig import BASELINE, BATCH, CANDIDATE, COMPARATOR, DEFAULT, HOLDER, Rig, with_rig

EXPOSURE = {"istio": {"hosts": ["chat.example.com"], "gateways": ["infra/public"]}}
HOLD = {"switchyard.dev/traffic-held-by": HOLDER}

Json = dict[str, Any]


def batch(candidate: float = 0, shadow: float = 0) -> Segment:
    return BATCH.model_copy(update={"candidate_percent": candidate, "shadow_percent": shadow})


def rest(candidate: float = 0, shadow: float = 0) -> Segment:
    return DEFAULT.model_copy(update={"candidate_percent": candidate, "shadow_percent": shadow})


def weights(route: Json) -> dict[str, int]:
    return {each["destination"]["host"]: each["weight"] for each in route["route"]}


def test_a_cutover_takes_the_routes_over_and_placement_leaves_them_alone() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(IstioRouter)
        plan = rig.plan(1, batch(10), rest(0, 2.5))
        assert await router.apply(plan) == Applied()
        first, last = await rig.rules()
        assert first["name"] == "batch"
        assert first["match"] == [{"headers": {"x-switchyard-tier": {"exact": "batch"}}}]
        assert weights(first) == {BASELINE: 90, CANDIDATE: 10}
        assert "mirror" not in first
        assert weights(last) == {BASELINE: 100, CANDIDATE: 0}
        assert last["mirror"]["host"] == COMPARATOR
        assert last["mirrorPercentage"] == {"value": 2.5}
        await rig.placement_passes()
        assert await rig.rules() == [first, last]
        assert (await rig.route())["spec"]["hosts"] == ["chat.example.com"]
        assert await rig.marks() == {**HOLD, "switchyard.dev/traffic-version": "1"}
        before = await rig.route()
        assert await router.apply(plan) == Applied()
        assert await rig.route() == before

    with_rig(EXPOSURE, scenario)


def test_without_a_word_of_istiod_the_object_itself_is_what_is_in_force() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(IstioRouter)
        plan = rig.plan(1, batch(10), rest(0, 2.5))
        await router.apply(plan)
        state = await router.observe(plan)
        assert (state.is_engaged, state.version, state.waiting_for, state.problem) == (True, 1, "", "")
        assert state.shares == {"batch": Share(10, 0), "default": Share(0, 2.5)}
        support = await router.supports(plan)
        assert support.features == set(Feature) - {Feature.CONFIRMATION, Feature.STICKINESS}
        assert set(support.reasons) == {Feature.CONFIRMATION, Feature.STICKINESS}
        assert "PILOT_ENABLE_STATUS" in support.reasons[Feature.CONFIRMATION]

    with_rig(EXPOSURE, scenario)


def reconciled(status: str, generation: int | str, message: str = "") -> Json:
    condition = {"type": "Reconciled", "status": status, "message": message}
    return {"observedGeneration": generation, "conditions": [condition]}


def test_where_istiod_tracks_its_proxies_all_of_them_must_have_this_generation() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(IstioRouter)
        plan = rig.plan(1, rest(10))
        await router.apply(plan)
        generation = (await rig.route())["metadata"]["generation"]
        for status, waits in (
            (reconciled("True", generation - 1), f"istiod to look at generation {generation}"),
            (reconciled("True", str(generation - 1)), f"istiod to look at generation {generation}"),
            (
                reconciled("False", generation, "61/122 complete"),
                "all proxies to have VirtualService shop/chat: 61/122",
            ),
        ):
            await rig.write_status(status)
            state = await router.observe(plan)
            assert (state.version, state.shares) == (None, {})
            assert waits in state.waiting_for
        await rig.write_status(reconciled("True", str(generation)))
        state = await router.observe(plan)
        assert (state.version, state.waiting_for) == (1, "")
        assert Feature.CONFIRMATION in (await router.supports(plan)).features

    with_rig(EXPOSURE, scenario)


def test_what_istiod_calls_an_error_is_a_problem_in_its_words() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(IstioRouter)
        plan = rig.plan(1, rest(10))
        await router.apply(plan)
        messages = [
            {"level": "WARNING", "type": {"code": "IST0102"}},
            {"level": "ERROR", "type": {"code": "IST0101"}},
        ]
        await rig.write_status({"validationMessages": messages})
        state = await router.observe(plan)
        assert state.problem == "istiod says of VirtualService shop/chat: IST0101"
        assert state.version is None

    with_rig(EXPOSURE, scenario)


def test_routes_edited_by_hand_are_reported_and_written_again() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(IstioRouter)
        plan = rig.plan(1, rest(10))
        await router.apply(plan)

        def favour(body: Json) -> None:
            first, second = body["spec"]["http"][0]["route"]
            first["weight"], second["weight"] = 0, 100
            body["spec"]["http"][0]["mirrors"] = [{"destination": {"host": "spy"}}]

        await rig.edit_route(favour)
        (drift,) = (await router.observe(plan)).drift
        assert drift.what == "VirtualService shop/chat spec.http"
        assert drift.by.startswith("kubectl-edit (Update at ")
        assert (drift.found, drift.wanted) == ("default 100 % and 100 % copied", "default 10 %")
        await router.apply(plan)
        (route,) = await rig.rules()
        assert weights(route) == {BASELINE: 90, CANDIDATE: 10}
        assert "mirrors" not in route
        assert (await router.observe(plan)).drift == ()

    with_rig(EXPOSURE, scenario)


def test_a_release_leaves_one_track_and_no_mark() -> None:
    async def scenario(rig: Rig) -> None:
        router = rig.router(IstioRouter)
        plan = rig.plan(4, rest(100, 5))
        await router.apply(plan)
        assert await router.release(plan, CANDIDATE) == Applied()
        assert weights((await rig.rules())[0]) == {CANDIDATE: 1}
        assert await rig.marks() == {}
        assert await rig.stable_track() == (CANDIDATE, "")
        assert not rig.comparator.is_there
        await rig.placement_passes()
        assert weights((await rig.rules())[0]) == {"chat": 1}

    with_rig(EXPOSURE, scenario)


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        (
            Segment(name="two", match=Match(headers={"x-a": "1", "X-A": "2"})),
            "segment two: a header is asked",
        ),
        (
            Segment(name="one", match=Match(headers={"x-a": "1"}), sticky=Stickiness(header="x-user")),
            "segment one: sticky: Istio draws the arm",
        ),
    ],
)
def test_what_a_route_can_not_say_is_refused_with_the_segment(segment: Segment, said: str) -> None:
    async def scenario(rig: Rig) -> None:
        before = await rig.route()
        result = await rig.router(IstioRouter).apply(rig.plan(1, segment, rest()))
        assert isinstance(result, Denied)
        assert said in result.message
        assert await rig.route() == before

    with_rig(EXPOSURE, scenario)
