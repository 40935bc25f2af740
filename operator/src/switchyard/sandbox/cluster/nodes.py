"""All nodes of a fleet, simulated by one set of tasks: registration, heartbeats, pods, and what can fail."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from switchyard.sandbox.client import LEASES, NAMESPACES, NODES, STRATEGIC_PATCH, ApiClient, ApiError, Json
from switchyard.sandbox.cluster.addresses import AddressBook
from switchyard.sandbox.cluster.conditions import is_true, stamp, stamp_micro
from switchyard.sandbox.cluster.events import Recorder
from switchyard.sandbox.cluster.fleet import NodeSpec
from switchyard.sandbox.cluster.informer import Informer
from switchyard.sandbox.cluster.nodelife import AGENT_ANNOTATION
from switchyard.sandbox.cluster.podrun import PodHost, PodRun, confirm_deletion, is_runnable

log = logging.getLogger(__name__)

_LEASE_NAMESPACE = "kube-node-lease"
_STATUS_SECONDS = 300.0  # a status without news is written this rarely, as by a kubelet
_NEURON, _NEURON_CORE = "aws.amazon.com/neuron", "aws.amazon.com/neuroncore"
_TRANSIENT = (ApiError, aiohttp.ClientError, ConnectionError, TimeoutError)


@dataclass(slots=True)
class NodeState:
    """One node as it is now. `unhealthy`: devices per resource that the plugin took out of allocatable."""

    spec: NodeSpec
    is_alive: bool = True
    unhealthy: dict[str, int] = field(default_factory=dict)
    latency_factor: float = 1.0
    is_gone: bool = False  # reclaimed: the Node object is deleted as well
    reported_at: float = 0.0  # loop time of the last status write


class NodeAgents:
    """The agents of a fleet."""

    def __init__(
        self,
        client: ApiClient,
        fleet: tuple[NodeSpec, ...],
        *,
        nodes: Informer,
        pods: Informer,
        config_maps: Informer,
        recorder: Recorder,
        book: AddressBook,
        heartbeat_seconds: float = 3.0,
    ) -> None:
        self._client = client.as_agent("kubelet")
        self._nodes = nodes
        self._pods = pods
        self._config_maps = config_maps
        self._files: tempfile.TemporaryDirectory[str] | None = None
        self._recorder = recorder
        self._book = book
        self.states = {spec.name: NodeState(spec) for spec in fleet}
        self.runs: dict[str, PodRun] = {}  # by pod uid
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._host: PodHost | None = None
        # About 20 renewals a second at most, however large the fleet.
        self.interval_seconds = max(heartbeat_seconds, len(fleet) / 20)
        self.lease_seconds = max(1, round(self.interval_seconds * 3.3))
        pods.add_index("node", lambda pod: [pod["spec"]["nodeName"]] if pod["spec"].get("nodeName") else [])

    async def start(self) -> None:
        """Register all nodes and take up their pods."""
        # Every probe is a connection of its own, as a kubelet's are: a kept one would hide a dead listener.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))
        self._files = tempfile.TemporaryDirectory(prefix="switchyard-pods-", ignore_cleanup_errors=True)
        self._host = PodHost(
            self._client,
            self._pods,
            self._book,
            self._session,
            self._recorder,
            asyncio.Semaphore(24),
            Path(self._files.name),
        )
        await asyncio.gather(self._nodes.synced.wait(), self._pods.synced.wait())
        with contextlib.suppress(ApiError):
            await self._client.create(
                NAMESPACES,
                "",
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _LEASE_NAMESPACE}},
            )
        gate = asyncio.Semaphore(8)

        async def register(state: NodeState) -> None:
            async with gate:
                await self._register(state)

        await asyncio.gather(*(register(state) for state in self.states.values()))
        self._pods.add_handler(self._pod_changed)
        self._nodes.add_handler(self._node_changed)
        self._config_maps.add_handler(self._config_map_changed)

    async def run(self) -> None:
        """Renew the leases one after the other, evenly over the interval, for ever."""
        while True:
            alive = [state for state in self.states.values() if state.is_alive and not state.is_gone]
            pause = self.interval_seconds / max(1, len(alive))
            for state in alive:
                await asyncio.sleep(pause)
                if state.is_alive and not state.is_gone:
                    self._spawn(self._renew(state))
            if not alive:
                await asyncio.sleep(self.interval_seconds)

    async def close(self) -> None:
        """Stop everything without telling the API server, as a machine that is switched off."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*(run.crash() for run in list(self.runs.values())))
        self.runs.clear()
        if self._session is not None:
            await self._session.close()
        if self._files is not None:
            self._files.cleanup()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("node agents: %r", task.exception())

    # -- nodes -----------------------------------------------------------------------------------

    async def _register(self, state: NodeState) -> None:
        """Create the Node and its Lease, or bring those that are there up to date."""
        body = node_body(state, self._book)
        name = state.spec.name
        present = self._nodes.get("", name)
        if present is None:
            try:
                present = await self._client.create(NODES, "", body)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                present = await self._client.get(NODES, "", name)
        meta = {"labels": body["metadata"]["labels"], "annotations": body["metadata"]["annotations"]}
        shown = present["metadata"]
        if any(not (shown.get(part) or {}).items() >= meta[part].items() for part in meta):
            present = await self._client.patch(NODES, "", name, {"metadata": meta})
        self._nodes.observe(present)
        await self._report(state)
        await self._renew(state)

    async def _report(self, state: NodeState) -> None:
        status = node_body(state, self._book)["status"]
        status["addresses"].insert(0, {"$patch": "replace"})  # another life of this node had other ones
        changed = await self._client.patch(
            NODES, "", state.spec.name, {"status": status}, subresource="status", content_type=STRATEGIC_PATCH
        )
        state.reported_at = asyncio.get_running_loop().time()
        self._nodes.observe(changed)

    async def _renew(self, state: NodeState) -> None:
        name = state.spec.name
        if asyncio.get_running_loop().time() - state.reported_at > _STATUS_SECONDS:
            with contextlib.suppress(*_TRANSIENT):
                await self._report(state)
        spec = {"renewTime": stamp_micro()}
        try:
            try:
                await self._client.patch(LEASES, _LEASE_NAMESPACE, name, {"spec": spec})
            except ApiError as error:
                node = self._nodes.get("", name)
                if not error.is_not_found or node is None:
                    raise
                await self._client.create(LEASES, _LEASE_NAMESPACE, self._lease(node, spec))
        except _TRANSIENT as error:
            log.debug("lease of %s: %s", name, error)

    def _lease(self, node: Json, spec: Json) -> Json:
        name = node["metadata"]["name"]
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": _LEASE_NAMESPACE, "ownerReferences": [owner]},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": self.lease_seconds, **spec},
        }

    def _node_changed(self, _old: Json | None, new: Json | None) -> None:
        if new is None:
            return
        state = self.states.get(new["metadata"]["name"])
        if state is None or not state.is_alive or is_true(new, "Ready"):
            return
        self._spawn(self._report(state))  # someone took us for dead; kubelets contradict

    # -- pods ------------------------------------------------------------------------------------

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            run = self.runs.pop(old["metadata"]["uid"], None)
            if run is not None and not run.is_ending:
                self._spawn(run.crash())  # deleted by force
        if new is None:
            return
        state = self.states.get(new["spec"].get("nodeName", ""))
        if state is not None and state.is_alive:
            self._take_up(state, new)

    def _take_up(self, state: NodeState, pod: Json) -> None:
        assert self._host is not None  # noqa: S101  (set before the first pod is seen)
        uid = pod["metadata"]["uid"]
        run = self.runs.get(uid)
        if run is None and is_runnable(pod):
            run = PodRun(self._host, pod, latency_factor=state.latency_factor)
            self.runs[uid] = run
            run.spawn(run.start())
        elif pod["metadata"].get("deletionTimestamp"):
            if run is None:
                self._spawn(confirm_deletion(self._host, pod))
            elif not run.is_ending:
                self._spawn(self._end(run, pod))
        elif run is not None and run.is_contradicted_by(pod):
            run.spawn(run.report_again())

    def _config_map_changed(self, _old: Json | None, new: Json | None) -> None:
        if new is not None:  # as with a kubelet, the files of a deleted one stay
            for run in self.runs.values():
                run.refresh_files(new)

    async def _end(self, run: PodRun, pod: Json) -> None:
        await run.terminate(pod)
        self.runs.pop(run.uid, None)

    def run_of(self, namespace: str, name: str) -> PodRun | None:
        """The pod of this name as it runs here."""
        pod = self._pods.get(namespace, name)
        return self.runs.get(pod["metadata"]["uid"]) if pod is not None else None

    # -- faults ----------------------------------------------------------------------------------

    def _state(self, name: str) -> NodeState:
        try:
            return self.states[name]
        except KeyError:
            raise KeyError(f"no node {name!r}; there are {', '.join(sorted(self.states))}") from None

    async def kill(self, name: str) -> None:
        """Switch a node off: no heartbeats, all its servers gone at once. KeyError for an unknown name."""
        state = self._state(name)
        state.is_alive = False
        for pod in self._pods.indexed("node", name):
            run = self.runs.pop(pod["metadata"]["uid"], None)
            if run is not None:
                await run.crash()

    async def restore(self, name: str) -> None:
        """Switch a node on again, healthy and at full speed; its pods start anew."""
        state = self._state(name)
        state.is_alive, state.is_gone = True, False
        state.unhealthy, state.latency_factor = {}, 1.0
        await self._register(state)
        for pod in self._pods.indexed("node", name):
            run = self.runs.get(pod["metadata"]["uid"])
            if run is not None:
                run.set_latency_factor(1.0)
            self._take_up(state, pod)

    async def mark_unhealthy(self, name: str, resource: str, count: int) -> None:
        """Take `count` devices of a resource out of allocatable, as a device plugin does; 0 heals them.

        KeyError for an unknown name, ValueError for a resource or count that the node does not have.
        """
        state = self._state(name)
        if resource not in state.spec.devices:
            known = ", ".join(sorted(state.spec.devices)) or "none"
            raise ValueError(f"{name} has no devices {resource!r}; it has {known}")
        total = int(state.spec.capacity[resource])
        if not 0 <= count <= total:
            raise ValueError(f"{name} has {total} of {resource}, not {count}")
        state.unhealthy[resource] = count
        if resource == _NEURON and _NEURON_CORE in state.spec.devices:
            # One device seen in two ways: its cores go with it.
            state.unhealthy[_NEURON_CORE] = int(state.spec.capacity[_NEURON_CORE]) * count // total
        if state.is_alive:
            await self._report(state)

    async def slow(self, name: str, factor: float) -> None:
        """Make everything that serves on the node `factor` times slower. ValueError for a bad factor."""
        state = self._state(name)
        if not 0 < factor < 1e6:
            raise ValueError(f"factor must be above 0, not {factor}")
        state.latency_factor = factor
        for pod in self._pods.indexed("node", name):
            run = self.runs.get(pod["metadata"]["uid"])
            if run is not None:
                run.set_latency_factor(factor)

    async def reclaim(self, name: str, notice_seconds: float = 10.0) -> None:
        """Take a spot node away: taint and notice now, the node and its pods gone after the notice."""
        state = self._state(name)
        node = await self._client.get(NODES, "", name)
        key, value = reclaim_taint(state.spec)
        taints = [t for t in node["spec"].get("taints") or [] if t["key"] != key]
        taint = {"key": key, "effect": "NoSchedule", **({"value": value} if value else {})}
        patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}}
        changed = await self._client.patch(NODES, "", name, {**patch, "spec": {"taints": [*taints, taint]}})
        self._nodes.observe(changed)
        text = f"The provider takes this node back in {notice_seconds:.0f} s"
        self._recorder.record("spot-interruption", changed, "SpotInterruption", text, kind="Warning")
        self._spawn(self._take_away(state, notice_seconds))

    async def _take_away(self, state: NodeState, notice_seconds: float) -> None:
        name = state.spec.name
        await asyncio.sleep(notice_seconds)
        state.is_gone = True
        await self.kill(name)
        for pod in self._pods.indexed("node", name):
            assert self._host is not None  # noqa: S101  (set at start)
            await confirm_deletion(self._host, pod)
        await self._client.delete(LEASES, _LEASE_NAMESPACE, name)
        await self._client.delete(NODES, "", name)


def reclaim_taint(spec: NodeSpec) -> tuple[str, str]:
    """(key, value) of the taint by which the provider of this node announces that it takes it back."""
    labels = spec.labels
    if any(key.startswith("cloud.google.com/") for key in labels):
        return "cloud.google.com/impending-node-termination", ""
    if any(key.startswith("karpenter.sh/") for key in labels):
        return "karpenter.sh/disrupted", ""
    if any(key.startswith("kubernetes.azure.com/") for key in labels):
        return "remediator.kubernetes.azure.com/unschedulable", ""
    return "aws-node-termination-handler/spot-itn", "true"


def node_body(state: NodeState, book: AddressBook) -> Json:
    """The Node as its kubelet and device plugins describe it."""
    spec = state.spec
    allocatable = dict(spec.capacity)
    for resource, count in state.unhealthy.items():
        allocatable[resource] = str(int(spec.capacity[resource]) - count)
    now = stamp()
    pressures = (
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    )
    conditions = [
        {"type": kind, "status": "False", "reason": reason, "message": message}
        for kind, reason, message in pressures
    ]
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
    }
    stamps = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": spec.name,
            "labels": dict(spec.labels),
            "annotations": {AGENT_ANNOTATION: "true", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {"taints": [dict(taint) for taint in spec.taints]} if spec.taints else {},
        "status": {
            "capacity": dict(spec.capacity),
            "allocatable": allocatable,
            "conditions": [{**condition, **stamps} for condition in (*conditions, ready)],
            # No Hostname: a real API server would try to resolve it before it asks for logs.
            "addresses": [{"type": "InternalIP", "address": book.agent_address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": book.agent_port}},
            "nodeInfo": {
                "architecture": spec.architecture,
                "operatingSystem": "linux",
                "osImage": "Switchyard sandbox",
                "kernelVersion": "simulated",
                "kubeletVersion": "v1.36.2",
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "sandbox://1",
                "machineID": spec.name,
                "systemUUID": spec.name,
                "bootID": spec.name,
            },
        },
    }
