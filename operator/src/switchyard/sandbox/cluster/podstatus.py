"""The status of a pod as its node reports it: pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from switchyard.sandbox.cluster.conditions import find_condition, stamp
from switchyard.sandbox.cluster.containers import ContainerRun

Json = dict[str, Any]


def build_status(
    pod: Json, runs: Sequence[ContainerRun], *, address: str, host: str, started_at: str
) -> Json:
    """The status fields that a kubelet writes, `conditions` and `containerStatuses` whole."""
    unready = [run.name for run in runs if not run.is_ready]
    is_waiting = any(
        not run.is_running and "terminated" not in run.state and not run.restarts for run in runs
    )
    status: Json = {
        "phase": "Pending" if is_waiting else "Running",
        "startTime": started_at,
        "hostIP": host,
        "hostIPs": _address_list(pod, "hostIPs", host),
        "containerStatuses": [_container_status(pod, run) for run in runs],
        "observedGeneration": pod["metadata"].get("generation", 1),
    }
    if address:
        status["podIP"] = address
        status["podIPs"] = _address_list(pod, "podIPs", address)
    init = pod["spec"].get("initContainers") or []
    if init:
        status["initContainerStatuses"] = [_init_status(pod, container, started_at) for container in init]
    conditions = [
        _condition(pod, "PodReadyToStartContainers", is_true=bool(address)),
        _condition(pod, "Initialized", is_true=True),
        _ready(pod, "ContainersReady", unready),
        _ready(pod, "Ready", unready),
        _condition(pod, "PodScheduled", is_true=True),
    ]
    status["conditions"] = conditions
    return status


def _address_list(pod: Json, name: str, address: str) -> list[Json]:
    """The list with this address alone: a strategic merge would add to another that stands there."""
    present = (pod.get("status") or {}).get(name) or []
    wanted = [{"ip": address}]
    return wanted if present in ([], wanted) else [{"$patch": "replace"}, *wanted]


def _ready(pod: Json, kind: str, unready: list[str]) -> Json:
    if not unready:
        return _condition(pod, kind, is_true=True)
    text = f"containers with unready status: [{' '.join(unready)}]"
    return _condition(pod, kind, is_true=False, reason="ContainersNotReady", message=text)


def _condition(pod: Json, kind: str, *, is_true: bool, reason: str = "", message: str = "") -> Json:
    status = "True" if is_true else "False"
    old = find_condition(pod, kind) or {}
    since = old.get("lastTransitionTime") if old.get("status") == status else None
    condition: Json = {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": since or stamp(),
    }
    # A strategic merge keeps what is left out, so an outdated reason must be taken away by name.
    condition["reason"] = reason or None
    condition["message"] = message or None
    if not old.get("reason") and not reason:
        del condition["reason"], condition["message"]
    return condition


def _container_status(pod: Json, run: ContainerRun) -> Json:
    image = str(run.spec.get("image", ""))
    digest = hashlib.sha256(image.encode()).hexdigest()
    identity = f"{pod['metadata']['uid']}/{run.name}/{run.restarts}"
    status: Json = {
        "name": run.name,
        "image": image,
        "imageID": f"sandbox://sha256:{digest}",
        "ready": run.is_ready,
        "started": run.is_started,
        "restartCount": run.restarts,
        "state": run.state,
        "lastState": run.last_state,
    }
    if "waiting" not in run.state:
        status["containerID"] = f"sandbox://{hashlib.sha256(identity.encode()).hexdigest()}"
    return status


def _init_status(pod: Json, container: Json, started_at: str) -> Json:
    image = str(container.get("image", ""))
    identity = f"{pod['metadata']['uid']}/{container['name']}/0"
    is_sidecar = container.get("restartPolicy") == "Always"
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": started_at, "finishedAt": started_at}
    return {
        "name": container["name"],
        "image": image,
        "imageID": f"sandbox://sha256:{hashlib.sha256(image.encode()).hexdigest()}",
        "containerID": f"sandbox://{hashlib.sha256(identity.encode()).hexdigest()}",
        "ready": True,
        "started": is_sidecar,
        "restartCount": 0,
        "state": {"running": {"startedAt": started_at}} if is_sidecar else {"terminated": ended},
        "lastState": {},
    }
