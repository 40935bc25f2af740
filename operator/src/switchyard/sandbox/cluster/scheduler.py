"""Pods without a node → a node each."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections import Counter

import aiohttp

from switchyard.sandbox.client import PODS, STRATEGIC_PATCH, ApiClient, ApiError, Json
from switchyard.sandbox.cluster import fit
from switchyard.sandbox.cluster.conditions import find_condition, is_pod_over, stamp
from switchyard.sandbox.cluster.events import Recorder
from switchyard.sandbox.cluster.informer import Informer, Key, key_of
from switchyard.sandbox.cluster.quantities import pod_requests

log = logging.getLogger(__name__)

_COMPONENT = "default-scheduler"
_FIRST_BACK_OFF_SECONDS = 1.0
_MOST_BACK_OFF_SECONDS = 10.0
_BINDS_IN_FLIGHT = 16


class Scheduler:
    """Keeps a model of all nodes that follows every event, and places pods one after the other on it."""

    def __init__(self, client: ApiClient, nodes: Informer, pods: Informer, recorder: Recorder) -> None:
        self._client = client.as_agent("kube-scheduler")
        self._pods = pods
        self._recorder = recorder
        self._hosts: dict[str, fit.Host] = {}
        self._by_label: dict[tuple[str, str], set[str]] = {}
        self._homeless: dict[str, dict[str, fit.Placed]] = {}  # pods of nodes not seen yet
        self._seats: dict[str, str] = {}  # pod uid -> node
        self._wishes: dict[str, fit.Wish] = {}
        self._active: list[tuple[int, int, Key]] = []
        self._queued: set[Key] = set()
        self._parked: dict[Key, tuple[float, int]] = {}  # not before this loop time; changes seen by then
        self._attempts: dict[Key, int] = {}
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_BINDS_IN_FLIGHT)
        self._binding: set[asyncio.Task[None]] = set()
        self._changes = 0  # of the model, counted: a parked pod is tried again only after one
        self._inputs = (nodes, pods)
        nodes.add_handler(self._node_changed)
        pods.add_handler(self._pod_changed)

    # -- the model -------------------------------------------------------------------------------

    def _node_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None:
            if old is not None:
                self._drop_host(old["metadata"]["name"])
            return
        name = new["metadata"]["name"]
        host = fit.read_host(new)
        known = self._hosts.get(name)
        if known is not None:
            same = (known.labels, known.taints, known.is_unschedulable, known.allocatable)
            if same == (host.labels, host.taints, host.is_unschedulable, host.allocatable):
                return  # only a heartbeat
            self._unlabel(known)
            host.pods, host.requested = known.pods, known.requested
        else:
            for uid, placed in self._homeless.pop(name, {}).items():
                host.add(uid, placed)
        self._hosts[name] = host
        for label in host.labels.items():
            self._by_label.setdefault(label, set()).add(name)
        self._note_change()

    def _drop_host(self, name: str) -> None:
        host = self._hosts.pop(name, None)
        if host is not None:
            self._unlabel(host)
            if host.pods:
                self._homeless[name] = host.pods

    def _unlabel(self, host: fit.Host) -> None:
        for label in host.labels.items():
            names = self._by_label.get(label)
            if names is not None:
                names.discard(host.name)
                if not names:
                    del self._by_label[label]

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None or is_pod_over(new):
            body = new or old
            if body is not None:
                self._forget(key_of(body), body["metadata"]["uid"])
            return
        if old is not None and old["metadata"]["uid"] != new["metadata"]["uid"]:
            self._forget(key_of(old), old["metadata"]["uid"])
        uid = new["metadata"]["uid"]
        node = new["spec"].get("nodeName")
        if node:
            if self._seats.get(uid) != node:
                self._seat(uid, node, _placed(new))
            self._parked.pop(key_of(new), None)
            self._wishes.pop(uid, None)
        elif _is_ours(new) and (old is None or uid not in self._wishes or _has_new_wish(old, new)):
            self._wishes[uid] = fit.read_wish(new)
            self._push(new)

    def _seat(self, uid: str, node: str, placed: fit.Placed) -> None:
        self._unseat(uid)
        self._seats[uid] = node
        host = self._hosts.get(node)
        if host is not None:
            host.add(uid, placed)
        else:
            self._homeless.setdefault(node, {})[uid] = placed

    def _unseat(self, uid: str) -> None:
        node = self._seats.pop(uid, None)
        if node is None:
            return
        if node in self._hosts:
            self._hosts[node].remove(uid)
        elif node in self._homeless:
            self._homeless[node].pop(uid, None)

    def _forget(self, key: Key, uid: str) -> None:
        self._wishes.pop(uid, None)
        self._parked.pop(key, None)
        self._attempts.pop(key, None)
        if uid in self._seats:
            self._unseat(uid)
            self._note_change()

    def _note_change(self) -> None:
        self._changes += 1
        if self._parked:
            self._wake.set()

    # -- the queue -------------------------------------------------------------------------------

    def _push(self, pod: Json) -> None:
        key = key_of(pod)
        if key not in self._queued:
            self._queued.add(key)
            heapq.heappush(self._active, (-pod["spec"].get("priority", 0), next(self._order), key))
        self._wake.set()

    async def run(self) -> None:
        """Place pods until cancelled."""
        await asyncio.gather(*(informer.synced.wait() for informer in self._inputs))
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._patience())
                self._wake.clear()
                self._unpark()
                worked = 0
                while self._active:
                    await self._place_next()
                    worked += 1
                    if worked % 20 == 0:
                        await asyncio.sleep(0)
        finally:
            for task in self._binding:
                task.cancel()

    def _patience(self) -> float | None:
        """How long nothing needs to be tried again."""
        due = [at for at, seen in self._parked.values() if seen < self._changes]
        if not due:
            return None
        return max(0.05, min(due) - asyncio.get_running_loop().time())

    def _unpark(self) -> None:
        now = asyncio.get_running_loop().time()
        due = [key for key, (at, seen) in self._parked.items() if at <= now and seen < self._changes]
        for key in due:
            del self._parked[key]
            pod = self._pods.get(*key)
            if pod is not None:
                self._push(pod)

    async def _place_next(self) -> None:
        _, _, key = heapq.heappop(self._active)
        self._queued.discard(key)
        pod = self._pods.get(*key)
        if pod is None or pod["spec"].get("nodeName") or pod["metadata"].get("deletionTimestamp"):
            return
        uid = pod["metadata"]["uid"]
        wish = self._wishes.get(uid)
        if wish is None:
            return
        host = self.choose(wish)
        await self._slots.acquire()
        if host is None:
            self._park(key)
            work = self._report(pod, self.explain(wish))
        else:
            placed = fit.Placed(wish.requests, wish.namespace, wish.labels, wish.owner_uid)
            self._seat(uid, host.name, placed)
            work = self._bind(pod, host.name)
        task = asyncio.create_task(work)
        self._binding.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._binding.discard(task)
        self._slots.release()

    def _park(self, key: Key) -> None:
        count = self._attempts.get(key, 0)
        self._attempts[key] = count + 1
        wait = min(_MOST_BACK_OFF_SECONDS, _FIRST_BACK_OFF_SECONDS * 2.0 ** min(count, 8))
        self._parked[key] = (asyncio.get_running_loop().time() + wait, self._changes)

    # -- the choice ------------------------------------------------------------------------------

    def choose(self, wish: fit.Wish) -> fit.Host | None:
        """The best node that fits now, None when none does."""
        best: tuple[tuple[int, float, str], fit.Host] | None = None
        for host in self._candidates(wish):
            if fit.refuse_static(wish, host) or fit.refuse_full(wish, host):
                continue
            if fit.refuse_neighbours(wish, host, self._hosts.values()):
                continue
            rank = fit.score(wish, host)
            if best is None or rank < best[0]:
                best = (rank, host)
        return best[1] if best else None

    def _candidates(self, wish: fit.Wish) -> list[fit.Host]:
        """The nodes that the node selector leaves, from the label index."""
        if not wish.node_selector:
            return list(self._hosts.values())
        sets = [self._by_label.get(label, set()) for label in wish.node_selector.items()]
        return [self._hosts[name] for name in set.intersection(*sets)]

    def explain(self, wish: fit.Wish) -> str:
        """Why no node fits, in the scheduler's words."""
        reasons: Counter[str] = Counter()
        out = 0
        for host in self._hosts.values():
            static = fit.refuse_static(wish, host)
            if static:
                reasons[static] += 1
                out += 1
                continue
            full = fit.refuse_full(wish, host)
            reasons.update(full or [fit.refuse_neighbours(wish, host, self._hosts.values())])
        reasons.pop("", None)
        return fit.explain(len(self._hosts), reasons, out)

    # -- effects ---------------------------------------------------------------------------------

    async def _bind(self, pod: Json, node: str) -> None:
        meta = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create_sub(PODS, meta["namespace"], meta["name"], "binding", binding)
        except (ApiError, aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            log.info("binding %s to %s failed: %s", key_of(pod), node, error)
            self._unseat(meta["uid"])
            current = self._pods.get(*key_of(pod))
            if current is not None and not current["spec"].get("nodeName"):
                self._park(key_of(pod))
                self._note_change()
            return
        self._attempts.pop(key_of(pod), None)
        text = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
        self._recorder.record(_COMPONENT, pod, "Scheduled", text, action="Binding")

    async def _report(self, pod: Json, message: str) -> None:
        condition = find_condition(pod, "PodScheduled")
        if condition is not None and condition.get("message") == message:
            return
        meta = pod["metadata"]
        wanted = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": (condition or {}).get("lastTransitionTime") or stamp(),
            "observedGeneration": meta.get("generation", 1),
        }
        self._recorder.record(
            _COMPONENT, pod, "FailedScheduling", message, kind="Warning", action="Scheduling"
        )
        with contextlib.suppress(ApiError, aiohttp.ClientError, ConnectionError, TimeoutError):
            await self._client.patch(
                PODS,
                meta["namespace"],
                meta["name"],
                {"status": {"conditions": [wanted]}},
                subresource="status",
                content_type=STRATEGIC_PATCH,
            )


def _placed(pod: Json) -> fit.Placed:
    meta = pod["metadata"]
    owners = [o["uid"] for o in meta.get("ownerReferences") or () if o.get("controller")]
    return fit.Placed(
        pod_requests(pod["spec"]), meta["namespace"], meta.get("labels") or {}, owners[0] if owners else ""
    )


def _is_ours(pod: Json) -> bool:
    spec = pod["spec"]
    if pod["metadata"].get("deletionTimestamp") or spec.get("schedulingGates"):
        return False
    scheduler: str = spec.get("schedulerName", "default-scheduler")
    return scheduler == "default-scheduler"


def _has_new_wish(old: Json, new: Json) -> bool:
    is_changed: bool = old["spec"] != new["spec"]
    is_relabelled: bool = old["metadata"].get("labels") != new["metadata"].get("labels")
    return is_changed or is_relabelled
