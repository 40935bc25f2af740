"""One cluster under test: where it is, who may ask, and what runs in it."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from e2e.providers.plain_http import PlainHttp

REPOSITORY = Path(__file__).resolve().parents[2]


class ClusterUnavailableError(Exception):
    """The cluster that was asked for by name can't be had; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What runs in the cluster besides its API server."""

    controllers: bool  # Deployments become pods, garbage is collected, namespaces end
    nodes: bool  # pods bound to nodes become Ready
    own_nodes: bool  # the nodes are simulated or ours alone: they may be killed
    real_apiserver: bool


@dataclass(frozen=True)
class Cluster:
    provider: str
    url: str
    token: str
    ca_path: Path
    kubeconfig: Path
    kubectl_path: Path
    capabilities: Capabilities
    forget_history: Callable[[], None] = field(default=lambda: None)  # older resourceVersions become too old

    @property
    def http(self) -> PlainHttp:
        return PlainHttp(self.url, self.token, str(self.ca_path))

    def kubectl(
        self,
        *arguments: str,
        stdin: str | None = None,
        kubeconfig: Path | None = None,
        expect: int | None = 0,
        timeout_seconds: float = 90,
    ) -> subprocess.CompletedProcess[str]:
        """What kubectl printed. Raises AssertionError on another exit code than `expect` (None: any)."""
        done = subprocess.run(
            [str(self.kubectl_path), "--kubeconfig", str(kubeconfig or self.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            env=environment_without_proxies(),
        )
        if expect is not None and done.returncode != expect:
            raise AssertionError(
                f"kubectl {' '.join(arguments)} ended with {done.returncode}, want {expect}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    @contextmanager
    def forward_port(self, namespace: str, target: str, local: int, remote: int) -> Iterator[None]:
        """`kubectl port-forward` for as long as the context lasts."""
        command = [str(self.kubectl_path), "--kubeconfig", str(self.kubeconfig), "-n", namespace]
        with subprocess.Popen(
            [*command, "port-forward", target, f"{local}:{remote}"],
            stdout=subprocess.PIPE,
            env=environment_without_proxies(),
        ) as forwarding:
            try:
                assert forwarding.stdout
                forwarding.stdout.readline()  # printed when it listens
                yield
            finally:
                forwarding.terminate()


def environment_without_proxies() -> dict[str, str]:
    """The environment for programs that talk to loopback."""
    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    return {name: value for name, value in os.environ.items() if name.lower() not in proxies | {"kubeconfig"}}


def find_kubectl(folder: Path | None = None) -> Path:
    """kubectl of `folder`, else of this environment, else of the PATH."""
    candidates = [folder and folder / "kubectl", Path(sys.executable).parent / "kubectl"]
    for candidate in candidates:
        if candidate and candidate.is_file():
            return candidate
    found = shutil.which("kubectl")
    if not found:
        raise ClusterUnavailableError("no kubectl: run `make setup`, or put one on the PATH")
    return Path(found)


def kubeconfig_text(url: str, token: str, ca_pem: bytes, *, namespace: str = "default") -> str:
    """A kubeconfig for one user of one server."""
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "under-test",
                "cluster": {
                    "server": url,
                    "certificate-authority-data": base64.b64encode(ca_pem).decode(),
                },
            }
        ],
        "users": [{"name": "tester", "user": {"token": token}}],
        "contexts": [
            {
                "name": "under-test",
                "context": {"cluster": "under-test", "user": "tester", "namespace": namespace},
            }
        ],
        "current-context": "under-test",
    }
    return yaml.safe_dump(document)


def write_kubeconfig(path: Path, url: str, token: str, ca_pem: bytes, *, namespace: str = "default") -> Path:
    path.write_text(kubeconfig_text(url, token, ca_pem, namespace=namespace))
    path.chmod(0o600)
    return path
