"""A workload that is moved under callers who never stop: written, watched and disturbed as a user does it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from e2e.marked_traffic import Caller, MarkedTraffic, asking
from e2e.objects import API_VERSION, condition, pool, variant, workload
from e2e.providers.plain_http import PlainHttp, poll
from e2e.scene import Scene

PLAN = "move"
NAME = "moved"
TERMINAL = {"Completed", "RolledBack", "Aborted"}
EVERYBODY = (Caller("all", 60),)
# short windows and wide margins, so that some hundred requests say enough
ANALYSIS = {
    "interval": "1s",
    "falseRollbackProbability": "0.05",
    "falsePromotionProbability": "0.2",
    "inconclusiveAfter": "20s",
}
MARGIN = {"oddsRatio": "3", "absolute": "0.1"}
ERRORS = {"name": "errors", "errors": {"margin": MARGIN}}
STEPS = [{"weight": 50, "minDuration": "2s", "minSamples": 30}, {"weight": 100, "minDuration": "2s"}]


def plan(**spec: Any) -> dict[str, Any]:
    """A plan that ends within a minute where nothing is wrong."""
    return {
        "apiVersion": API_VERSION,
        "kind": "CutoverPlan",
        "metadata": {"name": PLAN},
        "spec": {
            "workloadRef": {"name": NAME},
            "target": {"variant": "new"},  # the planner takes the other pool
            "shadow": {"percent": 100, "minDuration": "2s", "minSamples": 30},
            "steps": STEPS,
            "gates": [ERRORS],
            "analysis": ANALYSIS,
            "rollback": {"retainBaseline": "3s"},
            **spec,
        },
    }


@dataclass
class Move:
    """The workload `moved` with the variants old and new, each on a pool of its own."""

    scene: Scene
    pools: tuple[str, str]
    traffic: MarkedTraffic

    @property
    def status(self) -> dict[str, Any]:
        """The plan's status, empty before there is one."""
        path = f"/apis/{API_VERSION}/namespaces/{self.scene.namespace}/cutoverplans/{PLAN}"
        answer = self.scene.cluster.http.get(path)  # a process of kubectl for each look would cost a core
        return (answer.body.get("status") or {}) if answer.code == 200 else {}

    @property
    def weights(self) -> dict[str, int]:
        """Percent of each segment on the candidate, by the status."""
        return {each["name"]: each.get("weight", 0) for each in self.status.get("segments", ())}

    def write(self, document: dict[str, Any]) -> None:
        """Apply the plan."""
        self.traffic.mark(f"apply of {document['spec'].get('target')}")
        self.scene.apply(document)

    def change(self, **spec: Any) -> None:
        """Patch the plan's spec, as a pipeline that commits would."""
        self.traffic.mark(f"change of {', '.join(spec)}")
        self.scene.kubectl("patch", "cutoverplan", PLAN, "--type=merge", "-p", json.dumps({"spec": spec}))

    def wait_for(self, *phases: str, seconds: float = 90) -> dict[str, Any]:
        """The status once the plan is in one of the phases. Raises AssertionError with what it is instead."""
        found: dict[str, Any] = poll(
            lambda: self.status,
            lambda seen: seen.get("phase") in {*phases, *(TERMINAL - set(phases))},
            seconds=seconds,
            every=0.2,
        )
        assert found.get("phase") in phases, self.tell(found)
        self.traffic.mark(f"phase {found['phase']}")
        return found

    def wait_for_step(self, segment: str, weight: int, seconds: float = 90) -> dict[str, Any]:
        """The status once the path has confirmed that weight of the segment."""
        found: dict[str, Any] = poll(
            lambda: self.status,
            lambda seen: (
                seen.get("phase") in TERMINAL
                or any(
                    each["name"] == segment and each.get("observedWeight") == weight
                    for each in seen.get("segments", ())
                )
            ),
            seconds=seconds,
            every=0.2,
        )
        assert self.weights.get(segment) == weight, self.tell(found)
        return found

    def tell(self, status: dict[str, Any]) -> str:
        """What the plan went through, for a person."""
        lines = [
            f"{each['at']} {each['phase']} {each['reason']}: {each['message']}"
            for each in status.get("history", ())
        ]
        gates = [str(each) for each in status.get("gates", ())]
        return "\n".join(
            [f"phase {status.get('phase')}: {status.get('message')}", *lines, *gates, self.traffic.tell()]
        )

    def pods(self, variant_name: str) -> list[dict[str, Any]]:
        """Pods of one side."""
        selector = f"switchyard.dev/workload={NAME},switchyard.dev/variant={variant_name}"
        return self.scene.get("pods", "-l", selector)["items"]  # type: ignore[no-any-return]

    def disturb(self, *variants: str, **faults: float | str) -> float:
        """Let the running servers of these sides misbehave; returns when, on the monotonic clock."""
        pods = [pod for name in variants for pod in self.pods(name)]
        began = self.traffic.mark(f"faults {faults} on {', '.join(variants)}")
        for pod in pods:
            address = pod["status"].get("podIP", "")
            answer = PlainHttp(f"http://{address}:8080").post("/admin/faults", faults)
            assert answer.code == 200, answer.text
        return began

    def count_answers(self, variant_name: str) -> int:
        """Requests to the model that the running servers of one side have answered, copies included."""
        pages = [
            PlainHttp(f"http://{pod['status'].get('podIP', '')}:8080").get("/metrics").text
            for pod in self.pods(variant_name)
        ]
        counts = re.findall(
            r'^http_requests_total{handler="/(?:predict|v1/)[^}]*} (\S+)', "\n".join(pages), re.MULTILINE
        )
        return sum(int(float(each)) for each in counts)

    def hold_still(self, seconds: float) -> None:
        """Let callers ask for a while, with nothing changed."""
        time.sleep(seconds)

    def served_by(self) -> str:
        """The variant that the workload's status says serves."""
        status = self.scene.get("iw", NAME)["status"]
        return str(status["placements"][0]["variant"])

    def assert_moved(self) -> None:
        """The new variant serves, nothing of the old one or of a router is left."""
        self.scene.until(self.served_by, lambda name: name == "new", "the new variant serves")
        self._assert_tidy("new")

    def assert_stayed(self) -> None:
        """The old variant serves, nothing of the new one or of a router is left."""
        assert self.served_by() == "old"
        self._assert_tidy("old")

    def _assert_tidy(self, serving: str) -> None:
        self.scene.until(
            lambda: [
                each["metadata"]["name"]
                for each in self.scene.get("deployments")["items"]
                if f"-{serving}-" not in each["metadata"]["name"]
            ],
            lambda left: left == [],
            "only the Deployment that serves is left",
        )
        self.scene.until(
            lambda: self.scene.get("service", NAME)["metadata"].get("annotations", {}),
            lambda notes: "switchyard.dev/traffic-held-by" not in notes,
            "the stable Service is let go",
        )


@contextmanager
def moving(
    scene: Scene,
    *,
    callers: Sequence[Caller] = EVERYBODY,
    new_arguments: Sequence[str] = ("--base-ms=5",),
    old_arguments: Sequence[str] = ("--base-ms=5",),
    container: Mapping[str, Any] | None = None,
    new_container: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
    find_door: Callable[[], tuple[str, str]] | None = None,
    **spec: Any,
) -> Iterator[Move]:
    """The workload on the old variant, asked by callers from before the move until its end.

    `container`, `new_container`: more of the container of both variants, and of the new one. `asked`: what
    MarkedTraffic is to know more. `find_door`: address and host name of what callers ask once the workload
    is ready; else its Service.
    """
    if scene.cluster.provider != "sandbox":
        pytest.skip(
            "routers are asked for what they do from here, and only the sandbox's pods are reached here"
        )
    (first, _), (second, _) = scene.nodes_with_l4(2)
    pools = f"old-{scene.namespace}", f"new-{scene.namespace}"
    old, new = variant("old"), variant("new")
    old["container"] |= {"args": list(old_arguments), **(container or {})}
    new["container"] |= {"args": list(new_arguments), **(container or {}), **(new_container or {})}
    cheap, dear = pool(pools[0], first, "0.50"), pool(pools[1], second, "0.80")
    scene.apply(cheap, dear, workload(NAME, variants=[old], **spec))
    scene.wait("Ready", NAME)
    scene.apply(workload(NAME, variants=[old, new], **spec))  # what serves stays where it is
    with ExitStack() as stack:
        if find_door is None:
            traffic = MarkedTraffic(stack.enter_context(scene.reach(NAME)).url, callers, **(asked or {}))
        else:
            url, host = find_door()
            traffic = MarkedTraffic(url, callers, host, **(asked or {}))
        move = Move(scene, pools, traffic)
        assert move.served_by() == "old"
        stack.enter_context(asking(traffic))
        poll(lambda: traffic.sent, lambda sent: sent > 20, seconds=30, every=0.1)
        yield move


def verdicts(status: dict[str, Any]) -> dict[str, str]:
    """The verdict of each gate."""
    return {each["name"]: each["verdict"] for each in status.get("gates", ())}


def is_true(document: dict[str, Any], kind: str) -> bool:
    """Whether a condition holds."""
    return condition(document, kind).get("status") == "True"
