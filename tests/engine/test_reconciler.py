"""The loop against a cluster in memory: what it writes, in which order, and what it survives."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.core.decisions import Decisions
from switchyard.core.world import World
from switchyard.engine.backoff import Backoff
from switchyard.engine.debounce import Debounce
from switchyard.engine.ports import Conflict, Failed
from switchyard.engine.reconciler import LoopSettings, Reconciler

from .fakes import FakeClock, FakeCluster, FakeWatch, Killed, Reports, decide_toy, deny, until


@dataclasses.dataclass
class Rig:
    cluster: FakeCluster = dataclasses.field(default_factory=FakeCluster)
    watch: FakeWatch = None  # type: ignore[assignment]
    clock: FakeClock = dataclasses.field(default_factory=FakeClock)
    reports: Reports = dataclasses.field(default_factory=Reports)
    loop: Reconciler = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.watch = self.watch or FakeWatch(self.cluster)
        self.start()

    def start(self) -> None:
        """A new process: nothing is left of the old one's memory."""
        self.loop = Reconciler(
            reader=self.watch,
            writer=self.cluster,
            clock=self.clock,
            decide=decide_toy,
            observer=self.reports,
            debounce=Debounce(idle_seconds=0.001, cap_seconds=0.01),
            settings=LoopSettings(sync_poll_seconds=0.0),
            backoff=Backoff(base_seconds=1.0, ceiling_seconds=60.0),
        )

    def turn(self, passes: int = 1) -> None:
        async def turn() -> None:
            for _ in range(passes):
                await self.loop.run_once()

        asyncio.run(turn())

    def settle(self, most: int = 30) -> None:
        """Pass after pass, with time for every retry, until one writes nothing."""
        for _ in range(most):
            before = self.cluster.requests
            self.turn()
            self.clock.seconds += 200
            if self.cluster.requests == before:
                return
        pytest.fail(f"still writing after {most} passes")


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    for name in ("chat", "embed", "vision"):
        rig.cluster.workload(name)
    return rig


def test_children_status_and_events_follow_the_users_objects(rig: Rig) -> None:
    rig.settle()
    assert {kind for kind, _, _ in rig.cluster.children()} == {"Deployment", "Service"}
    assert len(rig.cluster.children()) == 6
    assert rig.cluster.events == Counter({(name, "Placed"): 1 for name in ("chat", "embed", "vision")})


def test_an_unchanged_world_costs_no_writes_however_often_the_loop_runs(rig: Rig) -> None:
    rig.settle()
    before = rig.cluster.requests
    for _ in range(50):
        rig.clock.seconds += 60
        rig.turn()
    assert rig.cluster.requests == before


def test_a_watch_that_lags_behind_our_own_writes_causes_no_second_write(rig: Rig) -> None:
    rig.watch.lags = True
    rig.watch.catch_up()
    rig.turn(passes=5)
    assert rig.cluster.writes == Counter({"apply": 6, "status": 3, "record": 3})
    rig.watch.catch_up()
    rig.turn(passes=5)
    assert rig.cluster.writes.total() == 12


def test_a_lagging_watch_causes_no_second_delete(rig: Rig) -> None:
    rig.settle()
    rig.watch.lags = True
    rig.cluster.workload("chat", replicas=0)
    rig.watch.catch_up()
    rig.turn(passes=4)
    assert rig.cluster.writes["delete"] == 2


def test_what_another_wrote_after_us_wins_over_our_memory(rig: Rig) -> None:
    rig.watch.lags = True
    rig.watch.catch_up()
    rig.turn()
    rig.cluster.objects["Deployment", "shop", "chat"]["spec"] = {"replicas": 77}
    rig.cluster.put("Deployment", "shop", "chat")
    rig.watch.catch_up()
    rig.turn()
    assert rig.cluster.objects["Deployment", "shop", "chat"]["spec"] == {"replicas": 1}


def test_a_write_whose_echo_never_comes_is_believed_only_for_a_while(rig: Rig) -> None:
    rig.watch.lags = True
    rig.watch.catch_up()
    rig.turn()
    del rig.cluster.objects["Deployment", "shop", "chat"]  # gone again before any watch saw it
    rig.clock.seconds += 11
    rig.turn()
    assert ("Deployment", "shop", "chat") in rig.cluster.objects


def test_nothing_is_decided_before_every_kind_was_listed(rig: Rig) -> None:
    rig.watch.missing = ("nodes",)
    rig.turn(passes=3)
    assert rig.cluster.requests == 0
    assert rig.reports.waited_for == [("nodes",)] * 3
    rig.watch.missing = ()
    rig.settle()
    assert len(rig.cluster.children()) == 6


@pytest.mark.parametrize(
    "refusal", [deny(), Failed("503"), Conflict("409")], ids=["denied", "failed", "conflict"]
)
def test_a_refused_write_skips_the_rest_of_its_object_and_no_other(rig: Rig, refusal: object) -> None:
    rig.cluster.fault = lambda verb, kind, name: refusal if (kind, name) == ("Deployment", "chat") else None
    rig.turn()
    assert ("Service", "shop", "chat") not in rig.cluster.objects
    assert rig.cluster.objects["InferenceWorkload", "shop", "chat"]["status"] == {}
    assert rig.cluster.events["chat", "Placed"] == 0
    assert rig.cluster.objects["InferenceWorkload", "shop", "embed"]["status"] != {}


def test_a_refused_object_waits_longer_each_time_and_others_do_not(rig: Rig) -> None:
    asked: Counter[str] = Counter()

    def fault(verb: str, kind: str, name: str) -> object:
        asked[name] += 1
        return deny() if name == "chat" else None

    rig.cluster.fault = fault
    for _ in range(600):
        rig.turn()
        rig.clock.seconds += 1
    # 1, 2, 4 … 60 s, each halved at most by jitter: between 600/60 and 600/30 plus the first few
    assert 10 <= asked["chat"] <= 30
    assert asked["embed"] == 4


def test_a_refused_object_is_tried_at_once_when_what_we_want_of_it_changes(rig: Rig) -> None:
    rig.cluster.fault = lambda verb, kind, name: deny() if (kind, name) == ("Deployment", "chat") else None
    rig.turn()
    rig.cluster.fault = lambda verb, kind, name: None
    rig.turn()
    assert ("Deployment", "shop", "chat") not in rig.cluster.objects
    rig.cluster.workload("chat", replicas=2)
    rig.turn()
    assert rig.cluster.objects["Deployment", "shop", "chat"]["spec"] == {"replicas": 2}


def test_the_report_names_what_failed_and_counts_each_write(rig: Rig) -> None:
    rig.cluster.fault = lambda verb, kind, name: deny(422, "quota") if name == "chat" else None
    rig.turn()
    report = rig.reports.finished[-1]
    assert report.failures == {("InferenceWorkload", "shop", "chat"): "apply Deployment: quota"}
    assert report.writes["Deployment", "apply", "denied"] == 1
    assert report.writes["Deployment", "apply", "written"] == 2


def test_an_event_that_can_not_be_recorded_holds_nothing_up(rig: Rig) -> None:
    rig.cluster.fault = lambda verb, kind, name: Failed("503") if verb == "record" else None
    rig.turn()
    assert rig.reports.finished[-1].failures == {}
    assert len(rig.cluster.children()) == 6


def test_a_process_that_may_no_longer_act_writes_nothing_more(rig: Rig) -> None:
    rig.loop.may_act = lambda: rig.cluster.requests < 2
    rig.turn()
    assert rig.cluster.requests == 2


def test_a_conflict_storm_ends_in_the_same_state(rig: Rig) -> None:
    calls = Counter[tuple[str, str, str]]()

    def storm(verb: str, kind: str, name: str) -> object:
        calls[verb, kind, name] += 1
        return Conflict("changed") if calls[verb, kind, name] <= 20 else None

    calm = Rig()
    for name in ("chat", "embed", "vision"):
        calm.cluster.workload(name)
    calm.settle()
    rig.cluster.fault = storm
    rig.settle(most=200)
    assert rig.cluster.essence() == calm.cluster.essence()


def test_an_outage_of_the_api_is_ridden_out(rig: Rig) -> None:
    rig.cluster.fault = lambda verb, kind, name: Failed("connection refused")
    for _ in range(100):
        rig.turn()
        rig.clock.seconds += 5
    assert rig.cluster.writes.total() == 0
    assert rig.cluster.requests < 100 * 3  # held back, not hammered
    rig.cluster.fault = lambda verb, kind, name: None
    rig.clock.seconds += 120
    rig.settle()
    assert len(rig.cluster.children()) == 6


def test_a_decision_that_raises_does_not_end_the_loop(rig: Rig) -> None:
    faulty = True

    def decide(world: World) -> Decisions:
        if faulty:
            raise ZeroDivisionError("a bug")
        return decide_toy(world)

    async def scenario() -> None:
        nonlocal faulty
        rig.loop.decide = decide
        rig.loop.backoff = Backoff(base_seconds=0.01, ceiling_seconds=0.02)
        task = asyncio.create_task(rig.loop.run())
        await until(lambda: len(rig.reports.failed) >= 3)
        assert rig.cluster.requests == 0
        faulty = False
        await until(lambda: rig.reports.finished)
        task.cancel()

    asyncio.run(scenario())
    assert len(rig.cluster.children()) == 6


def _script(rig: Rig) -> None:
    """A life of some workloads: come, grow, shrink to nothing, go on."""
    rig.cluster.workload("chat", replicas=2)
    rig.settle()
    rig.cluster.workload("embed", replicas=1)
    rig.cluster.workload("chat", replicas=0)
    rig.settle()
    rig.cluster.workload("vision", replicas=3)
    rig.cluster.workload("chat", replicas=1)
    rig.settle()


def _writes_of_script() -> int:
    rig = Rig()
    _script(rig)
    return rig.cluster.writes.total()


@pytest.mark.parametrize("after", range(1, _writes_of_script() + 1))
@pytest.mark.parametrize("lags", [False, True], ids=["fresh watch", "stale watch"])
def test_killed_after_any_single_write_the_next_process_reaches_the_same_end(
    after: int, *, lags: bool
) -> None:
    undisturbed = Rig()
    _script(undisturbed)

    rig = Rig()
    rig.cluster.kill_after_write = after
    steps = [
        lambda: (rig.cluster.workload("chat", replicas=2),),
        lambda: (rig.cluster.workload("embed", replicas=1), rig.cluster.workload("chat", replicas=0)),
        lambda: (rig.cluster.workload("vision", replicas=3), rig.cluster.workload("chat", replicas=1)),
    ]
    killed = 0
    for step in steps:
        step()
        try:
            rig.settle()
        except* Killed:
            killed += 1
            rig.cluster.kill_after_write = None
            rig.watch.lags = lags
            rig.start()
            if lags:
                rig.turn()  # decides on what the watch showed before the kill
                rig.watch.catch_up()
                rig.watch.lags = False
            rig.settle()
    assert killed == 1
    assert rig.cluster.essence() == undisturbed.cluster.essence()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_mixture_of_faults_lags_and_kills_ends_where_a_calm_run_ends(data: st.DataObject) -> None:
    names = ("a", "b", "c")
    wanted = {name: data.draw(st.integers(0, 3), label=name) for name in names}
    calm, rig = Rig(), Rig()
    for name, replicas in wanted.items():
        calm.cluster.workload(name, replicas)
        rig.cluster.workload(name, replicas=data.draw(st.integers(0, 3)))
    calm.settle()
    for _ in range(data.draw(st.integers(1, 6), label="rounds")):
        answers = data.draw(
            st.lists(st.sampled_from([None, deny(), Failed("503"), Conflict("409")]), max_size=8)
        )
        queue = iter(answers)
        rig.cluster.fault = lambda verb, kind, name, queue=queue: next(queue, None)
        rig.watch.lags = data.draw(st.booleans())
        rig.turn(passes=data.draw(st.integers(1, 3)))
        rig.clock.seconds += data.draw(st.sampled_from([0, 1, 15, 300]))
        if data.draw(st.booleans(), label="restart"):
            rig.start()
    for name, replicas in wanted.items():
        if rig.cluster.objects["InferenceWorkload", "shop", name]["spec"]["replicas"] != replicas:
            rig.cluster.workload(name, replicas)
    rig.cluster.fault = lambda verb, kind, name: None
    rig.watch.lags = False
    rig.clock.seconds += 300
    rig.settle()
    ends = [{key: body["spec"] for key, body in side.cluster.children().items()} for side in (calm, rig)]
    assert ends[0] == ends[1]
