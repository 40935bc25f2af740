"""When a recommendation becomes a plan, what that plan says, and what is kept of plans that ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.api.test_cutover_definition import admit
from tests.unit.core import worlds
from tests.unit.core.plans import plan
from tests.unit.core.test_cutover_tracks import two_pools
from tests.unit.core.worlds import decision, deployments, node, pool

from switchyard.api import InferenceWorkloadSpec
from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.api.parsing import parse_plan
from switchyard.core.advise import advise
from switchyard.core.cutover.observing import hash_inputs
from switchyard.core.cutover.orders import TRAFFIC_FINALIZER
from switchyard.core.cutover.proposing import build_plan, name_plan
from switchyard.core.cutover.stored import read_state
from switchyard.core.cutover.types import State
from switchyard.core.cutover.weighing import weigh
from switchyard.core.cutovers import build_cutovers, recall_plan
from switchyard.core.decide import decide
from switchyard.core.decisions import Decisions, ObjectDecision
from switchyard.core.world import Meta, Plan, Refusal, Unreadable, Workload, World

AUTO = {"migration": "auto", "stabilisation": "10m"}
KEY = ("team", "chat")


def pass_over(at: World) -> Decisions:
    return decide(at, cutovers=build_cutovers(weigh))


def made(decisions: Decisions) -> list[dict[str, Any]]:
    """The plans that are to be made."""
    return [
        dict(apply.body)
        for each in decisions.objects
        for apply in each.applies
        if apply.body["kind"] == "CutoverPlan"
    ]


def carry_out(at: World, decisions: Decisions) -> World:
    """As `worlds.apply`, with plans that are made, deleted and told of."""
    others, plans = [], {each.key: each for each in at.plans}
    for each in decisions.objects:
        if each.kind != "CutoverPlan":
            others.append(each)
            continue
        for apply in each.applies:
            assert apply.is_new
            metadata = apply.body["metadata"]
            assert (metadata["namespace"], metadata["name"]) not in plans, "a plan is made once"
            uid = f"uid-{metadata['name']}"
            meta = Meta(metadata["name"], "team", uid, "1", 1, at.now, metadata["labels"])
            spec = CutoverPlanSpec.model_validate(apply.body["spec"])
            plans["team", meta.name] = Plan(meta, spec, CutoverPlanStatus())
        for delete in each.deletes:
            del plans["team", delete.child.meta.name]
        if each.status is not None:
            key = each.namespace, each.name
            status = CutoverPlanStatus.model_validate(each.status.status)
            plans[key] = replace(plans[key], status=status)
    after = worlds.apply(at, Decisions(tuple(others)))
    return replace(after, plans=tuple(plans[key] for key in sorted(plans)))


def look(at: World) -> World:
    """The world after the advisor looked at it, one pass, and ten minutes."""
    at = replace(at, advice=advise(replace(at, advice=None), recall=recall_plan))
    after = carry_out(at, pass_over(at))
    return replace(after, now=after.now + timedelta(minutes=10))


def advised(**changes: Any) -> World:
    """A workload that may move by itself, with a settled recommendation in its status and no plan yet."""
    spec: dict[str, Any] = {"placement": {**AUTO, **changes.pop("placement", {})}, **changes}
    at = replace(two_pools(2, **spec), plans=())
    at = look(look(at))
    recommendation = at.workloads[0].status.recommendation
    assert recommendation is not None
    assert recommendation.settled
    return at


def proposed(at: World) -> dict[str, Any]:
    (body,) = made(pass_over(at))
    return body


def waits_for(at: World) -> str:
    """Why the recommendation has no plan yet, as one pass would write it."""
    assert made(pass_over(at)) == []
    after = carry_out(at, pass_over(at))
    assert pass_over(after).objects == (), "said once"
    shown = after.workloads[0].status.recommendation
    return (shown.waits_for or "") if shown is not None else ""


def ended(
    at: World,
    phase: str,
    ago: timedelta = timedelta(),
    name: str = "earlier",
    *,
    target: str = "new",
    is_ours: bool = False,
) -> Plan:
    """A plan of the workload that came to its end so long ago."""
    base = plan(name, target={"variant": "v", "pool": target})
    if is_ours:
        marks = proposed(advised())["metadata"]["labels"]
        base = replace(base, meta=replace(base.meta, labels=marks))
    baseline = {"variant": "v", "pool": "old", "track": "chat-v-old"}
    told: dict[str, Any] = {
        "phase": phase,
        "baseline": baseline,
        "candidate": {"variant": "v", "pool": target, "track": f"chat-v-{target}"},
        "completedAt": (at.now - ago).isoformat(),
        "observedGeneration": 1,
    }
    status = CutoverPlanStatus.model_validate(told)
    inputs = hash_inputs(base, at.workloads[0], read_state(status))
    return replace(base, status=CutoverPlanStatus.model_validate({**told, "machine": {"inputsHash": inputs}}))


def with_plans(at: World, *plans: Plan) -> World:
    return replace(at, plans=tuple(sorted(plans, key=lambda each: each.key)))


# -- what becomes a plan


def test_a_settled_recommendation_becomes_a_plan_with_the_usual_gates() -> None:
    at = advised(
        objectives=[
            {"metric": "latency", "percentile": 50, "target": "400ms"},
            {"metric": "latency", "percentile": 95, "target": "800ms"},
        ]
    )
    body = proposed(at)
    since = at.workloads[0].status.recommendation
    assert since is not None
    assert body["metadata"] == {
        "name": name_plan(at.workloads[0], ("v", "new"), since.since or ""),
        "namespace": "team",
        "labels": {"app.kubernetes.io/managed-by": "switchyard", "switchyard.dev/workload": "chat"},
        "ownerReferences": [
            {
                "apiVersion": "switchyard.dev/v1alpha1",
                "kind": "InferenceWorkload",
                "name": "chat",
                "uid": "uid-chat",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert body["spec"] == {
        "workloadRef": {"name": "chat"},
        "target": {"variant": "v", "pool": "new"},
        "gates": [
            {"name": "errors", "errors": {}},
            {"name": "latency-p50", "latency": {"metric": "latency", "target": "400ms"}},
            {"name": "latency-p95", "latency": {"metric": "latency", "target": "800ms"}},
            {"name": "stability", "stability": {}},
            {"name": "cost", "cost": {}},
        ],
        "analysis": {"onInconclusive": "rollback"},
        "economics": {"requirePaybackWithin": "24h"},
    }


def test_the_workload_is_told_which_plan_moves_it_where_and_what_that_saves() -> None:
    decisions = pass_over(advised())
    (told,) = [note for each in decisions.objects for note in each.events if note.reason == "CutoverProposed"]
    assert (told.kind, told.meta.name, told.type) == ("InferenceWorkload", "chat", "Normal")
    assert made(decisions)[0]["metadata"]["name"] in told.message
    assert "2 x v in new: saves 4.00 per hour (67%); the change is repaid after" in told.message


def test_a_plan_is_made_once_and_nothing_of_it_is_written_again_but_its_status() -> None:
    at, bodies = advised(), 0
    for _ in range(6):
        decisions = pass_over(at)
        bodies += len(made(decisions))
        at = replace(carry_out(at, decisions), now=at.now + timedelta(seconds=30))
    assert bodies == 1
    assert len(at.plans) == 1
    assert at.plans[0].status.phase == "Validating"
    assert at.workloads[0].status.recommendation is None, "a workload that a plan moves is advised nothing"
    assert deployments(at) == {"chat-v-old": 2}


def test_a_plan_that_users_edited_stays_as_they_left_it() -> None:
    at = advised()
    at = carry_out(at, pass_over(at))
    edited = at.plans[0].spec.model_copy(update={"suspend": True})
    at = replace(at, plans=(replace(at.plans[0], spec=edited),))
    for _ in range(4):
        at = look(at)
    assert [each.spec for each in at.plans] == [edited]


@pytest.mark.parametrize("migration", ["propose", "manual"])
def test_without_leave_nothing_is_made(migration: str) -> None:
    at = replace(two_pools(2, placement={**AUTO, "migration": migration}), plans=())
    for _ in range(4):
        at = look(at)
        assert made(pass_over(at)) == []


def test_nothing_is_made_before_the_status_says_that_the_recommendation_is_settled() -> None:
    at = look(replace(two_pools(2, placement=AUTO), plans=()))
    at = replace(at, advice=advise(at, recall=recall_plan))
    stored = at.workloads[0].status.recommendation
    assert stored is not None
    assert not stored.settled
    assert made(pass_over(at)) == [], "settled in this pass, stored by it"
    assert len(made(pass_over(carry_out(at, pass_over(at))))) == 1


def test_a_world_without_the_machine_of_plans_has_none_made() -> None:
    assert made(decide(advised())) == []


def test_a_recommendation_that_is_withdrawn_makes_no_plan() -> None:
    at = advised()
    dear = tuple(
        replace(each, spec=pool("new", "9").spec) if each.meta.name == "new" else each for each in at.pools
    )
    at = replace(at, pools=dear)
    at = replace(at, advice=advise(at, recall=recall_plan))
    assert made(pass_over(at)) == []


def test_a_mix_has_no_side_to_move_from_whatever_its_recommendation() -> None:
    at = advised()
    chat = at.workloads[0]
    mixed = chat.spec.placement.model_copy(update={"mode": "mixed"})
    chat = replace(chat, spec=chat.spec.model_copy(update={"placement": mixed}))
    assert made(pass_over(replace(at, workloads=(chat,)))) == []


@pytest.mark.parametrize("phase", ["Pending", "Validating", "Canary", "Paused", "RollingBack"])
def test_no_second_plan_is_made_while_any_moves_the_workload(phase: str) -> None:
    at = advised()
    under_way = replace(plan("by-hand"), status=CutoverPlanStatus.model_validate({"phase": phase}))
    assert made(pass_over(with_plans(at, under_way))) == []


def test_no_plan_is_made_while_one_that_nobody_can_read_may_move_the_workload() -> None:
    at = advised()
    blind = Unreadable("CutoverPlan", Meta("odd", "team", "uid-odd", "1", 1), "spec.target: missing")
    only_blind = replace(at, unreadable=(blind,))
    assert made(pass_over(only_blind)) == []
    told = carry_out(only_blind, replace(pass_over(only_blind), objects=pass_over(only_blind).objects[:1]))
    shown = told.workloads[0].status.recommendation
    assert shown is not None
    assert (shown.waits_for or "").startswith("WaitingForPlan: CutoverPlan odd can't be read")
    elsewhere = replace(blind, meta=replace(blind.meta, namespace="others"))
    assert len(made(pass_over(replace(at, unreadable=(elsewhere,))))) == 1
    broken = replace(plan("odd"), status=CutoverPlanStatus.model_validate({"startedAt": "yesterday"}))
    assert made(pass_over(with_plans(at, broken))) == []


def test_no_plan_is_made_of_a_workload_that_goes() -> None:
    at = advised()
    chat = at.workloads[0]
    assert (
        made(pass_over(replace(at, workloads=(replace(chat, meta=replace(chat.meta, is_deleting=True)),))))
        == []
    )


# -- plans that would only wait are not made


def test_a_place_without_room_right_now_is_waited_for_without_a_plan() -> None:
    at = advised()
    full = replace(at, nodes=(node("n0", "new", 1), *(each for each in at.nodes if each.name != "n0")))
    assert waits_for(full).startswith("InsufficientCapacity: ")
    assert len(made(pass_over(replace(carry_out(full, pass_over(full)), nodes=at.nodes)))) == 1


def test_a_baseline_without_a_ready_pod_is_not_moved_by_a_plan() -> None:
    at = advised()
    crashing = replace(at, pods=tuple(replace(each, is_ready=False) for each in at.pods))
    assert made(pass_over(crashing)) == []


def test_a_move_that_repays_after_the_horizon_is_not_begun() -> None:
    at = advised(placement={"horizon": "168h"})
    chat = at.workloads[0]
    short = InferenceWorkloadSpec.model_validate(
        {
            **chat.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
            "placement": {**AUTO, "horizon": "90m"},
        }
    )
    at = replace(at, workloads=(replace(chat, spec=short),))
    shown = decision(pass_over(at), "chat").status
    assert shown is None or shown.status["recommendation"]["settled"], "still recommended"
    assert waits_for(at).startswith("PaybackTooLong: "), "keeping the baseline warm for an hour costs too"


def test_a_budget_for_running_both_that_can_not_suffice_begins_nothing() -> None:
    terms = {"cutover": {"budget": {"maxDualRunCost": "0.50"}}}
    assert waits_for(advised(placement=terms)).startswith("DualRunBudgetExceeded: ")


def test_a_time_zone_that_nobody_knows_is_told_and_begins_nothing() -> None:
    terms = {"cutover": {"windows": [{"start": "01:00", "end": "05:00", "timeZone": "Europe/Atlantis"}]}}
    assert "Europe/Atlantis" in waits_for(advised(placement=terms))


def test_what_a_plan_waits_for_is_written_anew_only_when_the_reason_is_another() -> None:
    at = advised(placement={"cutover": {"budget": {"maxDualRunCost": "0.50"}}})
    told = waits_for(at)
    at = carry_out(at, pass_over(at))
    dearer = tuple(
        replace(each, spec=pool("old", "3.05").spec) if each.meta.name == "old" else each for each in at.pools
    )
    assert waits_for(replace(at, pools=dearer)) == told


def test_what_the_author_asks_of_such_plans_is_in_them() -> None:
    terms = {
        "windows": [{"days": ["sun"], "start": "01:00", "end": "05:00", "timeZone": "Europe/Berlin"}],
        "budget": {"maxDualRunCost": "50", "deadline": "72h"},
        "approvals": ["canary"],
        "parity": {"comparator": "json", "ignoredPaths": ["/id"]},
    }
    spec = proposed(advised(placement={"cutover": terms}))["spec"]
    assert {name: spec[name] for name in ("windows", "budget", "approvals")} == {
        name: terms[name] for name in ("windows", "budget", "approvals")
    }
    (parity,) = [each["parity"] for each in spec["gates"] if "parity" in each]
    assert (parity["comparator"], parity["ignoredPaths"]) == ("json", ["/id"])


def test_a_place_on_devices_that_are_paid_for_is_not_held_to_a_price_that_it_can_not_keep() -> None:
    paid = pool("new", "3.50", created=2, capacityType="reserved", capacity={"reservedDevices": 4})
    at = replace(two_pools(2, placement=AUTO), plans=())
    at = replace(at, pools=tuple(paid if each.meta.name == "new" else each for each in at.pools))
    at = look(look(at))
    body = proposed(at)
    assert [each["name"] for each in body["spec"]["gates"]] == ["errors", "stability"]
    assert "economics" not in body["spec"]


# -- after an end


@pytest.mark.parametrize("phase", ["RolledBack", "Aborted"])
@pytest.mark.parametrize(("hours", "is_made"), [(0, False), (23.9, False), (24.1, True)])
def test_a_target_whose_plan_came_to_nothing_is_left_alone_for_a_day(
    phase: str, hours: float, *, is_made: bool
) -> None:
    at = advised()
    at = with_plans(at, ended(at, phase, timedelta(hours=hours)))
    assert len(made(pass_over(at))) == is_made


def test_each_further_failure_doubles_the_time_and_the_loop_looks_again_at_its_end() -> None:
    at = advised()
    failed = [ended(at, "RolledBack", timedelta(hours=30 + each), f"m{each}") for each in range(2)]
    held = pass_over(with_plans(at, *failed))
    assert made(held) == []
    told = next(each.status.status for each in held.objects if each.name == "chat" and each.status)
    assert told["recommendation"]["waitsFor"].startswith("TargetBackOff: ")
    assert held.recheck_at is not None
    assert held.recheck_at <= at.now + timedelta(hours=18)
    later = replace(with_plans(at, *failed), now=at.now + timedelta(hours=18, seconds=1))
    assert len(made(pass_over(later))) == 1


def test_another_target_is_not_left_alone() -> None:
    at = advised()
    assert len(made(pass_over(with_plans(at, ended(at, "RolledBack", target="third"))))) == 1


def test_a_completed_plan_leaves_nothing_alone() -> None:
    at = advised()
    assert len(made(pass_over(with_plans(at, ended(at, "Completed"))))) == 1


def test_a_new_version_of_the_variant_is_tried_at_once() -> None:
    at = advised()
    at = with_plans(at, ended(at, "RolledBack"))
    assert made(pass_over(at)) == []
    chat = at.workloads[0]
    image = chat.spec.variants[0].model_copy(
        update={
            "container": chat.spec.variants[0].container.model_copy(update={"image": "example.com/model:2"})
        }  # type: ignore[union-attr]
    )
    newer = replace(chat, spec=chat.spec.model_copy(update={"variants": (image,)}))
    assert len(made(pass_over(replace(at, workloads=(newer,))))) == 1


def test_the_newest_three_that_ended_are_kept_and_what_others_made_stays() -> None:
    at = advised()
    old = timedelta(days=40)
    ours = [
        ended(at, "Completed", old + timedelta(days=each), f"ours-{each}", is_ours=True) for each in range(5)
    ]
    theirs = [ended(at, "Completed", old * 2, f"theirs-{each}") for each in range(4)]
    decisions = pass_over(with_plans(at, *ours, *theirs))
    gone = [delete.child.meta.name for each in decisions.objects for delete in each.deletes]
    assert sorted(gone) == ["ours-3", "ours-4"]
    after = carry_out(with_plans(at, *ours, *theirs), decisions)
    assert not [each for each in pass_over(after).objects if each.deletes]


def test_a_plan_that_backs_off_or_holds_traffic_is_not_deleted() -> None:
    at = advised()
    day = timedelta(hours=1)
    newest = [ended(at, "Completed", day * each, f"new-{each}", is_ours=True) for each in range(3)]
    backs_off = ended(at, "RolledBack", day * 20, "backs-off", is_ours=True)
    holds = ended(at, "Completed", day * 21, "holds", is_ours=True)
    holds = replace(holds, meta=replace(holds.meta, finalizers=(TRAFFIC_FINALIZER,)))
    decisions = pass_over(with_plans(at, *newest, backs_off, holds))
    assert [each for each in decisions.objects if each.deletes] == []
    at = replace(at, now=at.now + timedelta(days=2))
    decisions = pass_over(with_plans(at, *newest, backs_off, holds))
    assert [each.name for each in decisions.objects if each.deletes] == ["backs-off"]


# -- when the plan can't be written


def test_a_refusal_is_told_to_the_workload_and_never_as_a_plan_that_was_made() -> None:
    at = advised()
    name = proposed(at)["metadata"]["name"]
    refused = replace(at, refusals={("CutoverPlan", "team", name): Refusal("CutoverPlan: no right")})
    (told,) = only(pass_over(refused), name).events
    assert (told.type, told.reason) == ("Warning", "ChildRefused")
    assert "no right" in told.message


def only(decisions: Decisions, name: str) -> ObjectDecision:
    (found,) = [each for each in decisions.objects if each.name == name]
    return found


# -- whatever the workload


PERCENTILES = st.integers(1, 99)
TARGETS = st.sampled_from(["0.2ms", "1ms", "300ms", "1.5s", "59m", "2h"])
OBJECTIVES = st.lists(
    st.fixed_dictionaries(
        {"metric": st.sampled_from(["latency", "ttft", "tpot"]), "percentile": PERCENTILES, "target": TARGETS}
    ),
    max_size=8,
    unique_by=lambda each: (each["metric"], each["percentile"]),
)
CLOCKS = st.sampled_from(["00:00", "09:30", "23:59"])
TERMS = st.fixed_dictionaries(
    {},
    optional={
        "windows": st.lists(
            st.tuples(CLOCKS, CLOCKS)
            .filter(lambda pair: pair[0] != pair[1])
            .map(lambda pair: {"start": pair[0], "end": pair[1]}),
            max_size=3,
        ),
        "budget": st.fixed_dictionaries(
            {}, optional={"maxDualRunCost": st.sampled_from(["0", "12.50"]), "deadline": st.just("72h")}
        ),
        "approvals": st.lists(st.sampled_from(["shadow", "canary", "promote"]), unique=True, max_size=3),
        "parity": st.fixed_dictionaries(
            {"comparator": st.sampled_from(["exact", "json", "text", "tokens", "embedding", "topk"])},
            optional={"margin": st.sampled_from(["0.01", "0.5"])},
        ),
    },
)
NAMES = st.from_regex(r"\A[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
VARIANTS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z")
POOLS = st.from_regex(r"\A[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?\Z")


def some_workload(name: str, objectives: Sequence[Any], terms: Any, horizon: str) -> Workload:
    placement = {"migration": "auto", "cutover": terms, "horizon": horizon}
    return worlds.workload(name, objectives=objectives, placement=placement)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_plan_of_any_workload_is_one_that_an_api_server_takes_and_we_can_read(data: st.DataObject) -> None:
    objectives = data.draw(OBJECTIVES)
    horizon = data.draw(st.sampled_from(["1m", "24h", "8760h"]))
    body = build_plan(
        some_workload(data.draw(NAMES), objectives, data.draw(TERMS), horizon),
        (data.draw(VARIANTS), data.draw(POOLS)),
        "2026-11-21T12:00:00Z",
        must_repay=data.draw(st.booleans()),
        must_be_cheaper=data.draw(st.booleans()),
    )
    assert len(body["metadata"]["name"]) <= 63
    stored, problems = admit(body)
    assert problems == []
    assert parse_plan(stored).spec == parse_plan(body).spec
    assert "latency" in str(body["spec"]["gates"]) or not objectives


@settings(max_examples=30, deadline=None)
@given(VARIANTS, VARIANTS, st.integers(0, 3), st.integers(0, 3))
def test_names_tell_targets_and_recommendations_apart(one: str, other: str, first: int, second: int) -> None:
    of = some_workload("chat", [], {}, "24h")
    names = [
        name_plan(of, (variant, "pool"), f"2026-11-21T12:0{minute}:00Z")
        for variant, minute in ((one, first), (other, second))
    ]
    assert (names[0] == names[1]) == ((one, first) == (other, second))


def test_the_state_of_a_plan_that_was_just_made_is_that_of_one_that_begins() -> None:
    at = advised()
    fresh = carry_out(at, pass_over(at)).plans[0]
    assert recall_plan(fresh) == replace(State(), generation=-1)


# -- whatever happens


def happen(at: World, what: str) -> World:
    """The world after one thing that users, prices or time do; none of it is a pass of the loop."""
    if what.startswith("price"):
        _, old, new = what.split()
        prices = {"old": old, "new": new}
        changed = [replace(each, spec=pool(each.meta.name, prices[each.meta.name]).spec) for each in at.pools]
        return replace(at, pools=tuple(changed))
    if what == "delete":
        return replace(at, plans=at.plans[1:])
    if what == "by hand":
        others = (each for each in at.plans if each.meta.name != "by-hand")
        return with_plans(at, *others, plan("by-hand"))
    if what.endswith("h"):
        return replace(at, now=at.now + timedelta(hours=int(what[:-1])))
    first = next((each for each in at.plans if not is_ended(each)), None)
    if first is None:
        return at
    over = ended(at, what, name=first.meta.name, target=first.spec.target.pool or "new")
    return with_plans(
        at, *(each for each in at.plans if each is not first), replace(first, status=over.status)
    )


def is_ended(each: Plan) -> bool:
    return each.status.phase in {"Completed", "RolledBack", "Aborted"}


HAPPENINGS = st.sampled_from(
    [
        "price 3 1",
        "price 1 3",
        "price 2 2",
        "RolledBack",
        "Aborted",
        "Completed",
        "delete",
        "by hand",
        "1h",
        "30h",
    ]
)


@settings(max_examples=8, deadline=None)
@given(st.lists(HAPPENINGS, min_size=4, max_size=10))
def test_whatever_happens_a_workload_has_one_plan_of_ours_at_a_time_and_each_name_once(
    happenings: list[str],
) -> None:
    at, names = advised(), set()
    for what in happenings:
        at = happen(at, what)
        for _ in range(2):
            at = replace(at, advice=advise(replace(at, advice=None), recall=recall_plan))
            decisions = pass_over(at)
            fresh = [body["metadata"]["name"] for body in made(decisions)]
            assert len(fresh) <= 1
            assert names.isdisjoint(fresh), "no name a second time"
            assert not fresh or all(is_ended(each) for each in at.plans), "one at a time"
            names |= set(fresh)
            at = replace(carry_out(at, decisions), now=at.now + timedelta(minutes=10))
        kept = [each for each in at.plans if each.meta.name in names and each.status.phase == "Completed"]
        assert len(kept) <= 4, "three that ended, and one that ended just now"
