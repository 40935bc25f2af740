"""The status of PodDisruptionBudgets: how many pods may go."""

from __future__ import annotations

import math

from switchyard.sandbox.client import DISRUPTION_BUDGETS, ApiClient, Json
from switchyard.sandbox.cluster.conditions import controller_of, is_pod_over, is_pod_ready, set_condition
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.informer import Informer, Key, key_of
from switchyard.sandbox.cluster.selectors import matches_selector


class DisruptionController:
    """Keeps the counts that evictions are judged by."""

    def __init__(self, client: ApiClient, budgets: Informer, pods: Informer, sets: Informer) -> None:
        self._client = client
        self._budgets = budgets
        self._pods = pods
        self._sets = sets
        self.queue: WorkQueue[Key] = WorkQueue("disruption", self._sync, workers=2, settle_seconds=0.2)
        pods.add_index("namespace", lambda pod: [pod["metadata"]["namespace"]])
        budgets.add_index("namespace", lambda budget: [budget["metadata"]["namespace"]])
        budgets.add_handler(self._budget_changed)
        pods.add_handler(self._pod_changed)

    def _budget_changed(self, _old: Json | None, new: Json | None) -> None:
        if new is not None:
            self.queue.add(key_of(new))

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if old is not None and new is not None and _is_healthy(old) == _is_healthy(new):
            return
        pod = new or old
        if pod is None:
            return
        labels = pod["metadata"].get("labels") or {}
        for budget in self._budgets.indexed("namespace", pod["metadata"]["namespace"]):
            if matches_selector(budget["spec"].get("selector"), labels):
                self.queue.add(key_of(budget))

    async def _sync(self, key: Key) -> None:
        budget = self._budgets.get(*key)
        if budget is None:
            return
        pods = [
            pod
            for pod in self._pods.indexed("namespace", key[0])
            if matches_selector(budget["spec"].get("selector"), pod["metadata"].get("labels") or {})
        ]
        status = compute_status(budget, pods, self._expected(pods))
        if status != budget.get("status"):
            changed = await self._client.update(DISRUPTION_BUDGETS, {**budget, "status": status}, "status")
            self._budgets.observe(changed)

    def _expected(self, pods: list[Json]) -> int:
        """How many pods there should be, by the ReplicaSets that own them."""
        wanted: dict[str, int] = {}
        alone = 0
        for pod in pods:
            owner = controller_of(pod)
            if owner is None or owner["kind"] != "ReplicaSet":
                alone += 1
                continue
            body = self._sets.get(pod["metadata"]["namespace"], owner["name"])
            wanted[owner["uid"]] = body["spec"].get("replicas", 1) if body else 0
        return alone + sum(wanted.values())


def compute_status(budget: Json, pods: list[Json], expected: int) -> Json:
    """The budget's status that these pods give; equal to the present one when nothing changed."""
    spec = budget["spec"]
    healthy = sum(map(_is_healthy, pods))
    if spec.get("maxUnavailable") is not None:
        desired = max(0, expected - _resolve(spec["maxUnavailable"], expected))
    elif isinstance(spec.get("minAvailable"), int):
        desired, expected = spec["minAvailable"], len(pods)
    else:
        desired = _resolve(spec.get("minAvailable", 1), expected)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    enough = allowed > 0
    before = budget.get("status") or {}
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if enough else "False",
        "reason": "SufficientPods" if enough else "InsufficientPods",
        "message": "",
        "observedGeneration": budget["metadata"].get("generation", 1),
    }
    status: Json = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": budget["metadata"].get("generation", 1),
        "conditions": set_condition(
            before.get("conditions") or [], condition, time_fields=("lastTransitionTime",)
        ),
    }
    if before.get("disruptedPods"):
        status["disruptedPods"] = before["disruptedPods"]
    return status


def _is_healthy(pod: Json) -> bool:
    is_leaving = bool(pod["metadata"].get("deletionTimestamp"))
    return is_pod_ready(pod) and not is_pod_over(pod) and not is_leaving


def _resolve(value: int | str, total: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return math.ceil(int(value[:-1]) * total / 100)
    return int(value)
