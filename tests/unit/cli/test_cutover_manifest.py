"""Plans written from a few words: what comes of them, and what is refused with a way out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.unit.api.test_cutover_definition import admit
from tests.unit.cli.cutover_objects import workload_body

from switchyard.cli.cutover_manifest import Wish, build_manifest, read_target, read_weights
from switchyard.cli.cutover_plan import CutoverError

POOLS = ["inf2", "l4"]


def build(pools: list[str] | None = POOLS, **words: Any) -> dict[str, Any]:
    return build_manifest(
        Wish(**{"workload": "chat", "variant": "neuron", **words}), workload_body(), pools, "team"
    )


def refusal(**words: Any) -> str:
    with pytest.raises(CutoverError) as caught:
        build(**words)
    return str(caught.value)


WISHES: dict[str, dict[str, Any]] = {
    "two names": {},
    "a pool": {"pool": "inf2"},
    "another pool of the same variant": {"variant": "gpu", "pool": "inf2"},
    "all of it": {
        "name": "move",
        "router": "builtin",
        "shadow_percent": 10,
        "weights": (10, 100),
        "segments": ("batch=tier:batch", "labs=header:x-team:labs,path:/v1,stay", "rest"),
        "approvals": ("canary", "segment:batch", "promote"),
        "scope": "plan",
    },
    "no copies": {"shadow_percent": 0, "approvals": ("canary",)},
    "two headers, one with a colon": {"segments": ("a=header:x-a:1,header:x-b:b:c,approval",)},
}


@pytest.mark.parametrize("case", WISHES)
def test_an_api_server_takes_what_is_written(case: str) -> None:
    made = build(**WISHES[case])
    assert admit(copy.deepcopy(made))[1] == []


def test_all_words_are_written() -> None:
    assert build(**WISHES["all of it"]) == {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "CutoverPlan",
        "metadata": {"name": "move", "namespace": "team"},
        "spec": {
            "workloadRef": {"name": "chat"},
            "target": {"variant": "neuron"},
            "traffic": {"router": "builtin"},
            "shadow": {"percent": 10},
            "segments": [
                {"name": "batch", "match": {"tier": "batch"}},
                {
                    "name": "labs",
                    "match": {"headers": [{"name": "x-team", "value": "labs"}], "pathPrefix": "/v1"},
                    "stay": True,
                },
                {"name": "rest"},
            ],
            "steps": [{"weight": 10}, {"weight": 100}],
            "rollback": {"scope": "plan"},
            "approvals": ["canary", "segment:batch", "promote"],
        },
    }


def test_two_names_leave_the_rest_to_the_defaults() -> None:
    made = build()
    assert made["metadata"]["name"] == "chat-to-neuron"
    assert set(made["spec"]) == {"workloadRef", "target"}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a variant that is not there": (
        {"variant": "neurn"},
        "no variant 'neurn'; did you mean neuron?; it has gpu, neuron",
    ),
    "a pool that is not there": (
        {"pool": "inf9"},
        "there is no pool 'inf9'; did you mean inf2?; there are inf2, l4",
    ),
    "where it runs already": (
        {"variant": "gpu", "pool": "l4"},
        "runs as gpu on l4 already; name another target",
    ),
    "an approval of no stage": (
        {"approvals": ("segment:x",)},
        "--approval 'segment:x': this plan has no such stage; it has shadow, canary, promote",
    ),
    "an approval of copies that are not made": (
        {"shadow_percent": 0, "approvals": ("shadow",)},
        "it has canary, promote",
    ),
    "an approval of a segment that stays": (
        {"segments": ("a=tier:batch,stay", "b"), "approvals": ("segment:a",)},
        "it has shadow, canary, segment:b, promote",
    ),
    "a segment without a name": ({"segments": ("=tier:batch",)}, "--segment '=tier:batch': give NAME"),
    "a segment with an empty match": ({"segments": ("a=",)}, "--segment 'a=': give NAME"),
    "a match of no kind": ({"segments": ("a=team:x",)}, "'team:x' is not understood"),
    "a path that is none": ({"segments": ("a=path:v1",)}, "'path:v1' is not understood"),
    "a segment twice": ({"segments": ("a=tier:batch", "a")}, "--segment 'a': given twice"),
    "a catch-all before others": ({"segments": ("a", "b=tier:batch")}, "--segment 'a': says nothing"),
    "nothing that moves": ({"segments": ("a=tier:batch,stay",)}, "nothing would move"),
    "a tier that is none": ({"segments": ("a=tier:gold",)}, "spec.segments[0].match.tier: 'gold'"),
}  # fmt: skip - one case, one line


@pytest.mark.parametrize("case", REFUSED)
def test_a_wish_is_refused(case: str) -> None:
    words, told = REFUSED[case]
    assert told in refusal(**words)


def test_a_pool_is_not_judged_where_pools_cannot_be_listed() -> None:
    assert build(None, pool="elsewhere")["spec"]["target"] == {"variant": "neuron", "pool": "elsewhere"}


@pytest.mark.parametrize(
    ("text", "read"), [("neuron", ("neuron", None)), ("neuron@inf2", ("neuron", "inf2"))]
)
def test_targets(text: str, read: tuple[str, str | None]) -> None:
    assert read_target(text) == read


@pytest.mark.parametrize("text", ["", "@inf2", "neuron@"])
def test_targets_that_are_none(text: str) -> None:
    with pytest.raises(CutoverError, match="give VARIANT, or VARIANT@POOL"):
        read_target(text)


@pytest.mark.parametrize(("text", "read"), [("100", (100,)), ("5, 25%,100", (5, 25, 100))])
def test_steps(text: str, read: tuple[int, ...]) -> None:
    assert read_weights(text) == read


@pytest.mark.parametrize(
    "text", ["", "5,25", "0,100", "25,5,100", "5,5,100", "5,101", "a,100", "-5,100", "5,,100"]
)
def test_steps_that_are_none(text: str) -> None:
    with pytest.raises(CutoverError, match=r"--steps .*5,25,50,100"):
        read_weights(text)
