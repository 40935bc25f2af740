"""Replicas follow a demand that is measured, stand still while it is not, and follow again afterwards."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from e2e.installation import Operator
from e2e.objects import IMAGE, condition, pool, workload
from e2e.providers import PlainHttp
from e2e.providers.plain_http import poll
from e2e.providers.programs import free_port
from e2e.scene import L4, Scene
from e2e.trace_traffic import driven, read_trace, steady

SPEED = 20  # forty minutes of the trace in two
WINDOW_SECONDS = 60
SLOW_START_SECONDS = 90
QUIET_SECONDS = 8
LOW_RATE = 4.0
SOURCE = "cluster-prometheus"

pytestmark = pytest.mark.timeout(600)


def _service(name: str, **signal: str) -> dict[str, Any]:
    """A service of 10 requests per second and replica at most, whose demand is measured."""
    container = {
        "image": IMAGE,
        "command": ["switchyard", "model-server"],
        "args": ["--base-ms=200", "--slope-ms=0", "--slots=2", "--cv2=0.1"],
    }
    profile = {"source": "benchmark", "concurrency": {"slots": 2, "base": "200ms", "cv2": "0.1"}}
    variant = {
        "name": "gpu",
        "accelerators": ["nvidia-l4"],
        "devicesPerReplica": 1,
        "container": container,
        "profile": profile,
    }
    return workload(
        name,
        demand={
            "signal": {"preset": "vllm", **signal},
            "window": f"{WINDOW_SECONDS}s",
            "requestsPerSecond": "2",
        },
        objectives=[{"metric": "latency", "percentile": 95, "target": "1s"}],
        variants=[variant],
        scaling={"scaleDownDelay": "5s", "minReplicas": 1, "maxReplicas": 6},
    )


class Watcher:
    """Notes every change of the number of replicas that the workload asks for."""

    def __init__(self, scene: Scene, name: str) -> None:
        self._scene, self._name = scene, name
        self._stopping = threading.Event()
        self.replicas: list[int] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=10)
        print("replicas over time:", self.replicas)

    def _watch(self) -> None:
        while not self._stopping.wait(0.5):
            now = replicas(self._scene, self._name)
            if not self.replicas or self.replicas[-1] != now:
                self.replicas.append(now)

    @property
    def turns(self) -> int:
        """How often the direction changed: up and later down is one turn."""
        steps = [after - before for before, after in pairwise(self.replicas)]
        return sum((before > 0) != (after > 0) for before, after in pairwise(steps))


def replicas(scene: Scene, name: str) -> int:
    """Replicas over all tracks, as the Deployments ask for them."""
    items = scene.get("deployments", "-l", f"switchyard.dev/workload={name}")["items"]
    return sum(int(each["spec"]["replicas"]) for each in items)


def _measured(scene: Scene, name: str) -> dict[str, Any]:
    return scene.get("iw", name).get("status", {}).get("demand", {})


def _signal(scene: Scene, name: str) -> tuple[str, str]:
    found = condition(scene.get("iw", name), "SignalsAvailable")
    return found.get("status", ""), found.get("reason", "")


def _until(what: str, ask: Any, is_so: Any, seconds: float) -> Any:
    got = poll(ask, is_so, seconds=int(seconds), every=0.5)
    assert is_so(got), f"{what}: {got}"
    return got


def _pods(scene: Scene, name: str) -> list[str]:
    items = scene.get("pods", "-l", f"switchyard.dev/workload={name}")["items"]
    return [each["status"]["podIP"] for each in items if each.get("status", {}).get("podIP")]


@contextmanager
def _without_metrics(scene: Scene, name: str) -> Iterator[None]:
    """Every pod serves, and none tells."""

    def tell(share: float) -> None:
        for address in _pods(scene, name):
            answer = PlainHttp(f"http://{address}:8080").post("/admin/faults", {"metrics_error_ratio": share})
            assert answer.code == 200, answer

    tell(1.0)
    try:
        yield
    finally:
        tell(0.0)


def _follow_and_freeze(scene: Scene, operator: Operator, name: str, outage: Any) -> None:
    scene.wait("Ready", name)
    assert replicas(scene, name) == 1
    with scene.reach(name) as http, Watcher(scene, name) as watcher:
        with driven(http.url, read_trace(SPEED)) as traffic:
            _until(
                "the demand is measured",
                lambda: _measured(scene, name),
                lambda seen: seen.get("source") == "Signal" and float(seen["requestsPerSecond"]) > LOW_RATE,
                SLOW_START_SECONDS,
            )
            _until(
                "replicas follow", lambda: replicas(scene, name), lambda seen: seen >= 2, SLOW_START_SECONDS
            )
            assert _signal(scene, name) == ("True", "SignalCurrent")
            _until("the trace ends", lambda: traffic.is_over, bool, 180)
        measured = _measured(scene, name)
        assert float(measured["inputTokens"]) == pytest.approx(1150 / 8, rel=0.3)
        assert float(measured["outputTokens"]) == pytest.approx(230 / 8, rel=0.4)
        assert traffic.sent > 1700
        assert traffic.answers.get(200, 0) > 0.97 * traffic.sent, traffic.answers
        assert watcher.turns <= 1, watcher.replicas
        assert len(watcher.replicas) <= 7, watcher.replicas

        before = replicas(scene, name)
        assert before >= 2
        with outage():
            # nobody asks any more, and nobody can know: the restarted operator has the status alone
            operator.kill()
            operator.start()
            _until("the outage is told", lambda: _signal(scene, name), lambda seen: seen[0] == "False", 60)
            assert _signal(scene, name) == ("False", "DemandFrozen")
            end = time.monotonic() + QUIET_SECONDS
            while time.monotonic() < end:
                assert replicas(scene, name) == before
                time.sleep(0.5)
            assert _measured(scene, name)["source"] == "LastKnown"

        with driven(http.url, steady(LOW_RATE, 180)):
            _until("the signal is back", lambda: _signal(scene, name), lambda seen: seen[0] == "True", 60)
            _until("replicas go down", lambda: replicas(scene, name), lambda seen: seen == 1, 150)
        assert watcher.turns <= 1, watcher.replicas


def test_replicas_follow_a_trace_by_the_pods_own_metrics(scene: Scene, operator: Operator) -> None:
    if scene.cluster.provider != "sandbox":
        pytest.skip("the operator runs here, and only the sandbox's pods have addresses here")
    scene.nodes_with_l4(2)
    scene.apply(pool("e2e-trace", "", nodeSelector={L4[0]: L4[1]}), _service("trace"))
    _follow_and_freeze(scene, operator, "trace", lambda: _without_metrics(scene, "trace"))


@pytest.mark.real
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no prometheus")
def test_replicas_follow_a_trace_through_prometheus(scene: Scene, operator: Operator, tmp_path: Path) -> None:
    if scene.cluster.provider != "sandbox":
        pytest.skip("the Prometheus runs here, and only the sandbox's pods have addresses here")
    with _prometheus(scene, "queried", tmp_path) as server:
        operator.configure(
            yaml.safe_dump({"metricSources": [{"name": SOURCE, "type": "prometheus", "url": server.url}]})
        )
        try:
            scene.nodes_with_l4(2)
            scene.apply(
                pool("e2e-queried", "", nodeSelector={L4[0]: L4[1]}), _service("queried", source=SOURCE)
            )
            _follow_and_freeze(scene, operator, "queried", server.paused)
        finally:
            operator.configure()


class _Prometheus:
    """A server that scrapes the pods of one workload, found in a file that is kept up to date."""

    def __init__(self, scene: Scene, name: str, directory: Path) -> None:
        self._scene, self._name, self._directory = scene, name, directory
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._list_pods, daemon=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {
                    "job_name": "pods",
                    "file_sd_configs": [
                        {"files": [str(self._directory / "pods.yml")], "refresh_interval": "1s"}
                    ],
                }
            ],
        }
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._run()
        self._thread.start()

    def _run(self) -> None:
        with (self._directory / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=10)
        self._end()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The server is gone meanwhile."""
        self._end()
        try:
            yield
        finally:
            self._run()

    def _list_pods(self) -> None:
        target = self._directory / "pods.yml"
        while not self._stopping.wait(0.5):
            items = self._scene.get("pods", "-l", f"switchyard.dev/workload={self._name}")["items"]
            found = [
                {
                    "targets": [f"{each['status']['podIP']}:8080"],
                    "labels": {"namespace": self._scene.namespace, "pod": each["metadata"]["name"]},
                }
                for each in items
                if each.get("status", {}).get("podIP")
            ]
            fresh = target.with_suffix(".new")
            fresh.write_text(yaml.safe_dump(found))
            fresh.replace(target)


@contextmanager
def _prometheus(scene: Scene, name: str, directory: Path) -> Iterator[_Prometheus]:
    server = _Prometheus(scene, name, directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
