"""What goes wrong around a cutover, and what becomes of it: the loop that ships over a simulated outside.

Users' requests are counted all along; they may fail only where a test says how many, and why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

from switchyard.api import labels

from .cutover_sim.life import Run
from .cutover_sim.outside import Outside
from .cutover_sim.parts import NEW, OLD, SPACE, START_SECONDS, THE_PLAN, WORKLOAD
from .cutover_sim.scenes import BATCH_FIRST, INTERVAL_SECONDS, begin, put_plan, steps

Status = Mapping[str, Any]
TEN_MINUTES = 600.0
_OF_CANDIDATE = ("users/candidate", "failed/candidate")
SLOW = {"interval": "20s", "falsePromotionProbability": "0.5", "falseRollbackProbability": "0.5"}


def when(is_it: Callable[[Status], bool], do: Callable[[Outside], None], seconds: float = 0.0) -> Any:
    """An author who does something once, so many seconds after the plan's status says so."""
    done: list[bool] = []

    def author(outside: Outside, status: Status) -> None:
        if not done and is_it(status):
            done.append(True)
            outside.later(seconds, do)

    return author


def is_judged(phase: str, weight: int = 0) -> Callable[[Status], bool]:
    """True once a stage with that weight counts its evidence."""

    def is_it(status: Status) -> bool:
        weights = {each["weight"] for each in status.get("segments", ())}
        return status["phase"] == phase and weight in weights and "readingAt" in status["machine"]

    return is_it


def failing(ratio: float = 0.6, segment: str = "all") -> Callable[[str, str, float], float]:
    return lambda name, arm, _share: ratio if (name, arm) == (segment, "candidate") else 0.002


def list_reasons(outside: Outside) -> list[str]:
    return [each["reason"] for each in outside.status["history"]]


def count_samples(outside: Outside) -> list[tuple[float, float]]:
    """Requests in the evidence of the stage, and the seconds that they were counted in, by status written."""
    found = []
    for _, status in outside.statuses:
        for each in status.get("evidence", ()):
            if each["key"].startswith("answers/"):
                _, samples, _, seconds, _ = json.loads(each["data"])
                found.append((samples, seconds))
    return found


# -- from a failed gate to users back on the baseline


@pytest.mark.parametrize(
    ("phase", "weight"), [("Shadowing", 0), ("Canary", 50), ("Canary", 100), ("Soaking", 100)]
)
def test_traffic_is_back_within_an_interval_and_two_seconds_of_a_failed_gate(phase: str, weight: int) -> None:
    outside = begin()

    def harm(at: Outside) -> None:
        at.failing = failing()

    outside.author = when(is_judged(phase, weight), harm, seconds=0.5)
    back_at: list[float] = []
    passing: list[float] = []

    def watch(at: Outside) -> None:
        if at.status.get("phase") == "RollingBack" and not passing:
            passing.append(float(at.seconds))
        is_back = all(share == 0 for share in at.weights_in_force().values())
        if passing and is_back and not back_at:
            back_at.append(at.seconds)

    Run(outside, on_write=watch).run()
    assert (outside.phase, outside.broken) == ("RolledBack", [])
    failed_at = passing[0]
    read_at = max(each for each in outside.readings if each <= failed_at)
    assert back_at[0] - failed_at <= 2.0
    assert back_at[0] - read_at <= INTERVAL_SECONDS + 2.0
    assert failed_at - read_at <= 1.0
    found = {
        what: sum(n for (_, _, of), n in outside.counted.items() if of == what) for what in _OF_CANDIDATE
    }
    bad = found["failed/candidate"] - 0.002 * found["users/candidate"]
    assert bad <= 0.6 * weight / 100 * outside.per_second * (2 * INTERVAL_SECONDS + 2.0)


# -- the operator sees or reaches nothing


@pytest.mark.parametrize(("phase", "weight"), [("Shadowing", 0), ("Canary", 50)])
def test_an_outage_of_the_api_server_freezes_the_plan_and_then_it_goes_on(phase: str, weight: int) -> None:
    outside = begin(analysis=SLOW)
    down: list[float] = []

    def begin_outage(at: Outside) -> None:
        down.append(at.seconds)
        at.outage = lambda now, _what: "connection refused" if now.seconds < down[0] + TEN_MINUTES else ""

    outside.author = when(is_judged(phase, weight), begin_outage, seconds=1.0)
    Run(outside, most_seconds=1500).run()
    assert (outside.phase, outside.broken, outside.failed_users) == ("Completed", [], 0.0)
    assert not [each.what for each in outside.landed if down[0] < each.at < down[0] + TEN_MINUTES]
    assert "GateFailed" not in list_reasons(outside)
    assert max(seconds for _, seconds in count_samples(outside)) < TEN_MINUTES


def test_routers_that_can_not_be_reached_say_neither_pass_nor_fail() -> None:
    outside = begin(analysis=SLOW)
    down: list[float] = []

    def begin_outage(at: Outside) -> None:
        down.append(at.seconds)
        at.failing = failing()  # while nobody looks

        def outage(now: Outside, what: str) -> str:
            is_down = now.seconds < down[0] + TEN_MINUTES
            return "no answer" if is_down and what.startswith(("read", "push")) else ""

        at.outage = outage
        at.later(TEN_MINUTES - 1, heal)

    def heal(at: Outside) -> None:
        at.failing = lambda _segment, _arm, _share: 0.002

    outside.author = when(is_judged("Canary", 50), begin_outage, seconds=1.0)
    Run(outside, most_seconds=1500).run()
    assert (outside.phase, outside.broken) == ("Completed", [])
    reasons = list_reasons(outside)
    assert "GateFailed" not in reasons
    assert reasons.index("EvidenceMissing") < reasons.index("Resumed")
    assert max(seconds for _, seconds in count_samples(outside)) < TEN_MINUTES


def test_evidence_that_never_comes_ends_the_plan_where_its_author_wants_that() -> None:
    outside = begin(
        analysis={"interval": "5s", "onInconclusive": "rollback", "inconclusiveAfter": "2m"},
    )

    def begin_outage(at: Outside) -> None:
        at.outage = lambda _now, what: "no answer" if what == "read samples" else ""

    outside.author = when(is_judged("Canary", 50), begin_outage)
    Run(outside, most_seconds=600).run()
    assert (outside.phase, outside.broken) == ("RolledBack", [])
    assert outside.status["machine"]["rollbackReason"] == "EvidenceMissing"
    assert outside.replicas() == {OLD: 2}


# -- the author changes things under way


def test_an_edit_under_way_begins_the_stage_again_without_its_evidence() -> None:
    outside = begin()
    outside.author = when(
        is_judged("Canary", 50),
        lambda at: at.edit_plan(gates=[{"name": "errors", "errors": {"margin": {"oddsRatio": "1.4"}}}]),
        seconds=12.0,
    )
    Run(outside).run()
    assert (outside.phase, outside.broken, outside.failed_users) == ("Completed", [], 0.0)
    assert "InputsChanged" in list_reasons(outside)
    assert any("InputsChanged" in each.what for each in outside.landed if each.what.startswith("event"))
    counts = [samples for samples, _ in count_samples(outside)]
    assert any(later < earlier for earlier, later in pairwise(counts))


def test_a_second_plan_of_a_workload_waits_until_the_first_has_ended() -> None:
    outside = begin()
    other = ("CutoverPlan", SPACE, "other")
    outside.author = when(is_judged("Shadowing"), lambda at: put_plan(at, "other"))
    phases: set[str] = set()

    def watch(at: Outside) -> None:
        if other in at.objects and at.phase != "Completed":
            phases.add(at.objects[other]["status"].get("phase", ""))

    Run(outside, on_write=watch).run()
    assert (outside.phase, outside.broken) == ("Completed", [])
    assert phases <= {"", "Pending"}
    assert outside.objects[other]["status"]["phase"] != "Pending"


def test_a_plan_that_went_back_can_be_tried_again_and_keeps_its_history() -> None:
    outside = begin()
    outside.failing = failing()

    def retry(at: Outside) -> None:
        at.failing = lambda _segment, _arm, _share: 0.002
        at.edit_plan(restartToken="again")

    outside.author = when(lambda status: status["phase"] == "RolledBack", retry, seconds=5.0)
    Run(outside).run()
    assert (outside.phase, outside.broken, outside.replicas()) == ("Completed", [], {NEW: 2})
    reasons = list_reasons(outside)
    assert reasons.index("GateFailed") < reasons.index("Restarted") < reasons.index("CutoverCompleted")
    assert outside.status["machine"]["attempt"] == 2


@pytest.mark.parametrize(("way", "pace"), [("abort", 1), ("delete", 3)])
def test_a_plan_can_be_called_back_after_any_write(way: str, pace: int) -> None:
    after_writes: list[Outside] = []
    Run(begin(), on_write=lambda each: after_writes.append(each.fork())).run()
    for outside in after_writes[::pace]:
        number, what = len(outside.landed), outside.landed[-1].what
        outside.edit_plan(abort=True) if way == "abort" else outside.delete_plan()
        Run(outside).run()
        is_done = outside.phase == "Completed" or (outside.plan is None and outside.selected == NEW)
        side = NEW if is_done else OLD
        found = (outside.broken, outside.failed_users, outside.replicas(), outside.selected, outside.is_held)
        assert found == ([], 0.0, {side: 2}, side, False), f"{way} after write {number}: {what}"
        assert outside.phase in {"Aborted", "Completed", ""}
        if outside.plan is not None:
            assert outside.plan["metadata"].get("finalizers", []) in ([], ())


def test_a_workload_that_is_deleted_lets_its_plan_go() -> None:
    outside = begin()

    def delete(at: Outside) -> None:
        at.per_second = 0.0  # nobody is served any more, as wanted
        for key in [key for key in at.objects if key[0] in {"Deployment", "Service", "InferenceWorkload"}]:
            if key != ("Service", SPACE, WORKLOAD):
                at.drop(key)

    outside.author = when(is_judged("Canary", 50), delete)
    Run(outside).run()
    assert outside.phase == "Aborted"
    assert not outside.objects[THE_PLAN]["metadata"].get("finalizers")
    assert [each.what for each in outside.landed].count("finalizers") == 2


# -- pods and the path


def lose(track: str) -> Callable[[Outside], None]:
    """The pods of a track go all at once; the Deployment makes others."""

    def do(at: Outside) -> None:
        at.pods = {name: each for name, each in at.pods.items() if each.track != track}
        at.follow_deployments()

    return do


@pytest.mark.parametrize("weight", [50, 100])
def test_a_candidate_that_loses_all_pods_loses_its_users_within_two_seconds(weight: int) -> None:
    outside = begin()
    outside.author = when(is_judged("Canary", weight), lose(NEW), seconds=2.0)
    Run(outside).run()
    assert (outside.phase, outside.replicas()) == ("RolledBack", {OLD: 2})
    assert outside.status["machine"]["rollbackReason"] == "CandidateLost"
    assert 0 < outside.failed_users <= 2.0 * outside.per_second * weight / 100


def test_a_baseline_that_loses_its_pods_under_shadow_ends_the_copies_until_it_is_back() -> None:
    outside = begin()
    outside.author = when(is_judged("Shadowing"), lose(OLD), seconds=2.0)
    Run(outside).run()
    assert outside.phase == "Completed"
    reasons = list_reasons(outside)
    assert reasons.index("BaselineLost") < reasons.index("Resumed") < reasons.index("StepStarted")
    # who serves alone and is gone is missed for as long as its pods take to start
    assert outside.failed_users <= 1.1 * START_SECONDS * outside.per_second


def test_a_way_back_halts_while_the_baseline_is_not_there_and_the_candidate_answers() -> None:
    outside = begin()

    def break_both(at: Outside) -> None:
        lose(OLD)(at)
        at.failing = failing()

    outside.author = when(is_judged("Canary", 100), break_both, seconds=2.0)
    Run(outside).run()
    assert (outside.phase, outside.replicas(), outside.failed_users) == ("RolledBack", {OLD: 2}, 0.0)


def test_failures_that_hit_both_sides_alike_roll_nothing_back() -> None:
    outside = begin()

    def burst(at: Outside) -> None:
        at.failing = lambda _segment, _arm, _share: 0.3
        at.later(8.0, end)

    def end(at: Outside) -> None:
        at.failing = lambda _segment, _arm, _share: 0.002

    outside.author = when(is_judged("Canary", 50), burst, seconds=2.0)
    Run(outside).run()
    assert (outside.phase, outside.broken) == ("Completed", [])
    assert "GateFailed" not in list_reasons(outside)


def test_a_candidate_that_finds_no_node_is_given_up_with_time_and_nothing_was_touched() -> None:
    outside = begin(analysis={"interval": "120s"})
    outside.author = when(
        lambda status: status["phase"] == "Provisioning", lambda at: _take_node(at, "n0"), seconds=0.0
    )
    Run(outside, most_seconds=4000).run()
    assert (outside.phase, outside.replicas(), outside.broken) == ("RolledBack", {OLD: 2}, [])
    assert "CandidateNotReady" in list_reasons(outside)
    assert not [each for each in outside.landed if each.what.startswith(("config", "callers"))]


def _take_node(at: Outside, name: str) -> None:
    at.nodes = {each: kind for each, kind in at.nodes.items() if each != name}
    at.pods = {key: each for key, each in at.pods.items() if each.node != name}
    at.follow_deployments()


def test_a_pool_taken_away_takes_no_user_with_it_even_where_the_path_can_not_be_changed_yet() -> None:
    outside = begin()
    down: list[float] = []

    def take_pool(at: Outside) -> None:
        down.append(at.seconds)
        at.drop(("AcceleratorPool", "", "new"))
        at.outage = lambda now, what: (
            "no answer" if now.seconds < down[0] + 15.0 and what.startswith(("config", "push")) else ""
        )

    outside.author = when(is_judged("Canary", 50), take_pool, seconds=2.0)
    Run(outside).run()
    assert (outside.phase, outside.broken, outside.failed_users) == ("RolledBack", [], 0.0)
    assert outside.status["machine"]["rollbackReason"] == "TargetGone"
    assert outside.replicas() == {OLD: 2}


def test_routers_that_take_nothing_are_led_past_on_the_way_back() -> None:
    outside = begin()

    def break_all(at: Outside) -> None:
        at.failing = failing()
        at.outage = lambda _now, what: "no answer" if what.startswith("push") else ""

    outside.author = when(is_judged("Canary", 50), break_all, seconds=2.0)
    returned: list[float] = []

    def watch(at: Outside) -> None:
        if at.phase == "RollingBack":
            at.due = [each for each in at.due if each[1] != "mount"]
        if at.phase in {"RollingBack", "RolledBack"} and at.callers == OLD:
            returned.append(at.seconds)

    Run(outside, on_write=watch).run()
    assert (outside.phase, outside.broken, outside.replicas()) == ("RolledBack", [], {OLD: 2})
    begun = next(at for at, status in outside.statuses if status["phase"] == "RollingBack")
    assert returned[0] - begun <= 20.0


def test_nothing_moves_while_the_state_can_not_be_stored() -> None:
    outside = begin()
    outside.outage = lambda now, what: (
        "no answer" if now.seconds % 20 < 12 and what.startswith("status CutoverPlan") else ""
    )
    Run(outside, most_seconds=1500).run()
    assert (outside.phase, outside.broken, outside.failed_users) == ("Completed", [], 0.0)
    assert outside.replicas() == {NEW: 2}


def test_callers_that_somebody_leads_past_the_routers_are_led_back() -> None:
    outside = begin()
    edited: list[float] = []

    def edit(at: Outside) -> None:
        stable = at.objects["Service", SPACE, WORKLOAD]
        spec = {**stable["spec"], "selector": {labels.WORKLOAD: WORKLOAD, labels.TRACK: OLD}}
        at.put(("Service", SPACE, WORKLOAD), {**stable, "spec": spec})
        at.note("kubectl edit")
        edited.append(at.seconds)

    outside.author = when(is_judged("Canary", 50), edit, seconds=2.0)
    Run(outside).run()
    assert (outside.phase, outside.broken, outside.failed_users) == ("Completed", [], 0.0)
    led = [each.at for each in outside.landed if each.what == "callers to routers by move"]
    assert led[1] - edited[0] <= INTERVAL_SECONDS + 1.0


def test_of_two_segments_only_the_one_whose_gate_fails_goes_back() -> None:
    parts = (("batch", 0.4), ("rest", 0.6))
    outside = begin(mix=parts, segments=BATCH_FIRST, steps=steps(50), shadow={"percent": 0})
    outside.failing = failing(segment="rest")
    shares: list[float] = []

    def watch(at: Outside) -> None:
        if at.phase in {"RollingBack", "RolledBack"}:
            shares.append(at.weights_in_force().get("batch", -1.0))

    Run(outside, on_write=watch).run()
    assert (outside.phase, outside.weights(), outside.broken) == ("RolledBack", {"batch": 50, "rest": 0}, [])
    assert set(shares) == {50.0}
