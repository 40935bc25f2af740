from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.cluster import addresses
from switchyard.sandbox.cluster.containers import ContainerRun
from switchyard.sandbox.cluster.disruption import compute_status as budget_status
from switchyard.sandbox.cluster.endpoints import build_slices
from switchyard.sandbox.cluster.environment import ConfigError, expand, read_field
from switchyard.sandbox.cluster.fleet import generate_fleet, load_fleet, read_fleet
from switchyard.sandbox.cluster.forwarder import Listener, read_backends
from switchyard.sandbox.cluster.nodelife import condition_taints, toleration_seconds
from switchyard.sandbox.cluster.nodes import NodeState, reclaim_taint
from switchyard.sandbox.cluster.podstatus import build_status
from switchyard.sandbox.cluster.programs import Launch, find_program, read_server_options, start_program
from switchyard.sandbox.cluster.selectors import SelectorIndex, matches_selector


def _pod(name: str, *, ready: bool = True, ip: str = "127.64.0.2", **meta: object) -> dict:
    return {
        "metadata": {"name": name, "namespace": "d", "uid": f"uid-{name}", "labels": {"app": "x"}, **meta},
        "spec": {
            "nodeName": "n",
            "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


SERVICE = {
    "metadata": {"name": "web", "namespace": "d", "uid": "s"},
    "spec": {"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
}


@pytest.mark.parametrize(
    ("pod", "conditions"),
    [
        (_pod("a"), {"ready": True, "serving": True, "terminating": False}),
        (_pod("a", ready=False), {"ready": False, "serving": False, "terminating": False}),
        (
            _pod("a", deletionTimestamp="2026-01-01T00:00:00Z"),
            {"ready": False, "serving": True, "terminating": True},
        ),
    ],
)
def test_an_endpoint_follows_its_pods_readiness_and_deletion(pod: dict, conditions: dict) -> None:
    (body,) = build_slices(SERVICE, [pod])
    assert body["endpoints"][0]["conditions"] == conditions
    assert body["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


def test_a_service_has_a_slice_even_without_pods_and_more_than_one_for_many() -> None:
    assert [len(body["endpoints"]) for body in build_slices(SERVICE, [])] == [0]
    many = [_pod(f"p{i:03}") for i in range(150)]
    assert [len(body["endpoints"]) for body in build_slices(SERVICE, many)] == [100, 50]


def test_pods_without_an_address_or_at_their_end_are_no_endpoints() -> None:
    over = _pod("over")
    over["status"]["phase"] = "Failed"
    assert build_slices(SERVICE, [_pod("new", ip=""), over])[0]["endpoints"] == []


def test_traffic_goes_to_ready_endpoints_and_to_terminating_ones_only_when_no_other_is_left() -> None:
    ready, leaving = _pod("a"), _pod("b", ip="10.64.0.3", deletionTimestamp="2026-01-01T00:00:00Z")
    assert read_backends(build_slices(SERVICE, [ready, leaving]), "http") == (("127.64.0.2", 8080),)
    assert read_backends(build_slices(SERVICE, [leaving]), "http") == (("127.64.0.3", 8080),)
    assert read_backends(build_slices(SERVICE, [ready]), "other") == ()


def test_the_forwarder_skips_an_endpoint_that_refuses_and_reaches_the_next() -> None:
    async def scenario() -> None:
        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()

        backend = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = backend.sockets[0].getsockname()[1]
        closed = await asyncio.start_server(answer, "127.0.0.1", 0)
        dead_port = closed.sockets[0].getsockname()[1]
        closed.close()
        await closed.wait_closed()
        front = await asyncio.start_server(answer, "127.0.0.1", 0)
        front_port = front.sockets[0].getsockname()[1]
        front.close()
        await front.wait_closed()
        listener = Listener("127.0.0.1", front_port)
        listener.backends = (("127.0.0.1", dead_port), ("127.0.0.1", port))
        await listener.start()
        try:
            for _ in range(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", front_port)
                assert await reader.read() == b"hello"
                writer.close()
        finally:
            await listener.stop()
            backend.close()

    asyncio.run(scenario())


UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


def _tolerating(*tolerations: dict) -> dict:
    return {"spec": {"tolerations": list(tolerations)}}


@pytest.mark.parametrize(
    ("tolerations", "short", "seconds"),
    [
        ([], 5.0, 0.0),
        ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists"}], 5.0, None),
        # What admission adds is shortened on the sandbox's own nodes, a will of the user's is not.
        (
            [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300}],
            5.0,
            5.0,
        ),
        (
            [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300}],
            None,
            300.0,
        ),
        (
            [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 60}],
            5.0,
            60.0,
        ),
    ],
)
def test_pods_leave_a_lost_node_after_their_toleration(
    tolerations: list[dict], short: float | None, seconds: float | None
) -> None:
    assert toleration_seconds(_tolerating(*tolerations), [UNREACHABLE], short) == seconds


@pytest.mark.parametrize(
    ("status", "keys"),
    [
        ("True", set()),
        ("False", {"node.kubernetes.io/not-ready"}),
        ("Unknown", {"node.kubernetes.io/unreachable"}),
    ],
)
def test_a_nodes_taints_follow_its_ready_condition(status: str, keys: set[str]) -> None:
    node = {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": status}]}}
    assert {key for key, _ in condition_taints(node)} == keys


@pytest.mark.parametrize(
    ("container", "args"),
    [
        ({"command": ["switchyard", "model-server", "--port", "1"]}, ("--port", "1")),
        ({"command": ["/usr/bin/switchyard"], "args": ["model-server"]}, ()),
        ({"command": ["python", "-m", "switchyard", "model-server"], "args": ["--cv2", "1"]}, ("--cv2", "1")),
        ({"image": "example.com/switchyard:1", "args": ["model-server"]}, ()),
        ({"image": "example.com/switchyard:1", "args": ["router", "--config", "/c"]}, ("--config", "/c")),
        ({"image": "example.com/vllm:1", "args": ["model-server"]}, None),
        ({"command": ["sh", "-c", "sleep 1"]}, None),
        ({"image": "switchyard:1"}, None),
    ],
)
def test_only_commands_of_ours_run_for_real(container: dict, args: tuple[str, ...] | None) -> None:
    found = find_program(container)
    assert (found.args if found else None) == args


def _launch(container: dict, env: dict[str, str], *args: str) -> Launch:
    return Launch("p-1", "127.64.0.9", args, env, container, lambda _line: None, lambda _code, _reason: None)


def test_a_model_server_takes_port_limit_and_flags_from_its_container() -> None:
    container = {"ports": [{"containerPort": 9000}], "resources": {"limits": {"memory": "1Gi"}}}
    options = read_server_options(
        _launch(container, {"SWITCHYARD_ACCELERATOR": "nvidia-t4"}, "--model", "chat")
    )
    assert (options.host, options.port, options.model) == ("127.64.0.9", 9000, "chat")
    assert options.memory_limit_bytes == 2**30


@pytest.mark.parametrize("program", ["model-server", "router"])
def test_a_program_that_refuses_its_options_is_a_configuration_error(program: str) -> None:
    with pytest.raises(ConfigError, match="no-such-option"):
        asyncio.run(start_program(program, _launch({}, {}, "--no-such-option")))


@pytest.mark.parametrize(
    ("text", "expected"), [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("plain", "plain"), ("$A", "$A")]
)
def test_variables_expand_as_kubernetes_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


def test_field_references_reach_labels_names_and_the_given_status() -> None:
    pod = _pod("a")
    assert read_field(pod, "metadata.labels['app']", {}) == "x"
    assert read_field(pod, "spec.nodeName", {}) == "n"
    assert read_field(pod, "status.podIP", {"status.podIP": "127.64.9.9"}) == "127.64.9.9"


def test_a_pod_is_ready_once_all_its_containers_are() -> None:
    pod = _pod("a", ready=False)
    pod["status"].pop("conditions")
    runs = [ContainerRun("c", {"image": "i"}), ContainerRun("d", {"image": "i"})]
    runs[0].claim_running()
    status = build_status(
        pod, runs, address="127.64.0.2", host="127.64.0.1", started_at="2026-01-01T00:00:00Z"
    )
    assert status["phase"] == "Pending"
    runs[1].claim_running()
    status = build_status(
        pod, runs, address="127.64.0.2", host="127.64.0.1", started_at="2026-01-01T00:00:00Z"
    )
    assert status["phase"] == "Running"
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"


@pytest.mark.parametrize(
    ("spec", "healthy", "pods", "allowed"),
    [
        ({"maxUnavailable": 1}, 3, 3, 1),
        ({"maxUnavailable": 1}, 2, 3, 0),
        ({"minAvailable": 2}, 3, 3, 1),
        ({"minAvailable": "50%"}, 4, 4, 2),
        ({"maxUnavailable": "0%"}, 4, 4, 0),
    ],
)
def test_a_budget_allows_what_is_healthy_beyond_what_it_wants(
    spec: dict, healthy: int, pods: int, allowed: int
) -> None:
    budget = {"metadata": {"name": "b", "generation": 1}, "spec": spec}
    bodies = [_pod(f"p{i}", ready=i < healthy) for i in range(pods)]
    status = budget_status(budget, bodies, pods)
    assert status["disruptionsAllowed"] == allowed
    assert budget_status({**budget, "status": status}, bodies, pods) == status


def test_the_default_fleet_has_every_family_with_labels_taints_and_two_regions() -> None:
    nodes = load_fleet("default")
    devices = set().union(*(node.devices for node in nodes))
    assert devices >= {
        "nvidia.com/gpu",
        "aws.amazon.com/neuron",
        "google.com/tpu",
        "example.com/fpga-u250",
        "example.com/akida",
    }
    products = {node.labels.get("nvidia.com/gpu.product") for node in nodes}
    assert products >= {"NVIDIA-H100-80GB-HBM3", "NVIDIA-L4", "Tesla-T4"}
    regions = {node.labels["topology.kubernetes.io/region"] for node in nodes}
    assert any(region.startswith("us-") for region in regions)
    assert any(region.startswith("eu-") for region in regions)
    assert any(not node.devices for node in nodes)
    assert len({node.name for node in nodes}) == len(nodes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pools: 3", "list `pools`"),
        ("pools: [{nodes: 1}]", "pool 1"),
        ("pools: [{name: a, colour: red}]", "unknown colour"),
        ("pools: [{name: a, nodes: 0}]", "at least 1"),
        ("pools: [{name: a, memory: lots}]", "'lots' is not a quantity"),
        ("pools: [{name: a}, {name: a}]", "occur twice: a-1"),
        ("pools: [", "not YAML"),
    ],
)
def test_a_bad_fleet_file_is_refused_by_pool_and_field(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        load_fleet(str(path))


def test_a_fleet_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        load_fleet("nowhere.yaml")


def test_a_generated_fleet_spreads_its_nodes_over_the_pools() -> None:
    nodes = generate_fleet(500, 20)
    pools = [node.labels["example.com/bench-pool"] for node in nodes]
    assert len(nodes) == 500
    assert {pools.count(pool) for pool in pools} == {25}


@pytest.mark.parametrize(
    ("labels", "key"),
    [
        ({"karpenter.sh/capacity-type": "spot"}, "karpenter.sh/disrupted"),
        ({"cloud.google.com/gke-spot": "true"}, "cloud.google.com/impending-node-termination"),
        ({}, "aws-node-termination-handler/spot-itn"),
    ],
)
def test_a_reclaimed_node_carries_its_providers_taint(labels: dict[str, str], key: str) -> None:
    (spec,) = read_fleet([{"name": "spot", "labels": labels}])
    assert reclaim_taint(NodeState(spec).spec)[0] == key


def test_two_sandboxes_on_one_machine_have_different_addresses() -> None:
    books = [addresses.AddressBook(is_mapped=False), addresses.AddressBook(is_mapped=True)]
    try:
        taken = [[book.take() for _ in range(600)] for book in books]
        assert not set(taken[0]) & set(taken[1])
        assert all(int(address.rpartition(".")[2]) not in (0, 255) for address in taken[0])
        assert books[0].advertise(taken[0][0]) == taken[0][0]
        shown = books[1].advertise(taken[1][0])
        assert shown.startswith("10.")
        assert addresses.listen_address(shown) == taken[1][0]
    finally:
        for book in books:
            book.socket.close()


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)
EXPRESSIONS = st.lists(
    st.fixed_dictionaries(
        {"key": st.sampled_from("abc"), "operator": st.sampled_from(["Exists", "DoesNotExist"])}
    ),
    max_size=1,
)


@given(
    st.lists(st.tuples(LABELS, EXPRESSIONS), max_size=6),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3),
)
def test_the_selector_index_finds_what_trying_every_selector_finds(selectors: list, labels: dict) -> None:
    index = SelectorIndex()
    expected = set()
    for number, (equal, expressions) in enumerate(selectors):
        selector = {"matchLabels": equal, "matchExpressions": expressions}
        index.put(("d", str(number)), {"matchLabels": {"z": "0"}})  # replaced at once
        index.put(("d", str(number)), selector)
        if matches_selector(selector, labels):
            expected.add(("d", str(number)))
    found = list(index.matching({"metadata": {"namespace": "d", "labels": labels}}))
    assert set(found) == expected
    assert len(found) == len(expected)
    assert list(index.matching({"metadata": {"namespace": "other", "labels": labels}})) == []
