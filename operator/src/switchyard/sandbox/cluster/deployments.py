"""Deployment → ReplicaSets: revisions, rolling updates, conditions."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from switchyard.sandbox.client import DEPLOYMENTS, REPLICA_SETS, ApiClient, ApiError, Json
from switchyard.sandbox.cluster import rollout
from switchyard.sandbox.cluster.conditions import controller_of, controller_uids, find_condition, own
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.deployment_status import compute_status, is_complete, set_progress
from switchyard.sandbox.cluster.events import Recorder
from switchyard.sandbox.cluster.informer import Informer, Key, key_of
from switchyard.sandbox.cluster.rollout import HASH_LABEL, Track

log = logging.getLogger(__name__)

REVISION = "deployment.kubernetes.io/revision"
_HISTORY = "deployment.kubernetes.io/revision-history"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MAX = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = frozenset(
    {REVISION, _HISTORY, _DESIRED, _MAX, "kubectl.kubernetes.io/last-applied-configuration"}
)
_COMPONENT = "deployment-controller"


class DeploymentController:
    """Keeps the ReplicaSets of every Deployment as its spec wants them."""

    def __init__(
        self, client: ApiClient, deployments: Informer, sets: Informer, pods: Informer, recorder: Recorder
    ) -> None:
        self._client = client
        self._deployments = deployments
        self._sets = sets
        self._pods = pods
        self._recorder = recorder
        self.queue: WorkQueue[Key] = WorkQueue("deployment", self._sync, workers=4, settle_seconds=0.03)
        sets.add_index("owner", controller_uids)
        pods.add_index("owner", controller_uids)
        deployments.add_handler(self._deployment_changed)
        sets.add_handler(self._set_changed)
        pods.add_handler(self._pod_changed)

    def _deployment_changed(self, old: Json | None, new: Json | None) -> None:
        body = new or old
        if body is not None:
            self.queue.add(key_of(body))

    def _set_changed(self, old: Json | None, new: Json | None) -> None:
        for body in (old, new):
            owner = controller_of(body) if body else None
            if body and owner and owner["kind"] == "Deployment":
                self.queue.add((body["metadata"]["namespace"], owner["name"]))

    def _pod_changed(self, old: Json | None, new: Json | None) -> None:
        # Only Recreate waits for pods to be gone; everything else shows in the ReplicaSets' status.
        if new is not None or old is None:
            return
        owner = controller_of(old)
        if owner is None or owner["kind"] != "ReplicaSet":
            return
        parent = self._sets.get(old["metadata"]["namespace"], owner["name"])
        above = controller_of(parent) if parent else None
        if above is None:
            return
        deployment = self._deployments.get(old["metadata"]["namespace"], above["name"])
        if deployment and (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            self.queue.add(key_of(deployment))

    async def _sync(self, key: Key) -> float | None:
        deployment = self._deployments.get(*key)
        if deployment is None:
            return None
        uid = deployment["metadata"]["uid"]
        sets = sorted(
            self._sets.indexed("owner", uid),
            key=lambda body: (body["metadata"]["creationTimestamp"], body["metadata"]["name"]),
        )
        if deployment["metadata"].get("deletionTimestamp"):
            await self._write_status(deployment, sets, self._find_new(deployment, sets))
            return None
        spec = deployment["spec"]
        new = self._find_new(deployment, sets)
        is_paused = bool(spec.get("paused"))
        conditions: list[Json] = []
        if is_paused:
            new = await self._number(deployment, sets, new) if new else None
            await self._rescale(deployment, sets, new)
        elif self._is_resized(deployment, sets):
            await self._rescale(deployment, sets, new)
        else:
            is_recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
            if new is None:
                if is_recreate and not await self._empty_old(deployment, sets):
                    await self._write_status(deployment, sets, None)
                    return None
                new, conditions = await self._create_new(deployment, sets)
                sets = [*sets, new]
            else:
                new = await self._number(deployment, sets, new)
                if is_recreate:
                    if await self._empty_old(deployment, [s for s in sets if key_of(s) != key_of(new)]):
                        await self._scale(deployment, new, spec.get("replicas", 1))
                else:
                    await self._roll(deployment, sets, new)
        sets = [self._sets.get(*key_of(s)) or s for s in sets]
        new = self._sets.get(*key_of(new)) or new if new else None
        status = await self._write_status(deployment, sets, new, conditions)
        if new is not None and not is_paused and is_complete(deployment, status):
            await self._clean_history(deployment, [s for s in sets if key_of(s) != key_of(new)])
        return _deadline_seconds(deployment, status)

    # -- the new ReplicaSet ----------------------------------------------------------------------

    def _find_new(self, deployment: Json, sets: list[Json]) -> Json | None:
        template = deployment["spec"]["template"]
        for body in sets:
            if rollout.is_same_template(body["spec"]["template"], template):
                return body
        return None

    async def _create_new(self, deployment: Json, sets: list[Json]) -> tuple[Json, list[Json]]:
        meta, spec = deployment["metadata"], deployment["spec"]
        collisions = (deployment.get("status") or {}).get("collisionCount", 0)
        name_hash = rollout.hash_template(spec["template"], collisions)
        template = {**spec["template"]}
        template["metadata"] = {**(template.get("metadata") or {})}
        template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), HASH_LABEL: name_hash}
        selector = {**spec["selector"]}
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: name_hash}
        replicas = spec.get("replicas", 1)
        surge, _ = _bounds(deployment)
        is_recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
        planned = [*map(_track, sets), Track("", 0, is_new=True)]
        count = replicas if is_recreate else rollout.grow_new(replicas, surge, planned)
        annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in _NOT_COPIED}
        annotations |= {
            REVISION: str(1 + max(map(_revision, sets), default=0)),
            _DESIRED: str(replicas),
            _MAX: str(replicas + surge),
        }
        body: Json = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{meta['name']}-{name_hash}",
                "namespace": meta["namespace"],
                "labels": template["metadata"]["labels"],
                "annotations": annotations,
                "ownerReferences": [own(deployment, "Deployment", "apps/v1")],
            },
            "spec": {"replicas": count, "selector": selector, "template": template},
        }
        if spec.get("minReadySeconds"):
            body["spec"]["minReadySeconds"] = spec["minReadySeconds"]
        try:
            made = await self._client.create(REPLICA_SETS, meta["namespace"], body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            made = await self._resolve_collision(deployment, body)
        self._sets.observe(made)
        self._say_scaled(deployment, made, 0, count)
        await self._note_revision(deployment, annotations[REVISION])
        message = f'Created new replica set "{made["metadata"]["name"]}"'
        return made, [_progressing("NewReplicaSetCreated", message)]

    async def _resolve_collision(self, deployment: Json, body: Json) -> Json:
        meta = deployment["metadata"]
        there = await self._client.get(REPLICA_SETS, meta["namespace"], body["metadata"]["name"])
        owner = controller_of(there)
        is_ours = owner is not None and owner["uid"] == meta["uid"]
        if is_ours and rollout.is_same_template(there["spec"]["template"], body["spec"]["template"]):
            return there
        count = (deployment.get("status") or {}).get("collisionCount", 0) + 1
        changed = await self._client.patch(
            DEPLOYMENTS,
            meta["namespace"],
            meta["name"],
            {"status": {"collisionCount": count}},
            subresource="status",
        )
        self._deployments.observe(changed)
        raise ApiError(409, {"reason": "Conflict", "message": f"{body['metadata']['name']} is taken"})

    async def _number(self, deployment: Json, sets: list[Json], new: Json) -> Json:
        """Give the current ReplicaSet the highest revision: after a rollback it is an old one."""
        others = [s for s in sets if key_of(s) != key_of(new)]
        wanted = 1 + max(map(_revision, others), default=0)
        revision = _revision(new)
        if revision < wanted:
            annotations: Json = {REVISION: str(wanted)}
            if revision:
                history = (new["metadata"].get("annotations") or {}).get(_HISTORY, "")
                annotations[_HISTORY] = f"{history},{revision}" if history else str(revision)
            new = await self._patch_set(new, {"metadata": {"annotations": annotations}})
            revision = wanted
        await self._note_revision(deployment, str(revision))
        return new

    async def _note_revision(self, deployment: Json, revision: str) -> None:
        meta = deployment["metadata"]
        if (meta.get("annotations") or {}).get(REVISION) == revision:
            return
        patch = {"metadata": {"annotations": {REVISION: revision}}}
        place = (DEPLOYMENTS, meta["namespace"], meta["name"])
        # By way of the status: an annotation written to a Deployment itself counts as a new generation.
        changed = await self._client.patch(*place, patch, subresource="status")
        if (changed["metadata"].get("annotations") or {}).get(REVISION) != revision:
            changed = await self._client.patch(*place, patch)
        self._deployments.observe(changed)

    # -- scaling ---------------------------------------------------------------------------------

    def _is_resized(self, deployment: Json, sets: list[Json]) -> bool:
        replicas = str(deployment["spec"].get("replicas", 1))
        for body in sets:
            desired = (body["metadata"].get("annotations") or {}).get(_DESIRED)
            if body["spec"].get("replicas", 1) and desired is not None and desired != replicas:
                return True
        return False

    async def _rescale(self, deployment: Json, sets: list[Json], new: Json | None) -> None:
        replicas = deployment["spec"].get("replicas", 1)
        surge, _ = _bounds(deployment)
        is_rolling = (deployment["spec"].get("strategy") or {}).get("type") != "Recreate"
        tracks = [_track(s, is_new=new is not None and key_of(s) == key_of(new)) for s in sets]
        targets = rollout.rescale(replicas, surge, tracks, is_rolling=is_rolling)
        for body in sets:
            name = body["metadata"]["name"]
            if body["spec"].get("replicas", 1) or name in targets:
                await self._scale(deployment, body, targets.get(name, body["spec"].get("replicas", 1)))

    async def _roll(self, deployment: Json, sets: list[Json], new: Json) -> None:
        replicas = deployment["spec"].get("replicas", 1)
        surge, unavailable = _bounds(deployment)
        tracks = [_track(s, is_new=key_of(s) == key_of(new)) for s in sets]
        count = rollout.grow_new(replicas, surge, tracks)
        if count != new["spec"].get("replicas", 1):
            await self._scale(deployment, new, count)
            return
        await self._scale(deployment, new, count)
        for name, target in rollout.shrink_old(replicas, unavailable, tracks).items():
            body = next(s for s in sets if s["metadata"]["name"] == name)
            await self._scale(deployment, body, target)

    async def _empty_old(self, deployment: Json, old: list[Json]) -> bool:
        """Scale every old ReplicaSet to 0; True once none of their pods is left."""
        is_empty = True
        for body in old:
            if body["spec"].get("replicas", 1):
                await self._scale(deployment, body, 0)
                is_empty = False
            elif self._pods.indexed("owner", body["metadata"]["uid"]):
                is_empty = False
        return is_empty

    async def _scale(self, deployment: Json, body: Json, count: int) -> None:
        replicas = deployment["spec"].get("replicas", 1)
        surge, _ = _bounds(deployment)
        annotations = body["metadata"].get("annotations") or {}
        marks = {_DESIRED: str(replicas), _MAX: str(replicas + surge)}
        before = body["spec"].get("replicas", 1)
        patch: Json = {}
        if count != before:
            patch["spec"] = {"replicas": count}
        if any(annotations.get(name) != value for name, value in marks.items()):
            patch["metadata"] = {"annotations": marks}
        if not patch:
            return
        await self._patch_set(body, patch)
        if count != before:
            self._say_scaled(deployment, body, before, count)

    async def _patch_set(self, body: Json, patch: Json) -> Json:
        meta = body["metadata"]
        precondition = {**patch.get("metadata", {}), "resourceVersion": meta["resourceVersion"]}
        changed = await self._client.patch(
            REPLICA_SETS, meta["namespace"], meta["name"], {**patch, "metadata": precondition}
        )
        self._sets.observe(changed)
        return changed

    async def _clean_history(self, deployment: Json, old: list[Json]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        idle = [
            s
            for s in old
            if not s["spec"].get("replicas", 1)
            and not (s.get("status") or {}).get("replicas")
            and not s["metadata"].get("deletionTimestamp")
        ]
        for body in sorted(idle, key=_revision)[: max(0, len(old) - limit)]:
            meta = body["metadata"]
            await self._client.delete(REPLICA_SETS, meta["namespace"], meta["name"], uid=meta["uid"])
            self._sets.observe_deleted(body)

    # -- reporting -------------------------------------------------------------------------------

    async def _write_status(
        self, deployment: Json, sets: list[Json], new: Json | None, conditions: list[Json] | None = None
    ) -> Json:
        deployment = self._deployments.get(*key_of(deployment)) or deployment
        _, unavailable = _bounds(deployment)
        before = deployment.get("status") or {}
        for condition in conditions or ():
            deployment = set_progress(deployment, condition)
        status = compute_status(deployment, sets, new, unavailable)
        if status != before:
            changed = await self._client.update(DEPLOYMENTS, {**deployment, "status": status}, "status")
            self._deployments.observe(changed)
        return status

    def _say_scaled(self, deployment: Json, body: Json, before: int, count: int) -> None:
        word = "up" if count > before else "down"
        name = body["metadata"]["name"]
        text = f"Scaled {word} replica set {name} from {before} to {count}"
        self._recorder.record(_COMPONENT, deployment, "ScalingReplicaSet", text)


def _progressing(reason: str, message: str) -> Json:
    return {"type": "Progressing", "status": "True", "reason": reason, "message": message}


def _revision(body: Json) -> int:
    text: Any = (body["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if str(text).isdigit() else 0


def _bounds(deployment: Json) -> tuple[int, int]:
    spec = deployment["spec"]
    replicas = spec.get("replicas", 1)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, replicas
    rolling = strategy.get("rollingUpdate") or {}
    return rollout.resolve_bounds(
        replicas, rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%")
    )


def _track(body: Json, *, is_new: bool = False) -> Track:
    status = body.get("status") or {}
    return Track(
        name=body["metadata"]["name"],
        wanted=body["spec"].get("replicas", 1),
        available=status.get("availableReplicas", 0),
        is_new=is_new,
        max_replicas=int((body["metadata"].get("annotations") or {}).get(_MAX, 0)),
    )


def _deadline_seconds(deployment: Json, status: Json) -> float | None:
    """When to look again so that a stuck rollout is told in time."""
    limit = deployment["spec"].get("progressDeadlineSeconds")
    progress = find_condition({"status": status}, "Progressing")
    if (
        not limit
        or progress is None
        or progress.get("reason") in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded")
    ):
        return None
    since = datetime.fromisoformat(progress["lastUpdateTime"])
    due = since + timedelta(seconds=limit) - datetime.now(UTC)
    return max(1.0, due.total_seconds() + 1.0)
