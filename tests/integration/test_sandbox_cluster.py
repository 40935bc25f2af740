"""Controllers, scheduler, nodes and Services together, over real HTTP, on the embedded API server."""

from __future__ import annotations

import asyncio
import contextlib
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from switchyard.sandbox.client import (
    CLUSTER_ROLES,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STRATEGIC_PATCH,
    ApiClient,
    ApiError,
)
from switchyard.sandbox.cluster.conditions import find_condition, is_pod_ready, is_true
from switchyard.sandbox.cluster.fleet import read_fleet
from switchyard.sandbox.handle import Sandbox, SandboxProcess

FLEET = read_fleet(
    [
        {
            "name": "gpu",
            "nodes": 2,
            "devices": {"nvidia.com/gpu": 2},
            "labels": {"pool": "gpu"},
            "taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}],
        },
        {"name": "cpu", "nodes": 1, "labels": {"pool": "cpu", "karpenter.sh/capacity-type": "spot"}},
    ]
)


def run_in_sandbox(scenario: Callable[[Sandbox], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Sandbox(FLEET, heartbeat_seconds=0.3, eviction_seconds=0.5) as sandbox:
            await scenario(sandbox)

    asyncio.run(run())


async def until(check: Callable[[], Awaitable[Any]], *, seconds: float = 20.0) -> Any:
    """What `check` gives once it is true; the last failure when the time is up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        problem: BaseException | None = None
        result = None
        try:
            result = await check()
        except (AssertionError, ApiError, aiohttp.ClientError, ConnectionError) as error:
            problem = error
        if result and problem is None:
            return result
        if loop.time() > deadline:
            raise AssertionError(f"not in {seconds} s: {check.__name__}: {problem or result!r}")
        await asyncio.sleep(0.05)


def deployment(
    name: str = "web", replicas: int = 2, *, image: str = "switchyard:1", **container: Any
) -> dict:
    spec = {
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "containers": [
            {
                "name": "model",
                "image": image,
                "command": ["switchyard", "model-server", "--model", name, "--base-ms", "2", "--cv2", "0"],
                "env": [{"name": "SWITCHYARD_ACCELERATOR", "value": "nvidia-l4"}],
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
                "resources": {"limits": {"nvidia.com/gpu": "1"}},
                **container,
            }
        ],
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(name: str = "web", port: int = 8080) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "targetPort": "http"}]},
    }


async def pods_of(client: ApiClient, app: str = "web") -> list[dict]:
    document = await client.list(PODS, "default", params={"labelSelector": f"app={app}"})
    return document["items"]


async def ready_pods(client: ApiClient, count: int, app: str = "web") -> list[dict]:
    async def enough() -> Any:
        pods = [p for p in await pods_of(client, app) if not p["metadata"].get("deletionTimestamp")]
        ready = [pod for pod in pods if is_pod_ready(pod)]
        return ready if len(ready) == len(pods) == count else None

    return await until(enough)


async def ask(url: str, prompt: str = "hello") -> tuple[str, str]:
    """(answer's text, pod that answered)."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/completions", json={"prompt": prompt}) as answer,
    ):
        assert answer.status == 200
        body = await answer.json()
        return body["choices"][0]["text"], answer.headers["X-Switchyard-Pod"]


async def service_url(client: ApiClient, name: str = "web") -> str:
    spec = (await client.get(SERVICES, "default", name))["spec"]
    return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"


async def start_web(client: ApiClient, replicas: int = 2) -> str:
    await client.create(DEPLOYMENTS, "default", deployment(replicas=replicas))
    await client.create(SERVICES, "default", service())
    await ready_pods(client, replicas)
    url = await service_url(client)

    async def answers() -> bool:
        return bool(await ask(url))

    await until(answers)
    return url


def test_a_deployment_serves_over_real_http_through_its_service() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        url = await start_web(sandbox.client)
        pods = await ready_pods(sandbox.client, 2)
        assert len({pod["status"]["podIP"] for pod in pods}) == 2
        # Spread over the nodes, because siblings keep apart where there is room.
        assert {pod["spec"]["nodeName"] for pod in pods} == {"gpu-1", "gpu-2"}
        seen = {(await ask(url))[1] for _ in range(40)}
        assert seen == {pod["metadata"]["name"] for pod in pods}
        assert (await ask(url))[0] == (await ask(url))[0]
        status = pods[0]["status"]["containerStatuses"][0]
        assert status["ready"]
        assert "startedAt" in status["state"]["running"]

        async def complete() -> Any:
            body = await sandbox.client.get(DEPLOYMENTS, "default", "web")
            return (
                body["status"].get("availableReplicas") == 2
                and find_condition(body, "Progressing")["reason"] == "NewReplicaSetAvailable"
            )

        await until(complete)

    run_in_sandbox(scenario)


def test_a_new_template_rolls_out_without_losing_a_request_and_back_again() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        url = await start_web(client)
        failures: list[BaseException] = []
        rolled = asyncio.Event()

        async def keep_asking() -> None:
            while not rolled.is_set():
                try:
                    await ask(url)
                except (aiohttp.ClientError, AssertionError) as error:
                    failures.append(error)

        asking = asyncio.create_task(keep_asking())
        for revision, image in (("2", "switchyard:2"), ("3", "switchyard:1")):
            patch = {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": image}]}}}}
            await client.patch(DEPLOYMENTS, "default", "web", patch, content_type=STRATEGIC_PATCH)

            async def rolled_out(revision: str = revision, image: str = image) -> bool:
                body = await client.get(DEPLOYMENTS, "default", "web")
                pods = await pods_of(client)
                return (
                    body["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == revision
                    and len(pods) == 2
                    and all(pod["spec"]["containers"][0]["image"] == image for pod in pods)
                )

            await until(rolled_out)
        rolled.set()
        await asking
        assert failures == []
        sets = (await client.list(REPLICA_SETS, "default"))["items"]
        assert len(sets) == 2  # going back found the first one again

    run_in_sandbox(scenario)


def test_a_killed_node_loses_its_pods_to_another_and_a_restored_one_serves_again() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        url = await start_web(client)
        victim = next(p for p in await pods_of(client) if p["spec"]["nodeName"] == "gpu-1")
        await sandbox.nodes.kill("gpu-1")
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(f"http://{victim['status']['podIP']}:8080")

        async def is_lost() -> bool:
            node = await client.get(NODES, "", "gpu-1")
            keys = {taint["key"] for taint in node["spec"].get("taints", [])}
            return not is_true(node, "Ready") and "node.kubernetes.io/unreachable" in keys

        await until(is_lost)

        async def has_moved() -> bool:
            pods = await pods_of(client)
            ready = [p for p in pods if is_pod_ready(p)]
            return len(ready) == 2 and all(p["spec"]["nodeName"] == "gpu-2" for p in ready)

        await until(has_moved)
        assert {(await ask(url))[1] for _ in range(10)}

        await sandbox.nodes.restore("gpu-1")

        async def is_back() -> bool:
            node = await client.get(NODES, "", "gpu-1")
            keys = {taint["key"] for taint in node["spec"].get("taints", [])}
            names = {pod["metadata"]["name"] for pod in await pods_of(client)}
            return (
                is_true(node, "Ready")
                and keys == {"nvidia.com/gpu"}
                and victim["metadata"]["name"] not in names
            )

        await until(is_back)

    run_in_sandbox(scenario)


def test_an_unhealthy_device_leaves_allocatable_and_takes_no_pod() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        await sandbox.nodes.mark_unhealthy("gpu-1", "nvidia.com/gpu", 2)
        node = await client.get(NODES, "", "gpu-1")
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "0"
        assert node["status"]["capacity"]["nvidia.com/gpu"] == "2"
        await client.create(DEPLOYMENTS, "default", deployment(replicas=3))

        async def one_is_left_over() -> Any:
            waiting = [pod for pod in await pods_of(client) if not pod["spec"].get("nodeName")]
            condition = find_condition(waiting[0], "PodScheduled") if len(waiting) == 1 else None
            return condition["message"] if condition and condition["status"] == "False" else None

        message = await until(one_is_left_over)
        assert message.startswith(
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 Insufficient nvidia.com/gpu."
        )

        async def is_told() -> bool:
            found = await client.list(EVENTS, "default", params={"fieldSelector": "reason=FailedScheduling"})
            return any(event["message"] == message for event in found["items"])

        await until(is_told)
        await sandbox.nodes.mark_unhealthy("gpu-1", "nvidia.com/gpu", 0)
        await ready_pods(client, 3)

    run_in_sandbox(scenario)


def test_a_reclaimed_node_goes_with_a_notice() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        await sandbox.nodes.reclaim("cpu-1", 0.5)
        taints = (await client.get(NODES, "", "cpu-1"))["spec"]["taints"]
        assert {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"} in taints

        async def is_gone() -> bool:
            names = {node["metadata"]["name"] for node in (await client.list(NODES))["items"]}
            return "cpu-1" not in names

        await until(is_gone)

    run_in_sandbox(scenario)


def test_a_slow_node_serves_slower() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        url = await start_web(client, replicas=1)
        (pod,) = await ready_pods(client, 1)
        loop = asyncio.get_running_loop()
        await sandbox.nodes.slow(pod["spec"]["nodeName"], 200)
        started = loop.time()
        await ask(url)
        assert loop.time() - started > 0.35

    run_in_sandbox(scenario)


def test_a_pod_whose_readiness_fails_gets_no_traffic() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        url = await start_web(client)
        pods = await ready_pods(client, 2)
        sick = pods[0]
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://{sick['status']['podIP']}:8080/admin/faults", json={"cold_start_seconds": 3600}
            ) as answer,
        ):
            assert answer.status == 200

        async def is_out() -> bool:
            found = await client.list(
                ENDPOINT_SLICES, "default", params={"labelSelector": "kubernetes.io/service-name=web"}
            )
            ready = {
                endpoint["targetRef"]["name"]: endpoint["conditions"]["ready"]
                for body in found["items"]
                for endpoint in body["endpoints"]
            }
            return ready == {pods[0]["metadata"]["name"]: False, pods[1]["metadata"]["name"]: True}

        await until(is_out)

        async def is_avoided() -> bool:
            return {(await ask(url))[1] for _ in range(5)} == {pods[1]["metadata"]["name"]}

        await until(is_avoided)

    run_in_sandbox(scenario)


def test_a_container_that_runs_out_of_memory_is_restarted_and_says_why() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        body = deployment(
            replicas=1,
            args=["--leak-bytes-per-request", str(300 * 2**20)],
            resources={"limits": {"nvidia.com/gpu": "1", "memory": "512Mi"}},
        )
        await client.create(DEPLOYMENTS, "default", body)
        (pod,) = await ready_pods(client, 1)
        with contextlib.suppress(aiohttp.ClientError):
            await ask(f"http://{pod['status']['podIP']}:8080")

        async def is_restarted() -> Any:
            (current,) = await pods_of(client)
            status = current["status"]["containerStatuses"][0]
            return status if status["restartCount"] == 1 and status["ready"] else None

        status = await until(is_restarted)
        assert status["lastState"]["terminated"]["reason"] == "OOMKilled"
        assert status["lastState"]["terminated"]["exitCode"] == 137

    run_in_sandbox(scenario)


def test_a_container_with_a_bad_option_waits_with_the_reason() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        await sandbox.client.create(DEPLOYMENTS, "default", deployment(replicas=1, args=["--slots", "0"]))

        async def waits() -> Any:
            pods = await pods_of(sandbox.client)
            statuses = pods[0].get("status", {}).get("containerStatuses") if pods else None
            return statuses[0]["state"].get("waiting") if statuses else None

        waiting = await until(waits)
        assert waiting["reason"] == "CreateContainerConfigError"
        assert "slots" in waiting["message"]

    run_in_sandbox(scenario)


def test_deletion_takes_everything_along_and_orphaning_leaves_it() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        await client.create(DEPLOYMENTS, "default", deployment("gone", 1))
        await client.create(DEPLOYMENTS, "default", deployment("kept", 1))
        await client.create(DEPLOYMENTS, "default", deployment("waited-for", 1))
        for name in ("gone", "kept", "waited-for"):
            await ready_pods(client, 1, name)
        await client.delete(DEPLOYMENTS, "default", "gone", propagation="Background")
        await client.delete(DEPLOYMENTS, "default", "kept", propagation="Orphan")
        await client.delete(DEPLOYMENTS, "default", "waited-for", propagation="Foreground")

        async def is_settled() -> bool:
            deployments = (await client.list(DEPLOYMENTS, "default"))["items"]
            sets = (await client.list(REPLICA_SETS, "default"))["items"]
            left = [len(await pods_of(client, name)) for name in ("gone", "kept", "waited-for")]
            owners = [body["metadata"].get("ownerReferences", []) for body in sets]
            return not deployments and owners == [[]] and left == [0, 1, 0]

        await until(is_settled)

    run_in_sandbox(scenario)


def test_a_namespace_gets_its_furniture_and_goes_with_all_it_holds() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        await client.create(
            NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
        )

        async def is_furnished() -> bool:
            config = await client.request("GET", "/api/v1/namespaces/team/configmaps/kube-root-ca.crt")
            account = await client.request("GET", "/api/v1/namespaces/team/serviceaccounts/default")
            return config["data"]["ca.crt"].startswith("-----BEGIN") and bool(account)

        await until(is_furnished)
        body = deployment()
        body["metadata"]["namespace"] = "team"
        await client.create(DEPLOYMENTS, "team", body)

        async def has_pods() -> bool:
            return len((await client.list(PODS, "team"))["items"]) == 2

        await until(has_pods)
        await client.delete(NAMESPACES, "", "team")

        async def is_gone() -> bool:
            try:
                await client.get(NAMESPACES, "", "team")
            except ApiError as error:
                return error.is_not_found
            return False

        await until(is_gone)

    run_in_sandbox(scenario)


def test_what_is_labelled_for_view_reaches_view_edit_and_admin_and_leaves_with_its_role() -> None:
    rule = {"verbs": ["get"], "apiGroups": ["example.org"], "resources": ["things"]}
    label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    part = {
        "apiVersion": CLUSTER_ROLES.api_version,
        "kind": CLUSTER_ROLES.kind,
        "metadata": {"name": "things-view", "labels": label},
        "rules": [rule],
    }

    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client

        async def rules() -> dict[str, list]:
            names = ("view", "edit", "admin")
            return {name: (await client.get(CLUSTER_ROLES, "", name))["rules"] for name in names}

        async def is_gathered() -> bool:
            return all(rule in found for found in (await rules()).values())

        before = await rules()
        await client.create(CLUSTER_ROLES, "", part)
        await until(is_gathered)
        await client.delete(CLUSTER_ROLES, "", "things-view")

        async def is_as_before() -> bool:
            return await rules() == before

        await until(is_as_before)

    run_in_sandbox(scenario)


def test_logs_come_from_the_node() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        await start_web(sandbox.client, replicas=1)
        (pod,) = await pods_of(sandbox.client)
        path = f"{sandbox.url}/api/v1/namespaces/default/pods/{pod['metadata']['name']}/log?tailLines=1"
        headers = {"Authorization": f"Bearer {sandbox.admin_token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(path, headers=headers, ssl=False) as answer,
        ):
            assert answer.status == 200
            assert (await answer.text()).startswith(f"listening on {pod['status']['podIP']}:8080")

    run_in_sandbox(scenario)


def test_an_outage_of_the_api_server_does_not_stop_serving_and_is_caught_up_with() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        url = await start_web(client)
        await sandbox.faults.add("downtime", seconds=1.0)
        assert await ask(url)

        async def is_up() -> bool:
            return bool(await client.get(DEPLOYMENTS, "default", "web"))

        await until(is_up)
        await sandbox.faults.add("compact-history")
        await client.patch(DEPLOYMENTS, "default", "web", {"spec": {"replicas": 4}})
        await ready_pods(client, 4)

    run_in_sandbox(scenario)


def test_a_node_corrects_a_readiness_that_somebody_else_wrote() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        await start_web(client, replicas=1)
        (pod,) = await ready_pods(client, 1)
        wrong = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        name = pod["metadata"]["name"]
        answer = await client.patch(
            PODS, "default", name, wrong, subresource="status", content_type=STRATEGIC_PATCH
        )
        assert not is_pod_ready(answer)
        await ready_pods(client, 1)

    run_in_sandbox(scenario)


def test_an_idle_cluster_writes_nothing_but_its_heartbeats() -> None:
    async def scenario(sandbox: Sandbox) -> None:
        client = sandbox.client
        await start_web(client)

        async def versions() -> dict[str, str]:
            found = {}
            for kind in (DEPLOYMENTS, REPLICA_SETS, PODS, ENDPOINT_SLICES, SERVICES):
                for body in (await client.list(kind))["items"]:
                    meta = body["metadata"]
                    found[f"{kind.plural}/{meta['name']}"] = meta["resourceVersion"]
            return found

        async def is_calm() -> bool:
            before = await versions()
            await asyncio.sleep(1.0)
            return await versions() == before

        await until(is_calm)
        before = await versions()
        await asyncio.sleep(2.0)
        assert await versions() == before

    run_in_sandbox(scenario)


def test_the_command_line_starts_disturbs_and_ends_a_sandbox(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("pools: [{name: gpu, nodes: 2, devices: {nvidia.com/gpu: 4}}]")
    kept = tmp_path / "objects"

    def kubectl(sandbox: SandboxProcess, *args: str) -> str:
        program = Path(sys.executable).parent / "kubectl"
        done = subprocess.run(
            [program, *args], env=sandbox.environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    with SandboxProcess.start(tmp_path / "state", fleet=str(fleet), persist=kept) as sandbox:
        assert kubectl(sandbox, "get", "nodes", "-o", "name").split() == ["node/gpu-1", "node/gpu-2"]
        for name in ("kubeconfig", "server.json", "nodes.json"):
            assert stat.S_IMODE((tmp_path / "state" / name).stat().st_mode) == 0o600
        with pytest.raises(RuntimeError, match="is up already"):
            _start_second(tmp_path / "state")
        sandbox.node_fault("gpu-1", "unhealthy", devices=3)
        text = kubectl(
            sandbox, "get", "node", "gpu-1", "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}"
        )
        assert text == "1"
        kubectl(sandbox, "create", "configmap", "note", "--from-literal=a=b")
        assert sandbox.stop() == 0
    with SandboxProcess.start(tmp_path / "state", fleet=str(fleet), persist=kept) as sandbox:
        assert kubectl(sandbox, "get", "configmap", "note", "-o", "jsonpath={.data.a}") == "b"


def _start_second(state: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "switchyard",
        "sandbox",
        "up",
        "--state-dir",
        str(state),
        "--fleet",
        "none",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    raise RuntimeError(done.stderr)
