"""What `kubectl get pods` says of a pod. Source: printPod in k8s.io/kubernetes/pkg/printers."""

from __future__ import annotations

from switchyard.sandbox.apiserver.durations import age
from switchyard.sandbox.apiserver.resources import Json


def _statuses(pod: Json) -> list[Json]:
    return list((pod.get("status") or {}).get("containerStatuses") or ())


def ready(pod: Json) -> str:
    """Ready containers of all containers."""
    count = sum(
        1 for status in _statuses(pod) if status.get("ready") and "running" in (status.get("state") or {})
    )
    return f"{count}/{len(pod['spec'].get('containers') or ())}"


def status(pod: Json) -> str:
    """One word for where the pod stands: the most telling reason of its containers, or its phase."""
    told = pod.get("status") or {}
    word = told.get("reason") or told.get("phase") or "Unknown"
    for condition in told.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            word = "SchedulingGated"
    is_running = False
    for container in reversed(_statuses(pod)):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            word = waiting["reason"]
        elif ended is not None:
            code = (
                f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"
            )
            word = ended.get("reason") or code
        elif container.get("ready") and "running" in state:
            is_running = True
    if word == "Completed" and is_running:
        is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in told.get("conditions") or ())
        word = "Running" if is_ready else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        return "Unknown" if told.get("reason") == "NodeLost" else "Terminating"
    return str(word)


def restarts(pod: Json) -> str:
    """How often containers were restarted, and how long ago the last time."""
    count = sum(container.get("restartCount", 0) for container in _statuses(pod))
    ends = [
        ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        for container in _statuses(pod)
    ]
    last = max((end for end in ends if end), default="")
    return f"{count} ({age(last)} ago)" if count and last else str(count)


def readiness_gates(pod: Json) -> str:
    """Gates that are passed of all gates, or `<none>`."""
    gates = pod["spec"].get("readinessGates") or ()
    if not gates:
        return "<none>"
    conditions = {c["type"]: c["status"] for c in (pod.get("status") or {}).get("conditions") or ()}
    passed = sum(1 for gate in gates if conditions.get(gate["conditionType"]) == "True")
    return f"{passed}/{len(gates)}"
