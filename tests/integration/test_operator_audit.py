"""A fresh list against what the watch brought: ghosts and stale watches are found, quiet watches are not blamed."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from switchyard.adapters.audit import WatchAudit, judge
from switchyard.adapters.connection import Answer
from switchyard.adapters.observed import Entry
from switchyard.adapters.resources import NODES
from switchyard.engine.ports import Failed

from .operator_fakes import FakeApi, memory_with, run, set_index

versions = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"))


@given(held=versions)
def test_a_watch_that_shows_what_a_list_shows_is_never_blamed(held: dict[str, str]) -> None:
    finding = judge(held, held, held, {})
    assert (finding.ghosts, finding.is_stale, finding.unshown) == (frozenset(), False, {})


@given(before=versions, listed=versions, after=versions)
def test_one_round_alone_never_calls_a_watch_stale(
    before: dict[str, str], listed: dict[str, str], after: dict[str, str]
) -> None:
    assert not judge(before, listed, after, {}).is_stale


@given(before=versions, listed=versions, after=versions, unshown=versions)
def test_a_ghost_is_held_before_and_after_and_not_listed(
    before: dict[str, str], listed: dict[str, str], after: dict[str, str], unshown: dict[str, str]
) -> None:
    for uid in judge(before, listed, after, unshown).ghosts:
        assert uid in before
        assert uid in after
        assert uid not in listed


def test_an_object_made_while_the_list_was_on_its_way_is_no_ghost() -> None:
    assert judge(before={}, listed={}, after={"new": "1"}, unshown_last_time={}).ghosts == frozenset()


def test_a_watch_that_still_shows_the_old_version_a_round_later_is_stale() -> None:
    first = judge({"a": "1"}, {"a": "2"}, {"a": "1"}, {})
    assert judge({"a": "1"}, {"a": "2"}, {"a": "1"}, first.unshown).is_stale


def test_a_watch_that_never_showed_an_object_is_stale_a_round_later() -> None:
    first = judge({}, {"a": "1"}, {}, {})
    assert judge({}, {"a": "1"}, {}, first.unshown).is_stale


def test_a_watch_that_moved_on_is_not_stale_even_if_it_is_behind_again() -> None:
    first = judge({"a": "1"}, {"a": "2"}, {"a": "1"}, {})
    assert not judge({"a": "2"}, {"a": "3"}, {"a": "2"}, first.unshown).is_stale


def test_an_object_that_was_deleted_meanwhile_proves_nothing_about_the_watch() -> None:
    first = judge({}, {"a": "1"}, {}, {})
    assert not judge({}, {}, {}, first.unshown).is_stale


def node(name: str, uid: str, version: str) -> Entry:
    return Entry("", name, uid, version, name)


@dataclass
class Scene:
    """An API with nodes, an index of them, and an audit whose clock the test moves."""

    api: FakeApi = field(default_factory=FakeApi)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.memory = memory_with(self.api)
        self.audit = WatchAudit(self.api, self.memory, now_seconds=lambda: self.seconds)  # type: ignore[arg-type]

    def store(self, *nodes: Entry) -> None:
        self.api.objects = {
            f"/api/v1/nodes/{n.name}": {"metadata": {"uid": n.uid, "resourceVersion": n.resource_version}}
            for n in nodes
        }

    def show(self, *nodes: Entry) -> None:
        set_index(self.memory, nodes=nodes)

    def look(self) -> None:
        async def look() -> None:
            await self.audit.look_at(NODES)

        run(look())


def test_an_object_deleted_unseen_is_left_out_until_it_leaves_the_index() -> None:
    scene = Scene()
    scene.store(node("n1", "u1", "1"))
    scene.show(node("n1", "u1", "1"), node("n2", "u2", "1"))
    scene.look()
    assert [entry.name for entry in scene.memory.entries("nodes")] == ["n1"]
    scene.show(node("n1", "u1", "1"))
    scene.look()
    assert scene.memory.ghosts == set()


def test_a_name_made_anew_after_an_unseen_deletion_shows_the_new_object() -> None:
    scene = Scene()
    scene.store(node("n1", "u2", "5"))
    scene.show(node("n1", "u1", "1"), node("n1", "u2", "5"))
    assert scene.memory.uid_of("nodes", "", "n1") == "u2"
    scene.look()
    assert [entry.uid for entry in scene.memory.entries("nodes")] == ["u2"]


def test_staleness_lasts_until_the_watch_catches_up() -> None:
    scene = Scene()
    scene.store(node("n1", "u1", "2"))
    scene.show(node("n1", "u1", "1"))
    scene.look()
    assert scene.audit.stale_kinds() == {}
    scene.seconds = 60
    scene.look()
    scene.seconds = 100
    assert scene.audit.stale_kinds() == {"nodes": 40.0}
    scene.show(node("n1", "u1", "2"))
    scene.look()
    assert scene.audit.stale_kinds() == {}


def test_an_api_that_does_not_answer_leaves_the_judgement_open() -> None:
    scene = Scene()
    scene.store(node("n1", "u1", "1"))
    scene.show(node("n1", "u1", "1"), node("n2", "u2", "1"))
    scene.api.refuse = lambda method, path: Failed("no answer")
    scene.look()
    assert scene.memory.ghosts == set()
    assert scene.audit.states["nodes"].problem == "no answer"
    scene.seconds = 500
    assert scene.audit.unverified_seconds(since_start_seconds=0.0) == 500


def test_pages_are_read_to_the_end() -> None:
    scene = Scene()
    pages = {
        "": ([("u1", "1")], "more"),
        "more": ([("u2", "1")], ""),
    }

    def page(method: str, path: str) -> Answer:
        token = scene.api.requests[-1][2].get("continue", "")
        items, following = pages[token]
        listed = [{"metadata": {"uid": uid, "resourceVersion": version}} for uid, version in items]
        return Answer(200, {"items": listed, "metadata": {"continue": following}})

    scene.api.refuse = page
    scene.show(node("n1", "u1", "1"), node("n2", "u2", "1"), node("n3", "u3", "1"))
    scene.look()
    assert scene.memory.ghosts == {"u3"}
