import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.fieldsets import difference, intersection, paths, union
from switchyard.sandbox.apiserver.managed import Change, apply, record_update
from switchyard.sandbox.apiserver.resources import ResourceInfo, Subresource
from switchyard.sandbox.apiserver.typed import compare, fields_of, merged, without

SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer"},
                "size": {"type": "string"},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {
                        "type": "object",
                        "properties": {
                            "port": {"type": "integer"},
                            "protocol": {"type": "string", "default": "TCP"},
                            "name": {"type": "string"},
                        },
                    },
                },
                "selector": {"type": "object", "x-kubernetes-map-type": "atomic"},
                "plain": {"type": "array", "items": {"type": "string"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
INFO = ResourceInfo(
    "example.com",
    "v1",
    "things",
    "thing",
    "Thing",
    "ThingList",
    namespaced=True,
    subresources=(Subresource("status", "Thing"),),
    schema=SCHEMA,
    is_builtin=False,
)
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def thing(spec, **metadata):
    return {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t", **metadata},
        "spec": spec,
    }


def applied(live, spec, manager, *, force=False, timestamp=EARLY):
    return apply(INFO, live, thing(spec), Change(manager, "", timestamp, is_forced=force))


def managers(obj):
    return {
        entry["manager"]: set(paths(entry["fieldsV1"])) for entry in obj["metadata"].get("managedFields", [])
    }


elements = st.sampled_from(["f:a", "f:b", 'k:{"n":1}', 'v:"x"'])
field_sets = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(elements | st.just("."), inner, min_size=1, max_size=3),
    max_leaves=8,
).map(lambda tree: {key: value for key, value in tree.items() if key != "."})


def flat(fields):
    return set(paths(fields))


def tidy(node):
    """The same set in normal form: a member without children is an empty node."""
    children = {key: tidy(value) for key, value in node.items() if key != "."}
    return {**({".": {}} if "." in node and children else {}), **children}


roots = field_sets.map(lambda tree: {key: tidy(value) for key, value in tree.items()})


@given(roots, roots)
def test_sets_of_fields_behave_as_sets_of_paths(left, right):
    assert flat(union(left, right)) == flat(left) | flat(right)
    assert flat(difference(left, right)) == flat(left) - flat(right)
    assert flat(intersection(left, right)) == flat(left) & flat(right)


def test_fields_of_an_applied_object_name_items_by_their_keys_with_defaults():
    spec = {
        "ports": [{"port": 80}],
        "tags": ["x"],
        "selector": {"a": "b"},
        "plain": ["p"],
        "labels": {"l": "1"},
    }
    assert fields_of(thing(spec)["spec"], SCHEMA["properties"]["spec"]) == {
        "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}},
        "f:tags": {'v:"x"': {}},
        "f:selector": {},
        "f:plain": {},
        "f:labels": {"f:l": {}},
    }


def test_comparing_tells_added_modified_and_removed_with_the_containers_that_came_new():
    spec = SCHEMA["properties"]["spec"]
    found = compare(
        {"replicas": 1, "tags": ["x"]}, {"replicas": 2, "labels": {"l": "1"}, "tags": ["y"]}, spec
    )
    assert found.modified == {"f:replicas": {}}
    assert found.added == {"f:labels": {".": {}, "f:l": {}}, "f:tags": {'v:"y"': {}}}
    assert found.removed == {"f:tags": {'v:"x"': {}}}


specs = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "size": st.sampled_from(["s", "m"]),
        "tags": st.lists(st.sampled_from("abc"), unique=True, min_size=1),
        "ports": st.lists(
            st.fixed_dictionaries({"port": st.integers(1, 3)}, optional={"name": st.sampled_from("pq")}),
            unique_by=lambda item: item["port"],
            min_size=1,
        ),
        "labels": st.dictionaries(st.sampled_from("kl"), st.sampled_from("12"), min_size=1),
    },
)


@given(specs, specs)
def test_a_merge_has_all_that_was_applied_and_applying_it_again_changes_nothing(live, config):
    spec = SCHEMA["properties"]["spec"]
    once = merged(live, config, spec)
    assert flat(fields_of(config, spec)) <= flat(fields_of(once, spec))
    assert merged(once, config, spec) == once


@given(specs)
def test_what_one_manager_applied_alone_goes_when_it_applies_nothing(spec):
    first = applied(None, spec, "a")
    second = applied(first, {}, "a")
    assert not second.get("spec")
    assert managers(second).get("a", set()) <= {".spec"}


@given(specs, specs)
def test_a_second_manager_never_loses_what_it_holds(mine, yours):
    live = applied(None, yours, "you")
    live = applied(live, mine, "me", force=True)
    shared = managers(live).get("you", set())
    after = applied(live, {}, "me", force=True)
    held = flat(fields_of(after, SCHEMA))
    assert {path for path in shared if path != ".spec"} <= held


def test_a_conflict_names_every_field_and_its_manager():
    live = applied(None, {"replicas": 1, "ports": [{"port": 80, "name": "a"}]}, "alice")
    with pytest.raises(ApiError) as refused:
        applied(live, {"replicas": 2, "ports": [{"port": 80, "name": "b"}]}, "bob")
    assert refused.value.code == 409
    causes = [(cause["field"], cause["message"]) for cause in refused.value.details["causes"]]
    assert causes == [
        ('.spec.ports[port=80,protocol="TCP"].name', 'conflict with "alice"'),
        (".spec.replicas", 'conflict with "alice"'),
    ]


def test_saying_the_same_is_no_conflict_and_is_shared():
    live = applied(None, {"replicas": 1}, "alice")
    live = applied(live, {"replicas": 1}, "bob")
    assert managers(live) == {"alice": {".spec.replicas"}, "bob": {".spec.replicas"}}
    live = applied(live, {}, "alice")
    assert live["spec"]["replicas"] == 1


def test_force_takes_the_field():
    live = applied(None, {"replicas": 1, "size": "s"}, "alice")
    live = applied(live, {"replicas": 2}, "bob", force=True)
    assert live["spec"] == {"replicas": 2, "size": "s"}
    assert managers(live) == {"alice": {".spec.size"}, "bob": {".spec.replicas"}}


def test_applying_the_same_again_keeps_the_time():
    live = applied(None, {"replicas": 1}, "alice", timestamp=EARLY)
    again = applied(live, {"replicas": 1}, "alice", timestamp=LATE)
    assert again == live


def test_an_update_takes_what_it_changes_and_leaves_the_rest():
    live = applied(None, {"replicas": 1, "size": "s"}, "alice")
    new = {**live, "metadata": dict(live["metadata"]), "spec": {"replicas": 5, "size": "s"}}
    record_update(INFO, live, new, Change("edit", "", LATE))
    assert managers(new) == {"alice": {".spec.size"}, "edit": {".spec.replicas"}}


def test_status_belongs_to_the_status_subresource_alone():
    live = applied(None, {"replicas": 1}, "alice")
    new = {**live, "metadata": dict(live["metadata"]), "status": {"phase": "Up"}, "spec": {"replicas": 2}}
    record_update(INFO, live, new, Change("operator", "status", LATE))
    assert managers(new)["operator"] == {".status", ".status.phase"}


def test_many_updating_managers_are_folded_into_one():
    live = thing({"replicas": 0})
    for number in range(15):
        new = {
            **live,
            "metadata": dict(live["metadata"], annotations={f"k{n}": "v" for n in range(number + 1)}),
        }
        record_update(INFO, live, new, Change(f"m{number:02}", "", f"2026-01-01T00:00:{number:02}Z"))
        live = new
    assert len(live["metadata"]["managedFields"]) == 11
    assert "ancient-changes" in managers(live)


def test_removing_all_of_a_list_leaves_nothing():
    spec = SCHEMA["properties"]["spec"]
    assert without({"tags": ["x"]}, {"f:tags": {'v:"x"': {}}}, spec) is None or "tags" not in without(
        {"tags": ["x"], "replicas": 1}, {"f:tags": {'v:"x"': {}}}, spec
    )
