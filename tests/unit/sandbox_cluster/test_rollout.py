from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.cluster import rollout
from switchyard.sandbox.cluster.deployment_status import compute_status, is_complete
from switchyard.sandbox.cluster.rollout import Track


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (3, "25%", "25%", (1, 0)),
        (4, "25%", "25%", (1, 1)),
        (10, "50%", "30%", (5, 3)),
        (10, 2, 0, (2, 0)),
        (1, 0, 0, (0, 1)),  # both zero could never move
        (2, "0%", "10%", (0, 1)),
        (2, 1, 5, (1, 2)),  # no more can be missing than there are
    ],
)
def test_surge_is_rounded_up_and_unavailable_down(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    assert rollout.resolve_bounds(replicas, surge, unavailable) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (Track("old", 3, 3), Track("new", 0, is_new=True), 1),  # room for the surge alone
        (Track("old", 2, 2), Track("new", 1, is_new=True), 2),
        (Track("old", 4, 4), Track("new", 0, is_new=True), 0),  # no room
        (Track("old", 0), Track("new", 5, is_new=True), 3),  # too many: scaled down
    ],
)
def test_the_new_track_grows_into_the_room_that_the_surge_leaves(
    old: Track, new: Track, expected: int
) -> None:
    assert rollout.grow_new(3, 1, [old, new]) == expected


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        # Nothing new is available yet, and none may be missing.
        ([Track("old", 3, 3), Track("new", 1, 0, is_new=True)], {}),
        # One new is available: one old may go.
        ([Track("old", 3, 3), Track("new", 1, 1, is_new=True)], {"old": 2}),
        # Unhealthy old replicas go first: they carry nothing.
        ([Track("a", 2, 0), Track("b", 1, 1), Track("new", 1, 1, is_new=True)], {"a": 1}),
        # The oldest go first.
        ([Track("a", 1, 1), Track("b", 2, 2), Track("new", 2, 2, is_new=True)], {"a": 0, "b": 1}),
    ],
)
def test_old_tracks_shrink_as_far_as_availability_allows(
    tracks: list[Track], expected: dict[str, int]
) -> None:
    assert rollout.shrink_old(3, 0, tracks) == expected


@given(st.integers(0, 30), st.integers(0, 10), st.integers(0, 10), st.data())
def test_a_step_never_exceeds_the_surge_nor_takes_the_last_available_ones(
    replicas: int, surge: int, unavailable: int, data: st.DataObject
) -> None:
    surge, unavailable = rollout.resolve_bounds(replicas, surge, unavailable)
    counts = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    tracks = [
        Track(str(i), n, data.draw(st.integers(0, n)), is_new=i == len(counts) - 1)
        for i, n in enumerate(counts)
    ]
    total = sum(track.wanted for track in tracks)
    grown = rollout.grow_new(replicas, surge, tracks)
    after = total - tracks[-1].wanted + grown
    assert after <= max(total, replicas + surge)
    targets = rollout.shrink_old(replicas, unavailable, tracks)
    lost = sum(
        max(0, track.available - targets.get(track.name, track.wanted))
        for track in tracks
        if not track.is_new
    )
    available = sum(track.available for track in tracks)
    assert lost == 0 or available - lost >= replicas - unavailable
    assert all(
        0 <= count < next(t.wanted for t in tracks if t.name == name) for name, count in targets.items()
    )


@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 4), st.integers(0, 3))
def test_a_rollout_whose_pods_become_available_always_ends(
    replicas: int, old_sets: int, surge: int, unavailable: int
) -> None:
    surge, unavailable = rollout.resolve_bounds(replicas, surge, unavailable)
    counts = {
        f"old{i}": replicas // old_sets + (1 if i < replicas % old_sets else 0) for i in range(old_sets)
    }
    counts["new"] = 0
    for _ in range(200):
        tracks = [Track(name, count, count, is_new=name == "new") for name, count in counts.items()]
        if counts["new"] == replicas and sum(counts.values()) == replicas:
            return
        grown = rollout.grow_new(replicas, surge, tracks)
        if grown != counts["new"]:
            counts["new"] = grown
            continue
        counts |= rollout.shrink_old(replicas, unavailable, tracks)
        assert sum(counts.values()) >= replicas - unavailable
    pytest.fail(f"stuck at {counts}")


@pytest.mark.parametrize(
    ("tracks", "replicas", "expected"),
    [
        ([Track("only", 3, 3, is_new=True)], 5, {"only": 5}),
        ([Track("only", 3, 3, is_new=True)], 3, {}),
        ([Track("old", 0), Track("new", 0, is_new=True)], 2, {"new": 2}),  # up from zero
        ([Track("old", 6, 6, max_replicas=12), Track("new", 4, 4, is_new=True, max_replicas=12)], 0,
         {"old": 0, "new": 0}),
    ],
)  # fmt: skip
def test_a_resize_goes_to_the_tracks_in_proportion(
    tracks: list[Track], replicas: int, expected: dict[str, int]
) -> None:
    assert rollout.rescale(replicas, 2, tracks) == expected


@given(st.integers(0, 40), st.integers(0, 5), st.lists(st.integers(1, 12), min_size=2, max_size=4))
def test_a_resize_in_mid_rollout_lands_on_the_bound(replicas: int, surge: int, counts: list[int]) -> None:
    total = sum(counts)
    tracks = [
        Track(str(i), n, 0, is_new=i == len(counts) - 1, max_replicas=total) for i, n in enumerate(counts)
    ]
    targets = rollout.rescale(replicas, surge, tracks)
    after = sum(targets.get(track.name, track.wanted) for track in tracks)
    assert after == (replicas + surge if replicas else 0)


def test_the_template_hash_ignores_itself_and_notices_everything_else() -> None:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    marked = {**template, "metadata": {"labels": {"app": "a", rollout.HASH_LABEL: "xyz"}}}
    other = {**template, "spec": {"containers": [{"name": "c", "image": "i:2"}]}}
    assert rollout.hash_template(template) == rollout.hash_template(marked)
    assert rollout.is_same_template(template, marked)
    assert rollout.hash_template(template) != rollout.hash_template(other)
    assert rollout.hash_template(template) != rollout.hash_template(template, collisions=1)


def _deployment(replicas: int, status: dict | None = None) -> dict:
    return {
        "metadata": {"name": "web", "generation": 2},
        "spec": {"replicas": replicas, "progressDeadlineSeconds": 600},
        "status": status or {},
    }


def _set(name: str, wanted: int, ready: int) -> dict:
    status = {"replicas": wanted, "readyReplicas": ready, "availableReplicas": ready}
    return {"metadata": {"name": name}, "spec": {"replicas": wanted}, "status": status}


def test_a_deployment_with_all_replicas_available_is_complete() -> None:
    new = _set("web-1", 3, 3)
    status = compute_status(_deployment(3), [new], new, 0)
    assert is_complete(_deployment(3), status)
    reasons = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}
    assert reasons == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }


def test_a_status_without_news_is_equal_to_the_one_before() -> None:
    new = _set("web-1", 3, 1)
    first = compute_status(_deployment(3), [new], new, 0)
    assert compute_status(_deployment(3, first), [new], new, 0) == first


def test_a_rollout_without_progress_past_its_deadline_fails() -> None:
    new = _set("web-1", 3, 1)
    status = compute_status(_deployment(3), [new], new, 0)
    for condition in status["conditions"]:
        condition["lastUpdateTime"] = "2020-01-01T00:00:00Z"
    late = compute_status(_deployment(3, status), [new], new, 0)
    progress = next(c for c in late["conditions"] if c["type"] == "Progressing")
    assert (progress["status"], progress["reason"]) == ("False", "ProgressDeadlineExceeded")
