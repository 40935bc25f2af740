from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.cluster import fit
from switchyard.sandbox.cluster.quantities import parse_quantity, pod_requests, read_amounts


def _node(
    name: str = "n", labels: dict | None = None, taints: list | None = None, **allocatable: str
) -> fit.Host:
    amounts = {"cpu": "8", "memory": "32Gi", "pods": "110", **allocatable}
    return fit.read_host(
        {
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"taints": taints or []},
            "status": {"allocatable": amounts},
        }
    )


def _wish(limits: dict | None = None, *, labels: dict | None = None, **spec: object) -> fit.Wish:
    container = {"name": "c", "resources": {"limits": limits or {}}}
    meta = {"name": "p", "namespace": "d", "labels": labels or {}}
    return fit.read_wish({"metadata": meta, "spec": {"containers": [container], **spec}})


TAINT = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "is_tolerated"),
    [
        ({"key": "nvidia.com/gpu", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "nvidia.com/gpu", "value": "true"}, True),
        ({"key": "nvidia.com/gpu", "value": "present"}, False),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "google.com/tpu", "operator": "Exists"}, False),
    ],
)
def test_a_taint_is_tolerated_by_key_value_and_effect(*, toleration: dict, is_tolerated: bool) -> None:
    assert fit.tolerates([toleration], TAINT) is is_tolerated


@pytest.mark.parametrize(
    ("wish", "node", "reason"),
    [
        (_wish(), _node(), ""),
        (_wish(), _node(taints=[TAINT]), fit.UNTOLERATED),
        (_wish(), _node(taints=[{**TAINT, "effect": "PreferNoSchedule"}]), ""),
        (_wish(nodeSelector={"a": "1"}), _node(labels={"a": "2"}), fit.NOT_SELECTED),
        (_wish(nodeSelector={"a": "1"}), _node(labels={"a": "1"}), ""),
    ],
)
def test_taints_and_selectors_rule_nodes_out(wish: fit.Wish, node: fit.Host, reason: str) -> None:
    assert fit.refuse_static(wish, node) == reason


@pytest.mark.parametrize(
    ("expression", "labels", "fits"),
    [
        ({"key": "zone", "operator": "In", "values": ["a", "b"]}, {"zone": "b"}, True),
        ({"key": "zone", "operator": "NotIn", "values": ["a"]}, {}, True),
        ({"key": "zone", "operator": "Exists"}, {}, False),
        ({"key": "zone", "operator": "DoesNotExist"}, {}, True),
        ({"key": "memory", "operator": "Gt", "values": ["40000"]}, {"memory": "81559"}, True),
        ({"key": "memory", "operator": "Lt", "values": ["40000"]}, {"memory": "81559"}, False),
        ({"key": "memory", "operator": "Gt", "values": ["40000"]}, {"memory": "plenty"}, False),
    ],
)
def test_required_node_affinity_understands_every_operator(
    *, expression: dict, labels: dict, fits: bool
) -> None:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    assert (fit.refuse_static(_wish(affinity=affinity), _node(labels=labels)) == "") is fits


def test_devices_that_are_taken_are_not_given_twice() -> None:
    node = _node(**{"nvidia.com/gpu": "2"})
    wish = _wish({"nvidia.com/gpu": "1"})
    for uid in ("a", "b"):
        assert fit.refuse_full(wish, node) == []
        node.add(uid, fit.Placed(wish.requests, "d", {}, ""))
    assert fit.refuse_full(wish, node) == ["Insufficient nvidia.com/gpu"]
    node.remove("a")
    assert fit.refuse_full(wish, node) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_what_a_node_counts_is_the_sum_of_its_pods(steps: list[tuple[int, bool]]) -> None:
    node = _node(**{"x/y": "100"})
    for number, is_added in steps:
        if is_added:
            node.add(str(number), fit.Placed({"x/y": number, "cpu": 100}, "d", {}, ""))
        else:
            node.remove(str(number))
    assert node.requested.get("cpu", 0) == 100 * len(node.pods)
    assert node.requested.get("x/y", 0) == sum(int(uid) for uid in node.pods)


def test_spread_keeps_zones_within_the_skew() -> None:
    nodes = [_node(f"n{i}", labels={"zone": zone}) for i, zone in enumerate("aab")]
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}},
    }
    wish = _wish(labels={"app": "x"}, topologySpreadConstraints=[constraint])
    nodes[0].add("p", fit.Placed({}, "d", {"app": "x"}, ""))
    reasons = [fit.refuse_neighbours(wish, node, nodes) for node in nodes]
    assert reasons == [fit.NOT_SPREAD, fit.NOT_SPREAD, ""]
    assert fit.refuse_neighbours(wish, _node("z"), nodes) == fit.NOT_SPREAD_LABEL


def test_anti_affinity_keeps_pods_apart_and_affinity_together() -> None:
    nodes = [_node(f"n{i}", labels={"kubernetes.io/hostname": f"n{i}"}) for i in range(2)]
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    nodes[0].add("p", fit.Placed({}, "d", {"app": "x"}, ""))
    apart = _wish(labels={"app": "x"}, affinity={"podAntiAffinity": required})
    together = _wish(labels={"app": "y"}, affinity={"podAffinity": required})
    assert [fit.refuse_neighbours(apart, node, nodes) for node in nodes] == [fit.ANTI_AFFINE, ""]
    assert [fit.refuse_neighbours(together, node, nodes) for node in nodes] == ["", fit.NOT_AFFINE]


def test_the_best_node_has_fewest_siblings_then_most_room_then_the_first_name() -> None:
    wish = _wish({"cpu": "1"})
    a, b, c = _node("a"), _node("b"), _node("c")
    a.add("p", fit.Placed({"cpu": 4000}, "d", {}, ""))
    assert sorted([a, c, b], key=lambda node: fit.score(wish, node)) == [b, c, a]


@pytest.mark.parametrize(
    ("total", "reasons", "out", "text"),
    [
        (0, {}, 0, "no nodes available to schedule pods"),
        (
            1,
            {"Insufficient nvidia.com/gpu": 1},
            0,
            (
                "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, "
                "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
            ),
        ),
        (
            1,
            {fit.UNTOLERATED: 1},
            1,
            (
                "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, "
                "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
            ),
        ),
    ],
)
def test_a_pod_that_fits_nowhere_is_told_why_in_the_schedulers_words(
    total: int, reasons: dict, out: int, text: str
) -> None:
    """The texts of one node are those that a kube-scheduler 1.36 wrote."""
    assert fit.explain(total, Counter(reasons), out) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("16Gi", str(16 * 2**30)), ("1k", "1000"), ("8", "8"), ("1.5", "1.5")],
)
def test_quantities_are_read_exactly(text: str, value: str) -> None:
    assert str(parse_quantity(text).normalize()) == str(parse_quantity(value).normalize())


def test_a_quantity_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="many"):
        parse_quantity("many")


def test_requests_count_init_containers_by_their_maximum_and_sidecars_by_their_sum() -> None:
    def container(cpu: str, **more: object) -> dict:
        return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "containers": [container("1"), container("500m")],
        "initContainers": [container("1", restartPolicy="Always"), container("3")],
    }
    assert pod_requests(spec) == {"cpu": 4000}
    assert read_amounts({"cpu": "0.1"}) == {"cpu": 100}
