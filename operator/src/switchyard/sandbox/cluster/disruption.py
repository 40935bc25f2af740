"""The status of PodDisruptionBudgets: how many pods may go."""

from __future__ import annotations

import math

from switchyard.sandbox.client import DISRUPTION_BUDGETS, ApiClient, Json
from switchyard.sandbox.cluster.conditions import controller_of, is_pod_over, is_pod_ready, set_condition
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.informer import Informer, Key, key_of
from switchyard.sandbox.cluster.selectors import SelectorIndex, index_labels, select


class DisruptionController:
    """Keeps the counts that evictions are judged by."""

    def __init__(self, client: ApiClient, budgets: Informer, pods: Informer, sets: Informer) -> None:
        self._client = client
        self._budgets = budgets
        self._pods = pods
        self._sets = sets
        self.queue: WorkQueue[Key] = WorkQueue("disruption", self._sync, workers=2, settle_seconds=0.2)
        self._selectors = SelectorIndex()
        index_labels(pods)
        budgets.add_handler(self._budget_changed)
        pods.add_handler(self._pod_changed)

    def _budget_changed(self, old: Json | None, new: Json | None) -> None:
        if new is not None:
            self._selectors.put(key_of(new), new["spec"].get("selector") or {})
            self.queue.add(key_of(new))
        elif old is not None:
            self._selectors.discard(key_of(old))

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        if old is not None and new is not None and _is_healthy(old) == _is_healthy(new):
            return
        pod = new or old
        if pod is not None:
            for key in self._selectors.matching(pod):
                self.queue.add(key)

    async def _sync(self, key: Key) -> None:
        budget = self._budgets.get(*key)
        if budget is None:
            return
        pods = select(self._pods, key[0], budget["spec"].get("selector") or {})
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
