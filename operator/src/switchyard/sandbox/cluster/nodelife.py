"""What happens when a node falls silent: condition, taints, pods moved; and when it vanishes."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from switchyard.sandbox.client import NODES, PODS, STRATEGIC_PATCH, ApiClient, ApiError, Json
from switchyard.sandbox.cluster.conditions import find_condition, is_pod_ready, stamp
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.events import Recorder
from switchyard.sandbox.cluster.informer import Informer, Key, key_of

log = logging.getLogger(__name__)

AGENT_ANNOTATION = "sandbox.switchyard.dev/agent"  # marks nodes that agents of the sandbox simulate
_COMPONENT = "node-controller"
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_FOREIGN_GRACE_SECONDS = 300.0  # nodes that nobody of ours speaks for are left alone for long
_DEFAULT_TOLERATION_SECONDS = 300  # what admission adds to every pod
_ORPHAN_SECONDS = 20.0  # pods of a node that is gone wait this long for its return


class NodeLifecycle:
    """Judges nodes by their heartbeats.

    Pods on the sandbox's own nodes with no toleration of their own leave after `eviction_seconds`, not
    after Kubernetes' five minutes: somebody is watching.
    """

    def __init__(
        self,
        client: ApiClient,
        nodes: Informer,
        pods: Informer,
        leases: Informer,
        recorder: Recorder,
        *,
        eviction_seconds: float = 5.0,
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._pods = pods
        self._leases = leases
        self._recorder = recorder
        self._eviction_seconds = eviction_seconds
        self._heard: dict[str, float] = {}
        self._evictions: dict[Key, tuple[str, float]] = {}  # pod -> uid, loop time
        self._orphans: dict[str, float] = {}  # node name that pods name and nobody knows -> since
        self.queue: WorkQueue[str] = WorkQueue("node", self._sync, workers=4)
        pods.add_index("node", _node_entry)
        nodes.add_handler(self._node_changed)
        leases.add_handler(self._lease_changed)
        pods.add_handler(self._pod_changed)

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        body = new or old
        if body is None:
            return
        name = body["metadata"]["name"]
        if new is None:
            self._heard.pop(name, None)
            return
        if old is None or _heartbeat(old) != _heartbeat(new):
            self._hear(name)
        self.queue.add(name)

    def _lease_changed(self, _old: Json | None, new: Json | None) -> None:
        if new is None or new["metadata"]["namespace"] != "kube-node-lease":
            return
        name = new["metadata"]["name"]
        self._hear(name)
        node = self._nodes.get("", name)
        if node is not None and (find_condition(node, "Ready") or {}).get("status") == "Unknown":
            self.queue.add(name)

    def _hear(self, name: str) -> None:
        self._heard[name] = asyncio.get_running_loop().time()

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None:
            if old is not None:
                self._evictions.pop(key_of(old), None)
            return
        if old is None or old["spec"].get("nodeName") != new["spec"].get("nodeName"):
            node = self._nodes.get("", new["spec"].get("nodeName", ""))
            if node is not None and _evicting_taints(node):
                self.queue.add(node["metadata"]["name"])

    async def run(self) -> None:
        """Look at silence and due evictions every half second."""
        await asyncio.gather(*(i.synced.wait() for i in (self._nodes, self._pods, self._leases)))
        while True:
            try:
                now = asyncio.get_running_loop().time()
                await self._judge_silence(now)
                await self._evict(now)
                await self._remove_orphans(now)
            except (ApiError, aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                log.info("node lifecycle: %s", error)
            await asyncio.sleep(0.5)

    async def _judge_silence(self, now: float) -> None:
        if self._leases.is_blind:
            # It is we who hear nothing: everybody gets the whole grace anew.
            self._heard = dict.fromkeys(self._heard, now)
            return
        for node in self._nodes.values():
            name = node["metadata"]["name"]
            ready = find_condition(node, "Ready")
            if ready is None or ready["status"] == "Unknown":
                continue
            if now - self._heard.setdefault(name, now) <= self._grace_seconds(node):
                continue
            condition = {
                **ready,
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": stamp(),
            }
            changed = await self._client.patch(
                NODES,
                "",
                name,
                {"status": {"conditions": [condition]}},
                subresource="status",
                content_type=STRATEGIC_PATCH,
            )
            self._nodes.observe(changed)
            text = f"Node {name} status is now: NodeNotReady"
            self._recorder.record(_COMPONENT, changed, "NodeNotReady", text)

    def _grace_seconds(self, node: Json) -> float:
        if AGENT_ANNOTATION not in (node["metadata"].get("annotations") or {}):
            return _FOREIGN_GRACE_SECONDS
        lease = self._leases.get("kube-node-lease", node["metadata"]["name"])
        return float((lease or {}).get("spec", {}).get("leaseDurationSeconds", 40))

    async def _sync(self, name: str) -> None:
        node = self._nodes.get("", name)
        if node is None or find_condition(node, "Ready") is None:
            return
        node = await self._set_taints(node)
        status = (find_condition(node, "Ready") or {}).get("status")
        pods = self._pods.indexed("node", name)
        if status != "True":
            await asyncio.gather(*(self._mark_unready(pod) for pod in pods if is_pod_ready(pod)))
        taints = _evicting_taints(node)
        is_agent = AGENT_ANNOTATION in (node["metadata"].get("annotations") or {})
        now = asyncio.get_running_loop().time()
        for pod in pods:
            if pod["metadata"].get("deletionTimestamp"):
                continue
            wait = toleration_seconds(pod, taints, self._eviction_seconds if is_agent else None)
            if wait is None:
                self._evictions.pop(key_of(pod), None)
            else:
                self._evictions.setdefault(key_of(pod), (pod["metadata"]["uid"], now + wait))

    async def _set_taints(self, node: Json) -> Json:
        present = (node.get("spec") or {}).get("taints") or []
        wanted = condition_taints(node)
        kept = [t for t in present if t["key"] not in (_NOT_READY, _UNREACHABLE)]
        old = {(t["key"], t["effect"]): t for t in present}
        new = kept + [old.get((key, effect)) or _taint(key, effect) for key, effect in wanted]
        if {(t["key"], t["effect"]) for t in new} == set(old):
            return node
        meta = node["metadata"]
        patch = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "spec": {"taints": new or None}}
        changed = await self._client.patch(NODES, "", meta["name"], patch)
        self._nodes.observe(changed)
        return changed

    async def _mark_unready(self, pod: Json) -> None:
        ready = {**(find_condition(pod, "Ready") or {}), "status": "False", "lastTransitionTime": stamp()}
        await self._patch_pod(pod, ready)

    async def _patch_pod(self, pod: Json, condition: Json) -> None:
        meta = pod["metadata"]
        patch = {"metadata": {"uid": meta["uid"]}, "status": {"conditions": [condition]}}
        try:
            changed = await self._client.patch(
                PODS,
                meta["namespace"],
                meta["name"],
                patch,
                subresource="status",
                content_type=STRATEGIC_PATCH,
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise
            return
        self._pods.observe(changed)

    async def _evict(self, now: float) -> None:
        for key in [key for key, (_, at) in self._evictions.items() if at <= now]:
            uid, _ = self._evictions.pop(key)
            pod = self._pods.get(*key)
            if pod is None or pod["metadata"]["uid"] != uid or pod["metadata"].get("deletionTimestamp"):
                continue
            node = self._nodes.get("", pod["spec"].get("nodeName", ""))
            if node is None or not _evicting_taints(node):
                continue
            await self._patch_pod(
                pod,
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByTaintManager",
                    "message": "Taint manager: deleting due to NoExecute taint",
                    "lastTransitionTime": stamp(),
                },
            )
            await self._client.delete(PODS, *key, uid=uid)
            text = f"Marking for deletion Pod {key[0]}/{key[1]}"
            self._recorder.record("taint-eviction-controller", pod, "TaintManagerEviction", text)

    async def _remove_orphans(self, now: float) -> None:
        for pod in self._pods.values():
            name = pod["spec"].get("nodeName")
            if not name or self._nodes.get("", name) is not None:
                self._orphans.pop(name or "", None)
                continue
            if now - self._orphans.setdefault(name, now) < _ORPHAN_SECONDS:
                continue
            meta = pod["metadata"]
            await self._client.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"], grace_seconds=0)


def condition_taints(node: Json) -> list[tuple[str, str]]:
    """(key, effect) of the taints that the node's Ready condition calls for."""
    status = (find_condition(node, "Ready") or {}).get("status")
    if status == "True":
        return []
    key = _UNREACHABLE if status == "Unknown" else _NOT_READY
    return [(key, "NoSchedule"), (key, "NoExecute")]


def toleration_seconds(pod: Json, taints: list[Json], short_seconds: float | None) -> float | None:
    """After how many seconds NoExecute taints drive the pod out: 0 at once, None never.

    `short_seconds` stands in for the five minutes that admission gives to pods without a will of their own.
    """
    if not taints:
        return None
    least: float | None = None
    for taint in taints:
        matching = [t for t in pod["spec"].get("tolerations") or [] if _tolerates(t, taint)]
        if not matching:
            return 0.0
        limits = [t["tolerationSeconds"] for t in matching if t.get("tolerationSeconds") is not None]
        if not limits:
            continue
        wait = float(max(0, min(limits)))
        is_default = wait == _DEFAULT_TOLERATION_SECONDS and taint["key"] in (_NOT_READY, _UNREACHABLE)
        if is_default and short_seconds is not None:
            wait = short_seconds
        least = wait if least is None else min(least, wait)
    return least


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == (taint.get("value") or "")


def _taint(key: str, effect: str) -> Json:
    taint = {"key": key, "effect": effect}
    if effect == "NoExecute":
        taint["timeAdded"] = stamp()
    return taint


def _evicting_taints(node: Json) -> list[Json]:
    return [t for t in (node.get("spec") or {}).get("taints") or [] if t.get("effect") == "NoExecute"]


def _heartbeat(node: Json) -> str:
    return str((find_condition(node, "Ready") or {}).get("lastHeartbeatTime", ""))


def _node_entry(pod: Json) -> list[str]:
    name = pod["spec"].get("nodeName")
    return [name] if name else []
