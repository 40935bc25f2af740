"""No share grows on an arm that can't answer, and nothing else of a plan waits for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from switchyard.core.routing.document import Match, Segment
from switchyard.core.routing.plan import Share, Target, TrafficPlan
from switchyard.core.routing.precautions import Readiness, hold_back

READY = Readiness(baseline=True, candidate=True)
PERCENT = st.floats(0, 100)


def plan_of(**shares: tuple[float, float]) -> TrafficPlan:
    names = [*shares]
    segments = tuple(
        Segment(
            name=name,
            match=None if name == names[-1] else Match(headers={"x-team": name}),
            candidate_percent=candidate,
            shadow_percent=shadow,
        )
        for name, (candidate, shadow) in shares.items()
    )
    return TrafficPlan(
        namespace="shop",
        workload="chat",
        workload_uid="uid-1",
        holder="move-chat",
        version=1,
        baseline=Target("chat-gpu", 8000),
        candidate=Target("chat-inf2", 8000),
        segments=segments,
    )


def percents(plan: TrafficPlan | None) -> dict[str, tuple[float, float]]:
    assert plan is not None
    return {each.name: (each.candidate_percent, each.shadow_percent) for each in plan.segments}


def test_with_everything_ready_the_whole_plan_may_be_written() -> None:
    plan = plan_of(batch=(50, 0), default=(0, 10))
    permission = hold_back(plan, {}, READY)
    assert permission.plan == plan
    assert permission.waiting_for == ""


def test_nothing_is_taken_over_before_the_baseline_has_a_ready_endpoint() -> None:
    permission = hold_back(plan_of(default=(0, 0)), None, Readiness(baseline=False, candidate=True))
    assert permission.plan is None
    assert permission.waiting_for == "a ready endpoint of Service shop/chat-gpu (baseline)"


def test_a_weight_waits_for_the_candidate_and_says_so() -> None:
    permission = hold_back(
        plan_of(batch=(50, 0), default=(0, 0)),
        {"batch": Share(10, 0), "default": Share(0, 0)},
        Readiness(baseline=True, candidate=False),
    )
    assert percents(permission.plan) == {"batch": (10, 0), "default": (0, 0)}
    assert permission.waiting_for == (
        "a ready endpoint of Service shop/chat-inf2 (candidate): segment batch stays at 10 % instead of 50 %"
    )


def test_a_rollback_in_one_segment_is_written_while_another_waits() -> None:
    permission = hold_back(
        plan_of(batch=(0, 0), default=(20, 0)),
        {"batch": Share(50, 0), "default": Share(5, 0)},
        Readiness(baseline=True, candidate=False),
    )
    assert percents(permission.plan) == {"batch": (0, 0), "default": (5, 0)}
    assert "batch" not in permission.waiting_for


def test_a_way_back_to_a_baseline_that_is_gone_stays_where_it_is() -> None:
    permission = hold_back(
        plan_of(default=(0, 0)), {"default": Share(100, 0)}, Readiness(baseline=False, candidate=True)
    )
    assert percents(permission.plan) == {"default": (100, 0)}
    assert "chat-gpu (baseline)" in permission.waiting_for


def test_copies_wait_for_what_takes_them_but_stop_at_once() -> None:
    permission = hold_back(
        plan_of(batch=(0, 30), default=(0, 0)),
        {"default": Share(0, 30)},
        Readiness(baseline=True, candidate=True, mirror=False),
    )
    assert percents(permission.plan) == {"batch": (0, 0), "default": (0, 0)}
    assert permission.waiting_for == (
        "a ready endpoint of the comparator: segment batch is shadowed at 0 % instead of 30 %"
    )


@given(
    wanted=st.tuples(PERCENT, PERCENT),
    now=st.tuples(PERCENT, PERCENT),
    readiness=st.builds(Readiness, st.booleans(), st.booleans(), st.booleans()),
)
def test_what_is_written_lies_between_what_is_and_what_is_wanted_and_grows_on_ready_arms_only(
    wanted: tuple[float, float], now: tuple[float, float], readiness: Readiness
) -> None:
    permission = hold_back(plan_of(default=wanted), {"default": Share(*now)}, readiness)
    candidate, shadow = percents(permission.plan)["default"]
    assert candidate in (wanted[0], now[0])
    assert candidate <= now[0] or readiness.candidate
    assert candidate >= now[0] or readiness.baseline
    assert shadow <= now[1] or (readiness.candidate and readiness.mirror)
    assert ((candidate, shadow) == wanted) == (permission.waiting_for == "")
