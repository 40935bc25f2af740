"""The folder of a running sandbox: what its commands need to find it, its tokens, a lock."""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEFAULT_STATE_DIR = Path(".switchyard") / "sandbox"


class AlreadyUpError(Exception):
    """A sandbox runs from this folder already."""


class NotUpError(Exception):
    """No sandbox runs from this folder."""


class StateDir:
    """Files of one sandbox. All of them are readable by their owner alone: they hold admin tokens."""

    def __init__(self, path: Path | str = DEFAULT_STATE_DIR) -> None:
        self.path = Path(path).absolute()
        self.kubeconfig_path = self.path / "kubeconfig"
        self.ca_path = self.path / "ca.pem"
        self.nodes_path = self.path / "nodes.json"
        self.log_path = self.path / "cluster.log"
        self._server_path = self.path / "server.json"
        self._lock: int | None = None

    def lock(self) -> None:
        """Claim the folder for this process until it ends. AlreadyUpError when another has it."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise AlreadyUpError(f"a sandbox is up already in {self.path}") from error
        self._lock = handle

    def is_locked(self) -> bool:
        """Whether a process holds the folder."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False

    def unlock(self) -> None:
        """Give the folder up and remove what no longer holds."""
        for path in (self._server_path, self.nodes_path):
            path.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_server(self, url: str, token: str, ca_pem: bytes) -> None:
        """Note the API server, and write its kubeconfig."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.ca_path.write_bytes(ca_pem)
        write_private(self.kubeconfig_path, render_kubeconfig(url, token, ca_pem))
        write_private(self._server_path, json.dumps({"url": url, "token": token, "pid": os.getpid()}))

    def read_server(self) -> dict[str, Any]:
        """url, token and pid of the sandbox that is up. NotUpError when none is."""
        if not self.is_locked() or not self._server_path.exists():
            raise NotUpError(f"no sandbox is up in {self.path}; start one with `switchyard sandbox up`")
        found: dict[str, Any] = json.loads(self._server_path.read_text())
        return found

    def read_nodes(self) -> dict[str, Any]:
        """Url and token for faults of nodes. NotUpError when no sandbox is up."""
        self.read_server()
        if not self.nodes_path.exists():
            raise NotUpError(f"the nodes of the sandbox in {self.path} are not up (yet)")
        found: dict[str, Any] = json.loads(self.nodes_path.read_text())
        return found


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    fresh.replace(path)


def render_kubeconfig(url: str, token: str, ca_pem: bytes) -> str:
    """A kubeconfig with CA and token inside."""
    cluster: Mapping[str, str] = {
        "server": url,
        **({"certificate-authority-data": base64.b64encode(ca_pem).decode()} if ca_pem else {}),
    }
    name = "switchyard-sandbox"
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": dict(cluster)}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        },
        sort_keys=False,
    )
