"""ReplicaSet → pods."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from switchyard.sandbox.client import PODS, REPLICA_SETS, ApiClient, ApiError, Json
from switchyard.sandbox.cluster.conditions import (
    controller_of,
    controller_uids,
    find_condition,
    is_pod_over,
    is_pod_ready,
    own,
    read_stamp,
    set_condition,
)
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.events import Recorder
from switchyard.sandbox.cluster.informer import Informer, Key, key_of
from switchyard.sandbox.cluster.selectors import matches_selector

_COMPONENT = "replicaset-controller"
_BATCH = 50  # creations or deletions in one pass; the next pass follows at once


class ReplicaSetController:
    """Keeps as many pods as each ReplicaSet wants.

    The pods informer learns of own creations and deletions at once, so that a second pass counts them
    before the watch shows them: nothing is created twice.
    """

    def __init__(self, client: ApiClient, sets: Informer, pods: Informer, recorder: Recorder) -> None:
        self._client = client
        self._sets = sets
        self._pods = pods
        self._recorder = recorder
        self.queue: WorkQueue[Key] = WorkQueue("replicaset", self._sync, workers=6, settle_seconds=0.03)
        pods.add_index("owner", controller_uids)
        pods.add_index("orphan", lambda pod: [] if controller_of(pod) else [pod["metadata"]["namespace"]])
        sets.add_handler(self._set_changed)
        pods.add_handler(self._pod_changed)

    def _set_changed(self, old: Json | None, new: Json | None) -> None:
        body = new or old
        if body is not None:
            self.queue.add(key_of(body))

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        for pod in (old, new):
            owner = controller_of(pod) if pod else None
            if pod and owner and owner["kind"] == "ReplicaSet":
                self.queue.add((pod["metadata"]["namespace"], owner["name"]))
        if new is not None and controller_of(new) is None and new["metadata"].get("labels"):
            space = new["metadata"]["namespace"]
            for body in self._sets.values():
                if body["metadata"]["namespace"] == space and _selects(body, new):
                    self.queue.add(key_of(body))

    async def _sync(self, key: Key) -> float | None:
        body = self._sets.get(*key)
        if body is None:
            return None
        mine = await self._claim(body)
        active = [
            pod for pod in mine if not is_pod_over(pod) and not pod["metadata"].get("deletionTimestamp")
        ]
        failure: Json | None = None
        if not body["metadata"].get("deletionTimestamp"):
            missing = body["spec"].get("replicas", 1) - len(active)
            try:
                if missing > 0:
                    await self._create(body, min(missing, _BATCH))
                elif missing < 0:
                    await self._delete(body, _choose_victims(active, min(-missing, _BATCH)))
            except ApiError as error:
                reason = "FailedCreate" if missing > 0 else "FailedDelete"
                failure = {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "reason": reason,
                    "message": str(error),
                }
        wait = await self._write_status(body, failure)
        if failure is not None:
            raise ConnectionError(failure["message"])
        return wait

    async def _claim(self, body: Json) -> list[Json]:
        """The pods that belong to the set: adopts matching orphans, releases those that match no more."""
        mine = []
        for pod in self._pods.indexed("owner", body["metadata"]["uid"]):
            if _selects(body, pod):
                mine.append(pod)
            elif not pod["metadata"].get("deletionTimestamp"):
                await self._set_owners(pod, [])
        if body["metadata"].get("deletionTimestamp"):
            return mine
        for pod in self._pods.indexed("orphan", body["metadata"]["namespace"]):
            is_free = not pod["metadata"].get("deletionTimestamp") and not is_pod_over(pod)
            if is_free and pod["metadata"].get("labels") and _selects(body, pod):
                mine.append(await self._set_owners(pod, [own(body, "ReplicaSet", "apps/v1")]))
        return mine

    async def _set_owners(self, pod: Json, owners: list[Json]) -> Json:
        meta = pod["metadata"]
        patch = {"metadata": {"ownerReferences": owners, "uid": meta["uid"]}}
        changed = await self._client.patch(PODS, meta["namespace"], meta["name"], patch)
        self._pods.observe(changed)
        return changed

    async def _create(self, body: Json, count: int) -> None:
        meta, template = body["metadata"], body["spec"]["template"]
        head = template.get("metadata") or {}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": f"{meta['name']}-",
                "namespace": meta["namespace"],
                "labels": head.get("labels") or {},
                **({"annotations": head["annotations"]} if head.get("annotations") else {}),
                **({"finalizers": head["finalizers"]} if head.get("finalizers") else {}),
                "ownerReferences": [own(body, "ReplicaSet", "apps/v1")],
            },
            "spec": template["spec"],
        }

        async def make() -> None:
            made = await self._client.create(PODS, meta["namespace"], pod)
            self._pods.observe(made)
            text = f"Created pod: {made['metadata']['name']}"
            self._recorder.record(_COMPONENT, body, "SuccessfulCreate", text)

        # Slow start: one failure (a quota, say) must not become as many as there are replicas.
        done, size = 0, 1
        while done < count:
            size = min(size, count - done)
            results = await asyncio.gather(*(make() for _ in range(size)), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    if isinstance(result, ApiError):
                        text = f"Error creating: {result.body.get('message') or result}"
                        self._recorder.record(_COMPONENT, body, "FailedCreate", text, kind="Warning")
                    raise result
            done += size
            size *= 2

    async def _delete(self, body: Json, victims: list[Json]) -> None:
        async def remove(pod: Json) -> None:
            meta = pod["metadata"]
            answer = await self._client.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"])
            if (
                answer is None
                or answer.get("kind") != "Pod"
                or not answer["metadata"].get("deletionTimestamp")
            ) or (
                answer["metadata"].get("deletionGracePeriodSeconds") == 0
                and not answer["metadata"].get("finalizers")
            ):
                self._pods.observe_deleted(pod)
            else:
                self._pods.observe(answer)
            self._recorder.record(_COMPONENT, body, "SuccessfulDelete", f"Deleted pod: {meta['name']}")

        await asyncio.gather(*(remove(pod) for pod in victims))

    async def _write_status(self, body: Json, failure: Json | None) -> float | None:
        body = self._sets.get(*key_of(body)) or body
        pods = self._pods.indexed("owner", body["metadata"]["uid"])
        status, wait = compute_status(body, pods, datetime.now(UTC))
        conditions = [c for c in status.get("conditions") or [] if c["type"] != "ReplicaFailure"]
        if failure is not None:
            old = find_condition(body, "ReplicaFailure")
            conditions = set_condition(
                [*conditions, *([old] if old else [])], failure, time_fields=("lastTransitionTime",)
            )
        if conditions:
            status["conditions"] = conditions
        else:
            status.pop("conditions", None)
        if status != body.get("status"):
            changed = await self._client.update(REPLICA_SETS, {**body, "status": status}, "status")
            self._sets.observe(changed)
        return wait


def compute_status(body: Json, pods: list[Json], now: datetime) -> tuple[Json, float | None]:
    """The ReplicaSet's status that these pods give, and in how many seconds it changes by time alone."""
    min_ready = body["spec"].get("minReadySeconds", 0)
    labels = ((body["spec"]["template"].get("metadata") or {}).get("labels") or {}).items()
    replicas = labeled = ready = available = terminating = 0
    wait: float | None = None
    for pod in pods:
        if is_pod_over(pod):
            continue
        if pod["metadata"].get("deletionTimestamp"):
            terminating += 1
            continue
        replicas += 1
        if all((pod["metadata"].get("labels") or {}).get(k) == v for k, v in labels):
            labeled += 1
        if not is_pod_ready(pod):
            continue
        ready += 1
        since = read_stamp((find_condition(pod, "Ready") or {}).get("lastTransitionTime"))
        if not min_ready:
            available += 1
        elif since is not None:
            left = (since + timedelta(seconds=min_ready) - now).total_seconds()
            if left <= 0:
                available += 1
            else:
                wait = left if wait is None else min(wait, left)
    status: Json = {"replicas": replicas}
    for name, count in (
        ("fullyLabeledReplicas", labeled),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ):
        if count:
            status[name] = count
    status["terminatingReplicas"] = terminating
    status["observedGeneration"] = body["metadata"].get("generation", 1)
    if (body.get("status") or {}).get("conditions"):
        status["conditions"] = body["status"]["conditions"]
    return status, wait


def _choose_victims(active: list[Json], count: int) -> list[Json]:
    """The pods that go first: unscheduled, not running, not ready, cheap to delete, then the youngest."""

    def rank(pod: Json) -> tuple[bool, int, bool, float, float, str]:
        meta, status = pod["metadata"], pod.get("status") or {}
        phase = {"Pending": 0, "Unknown": 1}.get(status.get("phase", ""), 2)
        try:
            cost = float((meta.get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", 0))
        except ValueError:
            cost = 0.0
        born = read_stamp(meta.get("creationTimestamp"))
        age = -born.timestamp() if born else 0.0
        return (bool(pod["spec"].get("nodeName")), phase, is_pod_ready(pod), cost, age, meta["name"])

    return sorted(active, key=rank)[:count]


def _is_final(answer: Json) -> bool:
    """Whether a deletion's answer says that the pod is gone, not only on its way out."""
    meta = answer.get("metadata") or {}
    if answer.get("kind") != "Pod" or not meta.get("deletionTimestamp"):
        return True
    return meta.get("deletionGracePeriodSeconds") == 0 and not meta.get("finalizers")


def _selects(body: Json, pod: Json) -> bool:
    return matches_selector(body["spec"].get("selector"), pod["metadata"].get("labels") or {})
