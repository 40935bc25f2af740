"""One scenario's namespace, seen and changed as a user does: with kubectl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from e2e.objects import manifest
from e2e.providers import Cluster, PlainHttp
from e2e.providers.plain_http import poll
from e2e.providers.programs import free_port

PATIENCE_SECONDS = 60
KINDS = "deployments,replicasets,services,poddisruptionbudgets,pods,endpointslices"
L4 = ("nvidia.com/gpu.product", "NVIDIA-L4")


class Scene:
    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._pools: list[str] = []

    def kubectl(self, *arguments: str, stdin: str | None = None, expect: int | None = 0) -> str:
        """What kubectl printed on both streams."""
        done = self.cluster.kubectl("-n", self.namespace, *arguments, stdin=stdin, expect=expect)
        return done.stdout + done.stderr

    def apply(self, *documents: dict[str, Any], expect: int = 0) -> str:
        self._pools += [each["metadata"]["name"] for each in documents if each["kind"] == "AcceleratorPool"]
        return self.kubectl("apply", "-f", "-", stdin=manifest(*documents), expect=expect)

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def wait(self, condition: str, name: str, *, seconds: int = PATIENCE_SECONDS) -> None:
        self.kubectl("wait", f"--for=condition={condition}", f"iw/{name}", f"--timeout={seconds}s")

    def until(self, ask: Callable[[], Any], is_so: Callable[[Any], bool], what: str) -> Any:
        """The answer for which it is so. Raises AssertionError with the last one."""
        got = poll(ask, is_so, seconds=PATIENCE_SECONDS, every=0.25)
        assert is_so(got), f"{what}: {json.dumps(got, indent=1, default=str)}"
        return got

    def nodes_with_l4(self, count: int) -> list[tuple[str, int]]:
        """Name and allocatable devices of L4 nodes."""
        items = json.loads(self.cluster.kubectl("get", "nodes", "-l", "=".join(L4), "-o", "json").stdout)[
            "items"
        ]
        nodes = [
            (each["metadata"]["name"], int(each["status"]["allocatable"].get("nvidia.com/gpu", 0)))
            for each in items
        ]
        nodes = [(name, devices) for name, devices in nodes if devices > 0]
        assert len(nodes) >= count, (
            f"this scenario needs {count} nodes with label {'='.join(L4)} and nvidia.com/gpu devices, "
            f"the cluster has {len(nodes)}"
        )
        return sorted(nodes)[:count]

    def children(self) -> list[tuple[str, str, str]]:
        """Kind, name and uid of everything that a placement made, sorted."""
        items = self.get(
            "deployments,services,poddisruptionbudgets", "-l", "app.kubernetes.io/managed-by=switchyard"
        )
        return sorted(
            (each["kind"], each["metadata"]["name"], each["metadata"]["uid"]) for each in items["items"]
        )

    @contextmanager
    def reach(self, service: str) -> Iterator[PlainHttp]:
        """A way to a Service from outside of the cluster."""
        spec = self.get("service", service)["spec"]
        port = spec["ports"][0]["port"]
        if self.cluster.provider == "sandbox":
            yield PlainHttp(f"http://{spec['clusterIP']}:{port}")
        elif self.cluster.provider == "envtest":
            # simulated nodes serve an advertised 10.x.y.z on 127.x.y.z
            yield PlainHttp(f"http://127.{spec['clusterIP'].split('.', 1)[1]}:{port}")
        else:
            local = free_port()
            with self.cluster.forward_port(self.namespace, f"service/{service}", local, port):
                yield PlainHttp(f"http://127.0.0.1:{local}")

    def serves(self, service: str) -> bool:
        with self.reach(service) as http:
            return http.post("/predict", {"input": "hello"}).code == 200

    def report(self) -> str:
        """What a person would look at first when a scenario fails."""
        return "\n".join(
            self.kubectl(*command, expect=None)
            for command in (
                ("get", "acceleratorpools,inferenceworkloads,cutoverplans", "-o", "yaml"),
                ("get", KINDS, "-o", "wide"),
                ("get", "events"),
            )
        )

    def clear(self) -> None:
        self.kubectl("delete", "inferenceworkloads", "--all", "--timeout=60s")
        for name in self._pools:
            self.cluster.kubectl("delete", "acceleratorpool", name, "--ignore-not-found")
        self.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.kubectl("get", "pods", "-o", "name", expect=None).strip() and time.monotonic() < deadline:
            time.sleep(0.25)
