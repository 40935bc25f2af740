import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.patches import apply_operations, merge
from switchyard.sandbox.apiserver.strategic import strategic_merge

CONTAINERS = {
    "type": "array",
    "x-kubernetes-patch-strategy": "merge",
    "x-kubernetes-patch-merge-key": "name",
    "items": {
        "type": "object",
        "properties": {
            "args": {"type": "array", "items": {"type": "string"}},
            "env": {
                "type": "array",
                "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": "name",
                "items": {"type": "object"},
            },
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "containers": CONTAINERS,
        "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys"},
    },
}


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [  # the table of RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_follow_the_rfc(target, patch, expected):
    assert merge(target, patch) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(max_size=2), json_values, max_size=4)


@given(json_objects, json_objects)
def test_a_merge_patch_is_idempotent_and_leaves_its_target_alone(target, patch):
    before = copy.deepcopy(target)
    once = merge(target, patch)
    assert target == before
    assert merge(once, patch) == once


def containers(*names):
    return [{"name": name, "image": f"{name}:1"} for name in names]


@pytest.mark.parametrize(
    ("name", "target", "patch", "expected"),
    [
        (
            "an item is merged by its key and a new one added",
            containers("a", "b"),
            [{"name": "b", "image": "b:2"}, {"name": "c"}],
            [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}, {"name": "c"}],
        ),
        (
            "items take the order of the patch",
            containers("a", "b"),
            [{"name": "b", "image": "b:2"}, {"name": "a", "image": "a:2"}],
            [{"name": "b", "image": "b:2"}, {"name": "a", "image": "a:2"}],
        ),
        (
            "a directive deletes an item",
            containers("a", "b"),
            [{"name": "a", "$patch": "delete"}],
            containers("b"),
        ),
        (
            "a directive replaces the list",
            containers("a", "b"),
            [{"$patch": "replace"}, {"name": "c"}],
            [{"name": "c"}],
        ),
        (
            "a list without merge strategy inside an item is replaced",
            [{"name": "a", "args": ["x", "y"]}],
            [{"name": "a", "args": ["z"]}],
            [{"name": "a", "args": ["z"]}],
        ),
        (
            "a nested keyed list merges too",
            [{"name": "a", "env": [{"name": "A", "value": "1"}]}],
            [{"name": "a", "env": [{"name": "B", "value": "2"}]}],
            [{"name": "a", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}],
        ),
    ],
)
def test_strategic_lists(name, target, patch, expected):
    merged = strategic_merge({"containers": target}, {"containers": patch}, SCHEMA)
    assert merged["containers"] == expected, name


def test_the_order_of_elements_can_be_given():
    patch = {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]}
    merged = strategic_merge({"containers": containers("a", "b")}, patch, SCHEMA)
    assert [item["name"] for item in merged["containers"]] == ["c", "a", "b"]


def test_retain_keys_drops_the_other_fields():
    target = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    patch = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    assert strategic_merge(target, patch, SCHEMA) == {"strategy": {"type": "Recreate"}}


def test_finalizers_merge_and_single_ones_can_be_deleted():
    target = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic_merge(target, {"metadata": {"finalizers": ["c"]}}, SCHEMA)["metadata"]["finalizers"] == [
        "a",
        "b",
        "c",
    ]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic_merge(target, patch, SCHEMA)["metadata"]["finalizers"] == ["b"]


def test_an_item_without_its_key_is_refused():
    with pytest.raises(ApiError, match="merge key"):
        strategic_merge({"containers": containers("a")}, {"containers": [{"image": "x"}]}, SCHEMA)


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ({"op": "add"}, 400),
        ([{"op": "nope", "path": "/a", "value": 1}], 400),
        ([{"path": "/a"}], 400),
        ([{"op": "remove", "path": "/missing"}], 422),
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "add", "path": "/a/b/c", "value": 2}], 422),
        ([{"op": "add", "path": "/list/9", "value": 2}], 422),
    ],
)
def test_json_patches_that_cannot_be_applied_say_whose_fault_it_is(operations, code):
    with pytest.raises(ApiError) as refused:
        apply_operations({"a": 1, "list": []}, operations)
    assert refused.value.code == code


def test_json_patches_leave_their_target_alone():
    target = {"a": {"b": [1]}}
    patched = apply_operations(target, [{"op": "add", "path": "/a/b/-", "value": 2}])
    assert patched == {"a": {"b": [1, 2]}}
    assert target == {"a": {"b": [1]}}
