import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.apiserver.store import CompactedError, Store

SHELF = ("", "configmaps")


def config(namespace, name, value):
    return {"metadata": {"namespace": namespace, "name": name}, "data": {"v": value}}


names = st.sampled_from(["a", "b", "c", "a-b"])
operations = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove"]), st.sampled_from(["n1", "n1x", "n2"]), names, st.integers(0, 9)
    ),
    max_size=40,
)


def run(store, steps):
    """The objects after each version, as plain data."""
    snapshots = {0: {}}
    for kind, namespace, name, value in steps:
        if kind == "put":
            store.put(SHELF, config(namespace, name, value))
        else:
            store.remove(SHELF, (namespace, name))
        shelf = store.shelf(SHELF)
        snapshots[store.resource_version] = {key: item.obj["data"]["v"] for key, item in shelf.items.items()}
    return snapshots


@given(operations)
def test_any_past_version_can_be_read_again(steps):
    store = Store()
    snapshots = run(store, steps)
    for version, expected in snapshots.items():
        then = store.shelf(SHELF).at(version)
        assert {key: item.obj["data"]["v"] for key, item in then.items()} == expected


@given(operations, st.integers(0, 40))
def test_the_events_after_a_version_lead_from_it_to_now(steps, start):
    store = Store()
    snapshots = run(store, steps)
    start = max(version for version in snapshots if version <= start)
    state = dict(snapshots[start])
    for event in store.shelf(SHELF).since(start):
        assert (event.type == "ADDED") == (event.key not in state)
        if event.type == "DELETED":
            del state[event.key]
        else:
            state[event.key] = event.current.obj["data"]["v"]
    assert state == snapshots[store.resource_version]


@given(operations)
def test_keys_are_in_order_and_a_namespace_has_only_its_own(steps):
    store = Store()
    run(store, steps)
    shelf = store.shelf(SHELF)
    assert shelf.order == sorted(shelf.items)
    for namespace in ("n1", "n1x", "n2"):
        assert shelf.keys_in(namespace) == [key for key in shelf.order if key[0] == namespace]


def test_versions_only_grow_and_deleting_takes_one_too():
    store = Store()
    first = store.put(SHELF, config("n", "a", 1)).version
    gone = store.remove(SHELF, ("n", "a"))
    assert gone.version == first + 1
    assert gone.obj["metadata"]["resourceVersion"] == str(first + 1)
    assert store.resource_version == first + 1


def test_old_history_is_dropped_and_asking_for_it_is_an_error():
    store = Store(history_per_resource=8)
    for value in range(50):
        store.put(SHELF, config("n", "a", value))
    shelf = store.shelf(SHELF)
    assert len(shelf.events) <= 10
    with pytest.raises(CompactedError):
        shelf.since(1)
    with pytest.raises(CompactedError):
        shelf.at(1)
    assert [event.version for event in shelf.since(49)] == [50]


def test_after_compaction_only_the_present_can_be_followed():
    store = Store()
    store.put(SHELF, config("n", "a", 1))
    version = store.put(SHELF, config("n", "a", 2)).version
    store.compact()
    with pytest.raises(CompactedError):
        store.shelf(SHELF).since(version - 1)
    assert list(store.shelf(SHELF).since(version)) == []


def test_what_was_read_stays_as_it_was():
    store = Store()
    before = store.put(SHELF, config("n", "a", 1))
    copy = before.copy()
    copy["data"]["v"] = 2
    store.put(SHELF, copy)
    assert before.obj["data"]["v"] == 1
