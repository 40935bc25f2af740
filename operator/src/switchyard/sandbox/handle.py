"""A sandbox in the hands of Python: in this process, or as a process of its own.

async with Sandbox(fleet="default") as sandbox:
    await sandbox.nodes.kill("gpu-l4-1")

with SandboxProcess.start(state_dir) as sandbox:
    subprocess.run(["kubectl", "get", "nodes"], env={**os.environ, "KUBECONFIG": sandbox.kubeconfig_path})
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from switchyard.sandbox.apiserver.app import ApiServer, ServerOptions
from switchyard.sandbox.client import ApiClient, Connection
from switchyard.sandbox.cluster.fleet import NodeSpec, load_fleet
from switchyard.sandbox.cluster.nodes import NodeAgents
from switchyard.sandbox.cluster.run import Cluster
from switchyard.sandbox.gateway.controller import GatewayController
from switchyard.sandbox.gateway.gateways import find_url
from switchyard.sandbox.gateway.kinds import GATEWAYS, install
from switchyard.sandbox.statedir import StateDir

_FAULTS = "/sandbox/v1/faults"


class Sandbox:
    """An embedded cluster in this event loop. `fleet` None: no nodes; or a name, a file, or the nodes.

    `controllers` off: an API server alone (and nodes, where there is a fleet). `routing`: families of route
    kinds to install, "gateway-api" and "istio". A killed node is noticed after about three heartbeats, its
    pods leave `eviction_seconds` later.
    """

    def __init__(
        self,
        fleet: str | tuple[NodeSpec, ...] | None = "default",
        *,
        persist: Path | None = None,
        controllers: bool = True,
        routing: tuple[str, ...] = (),
        port: int = 0,
        heartbeat_seconds: float = 3.0,
        eviction_seconds: float = 5.0,
        gateway_seed: int | None = None,
    ) -> None:
        self._gateway_seed = gateway_seed
        self._heartbeat_seconds = heartbeat_seconds
        self._eviction_seconds = eviction_seconds
        self._fleet = load_fleet(fleet) if isinstance(fleet, str) else fleet or ()
        self._has_cluster = controllers or bool(self._fleet)
        self._has_controllers = controllers
        self._routing = routing
        self._directory = tempfile.TemporaryDirectory(prefix="switchyard-sandbox-")
        self._state = StateDir(self._directory.name)
        self._options = ServerOptions(port=port, state_dir=self._state.path, persist=persist)
        self._cluster: Cluster | None = None
        self._client: ApiClient | None = None
        self.server = ApiServer(self._options)

    async def start(self) -> Self:
        """Start API server, controllers and nodes; when it returns, all nodes are registered."""
        await self.server.start()
        self._state.write_server(self.server.url, self.server.admin_token, self.server.ca_pem)
        self._client = ApiClient(self.connection, agent="sandbox-handle")
        await install(self.client, self._routing)
        if self._has_cluster:
            self._cluster = Cluster(
                self.connection,
                self._fleet,
                controllers=self._has_controllers,
                is_mapped=False,
                heartbeat_seconds=self._heartbeat_seconds,
                eviction_seconds=self._eviction_seconds,
                gateway_seed=self._gateway_seed,
            )
            await self._cluster.start()
        return self

    async def stop(self) -> None:
        """Stop everything and remove the files."""
        if self._cluster is not None:
            await self._cluster.stop()
            self._cluster = None
        if self._client is not None:
            await self._client.close()
            self._client = None
        await self.server.stop()
        self._directory.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Of the API server."""
        return self.server.url

    @property
    def admin_token(self) -> str:
        """Bearer token of a cluster administrator."""
        return self.server.admin_token

    @property
    def ca_path(self) -> Path:
        """The CA certificate that the server's certificate is checked with."""
        return self._state.ca_path

    @property
    def kubeconfig_path(self) -> Path:
        """For kubectl and every other client."""
        return self._state.kubeconfig_path

    @property
    def connection(self) -> Connection:
        """For clients of this package."""
        return Connection(self.server.url, self.server.admin_token, self.server.ca_pem)

    @property
    def client(self) -> ApiClient:
        """A client with an administrator's rights."""
        if self._client is None:
            raise RuntimeError("the sandbox is not started")
        return self._client

    @property
    def nodes(self) -> NodeAgents:
        """The simulated nodes: kill, restore, mark_unhealthy, reclaim, slow."""
        if self._cluster is None or self._cluster.agents is None:
            raise RuntimeError("this sandbox has no nodes, or is not started")
        return self._cluster.agents

    @property
    def gateway(self) -> GatewayController:
        """The gateway behind all Gateways: where Istio's are served, what was counted, limits of mirrors."""
        if self._cluster is None or self._cluster.gateway is None:
            raise RuntimeError("this sandbox has no gateway, or is not started")
        return self._cluster.gateway

    async def gateway_url(
        self, namespace: str, name: str, *, listener: str = "", timeout_seconds: float = 20.0
    ) -> str:
        """The URL of a Gateway's listener (the first one without a name), once it is programmed.

        TimeoutError when it is not in time.
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                url = find_url(await self.client.get(GATEWAYS, namespace, name), listener)
                if url:
                    return url
                await asyncio.sleep(0.02)

    @property
    def faults(self) -> ServerFaults:
        """Failures of the API server."""
        return ServerFaults(self.client)


class ServerFaults:
    """What the API server can be told to do wrong; the fields are those of its admin endpoint."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def add(self, kind: str, **fields: Any) -> dict[str, Any]:
        """What was set: an id to remove it by, or what a fault of the moment has done."""
        return await self._client.request("POST", _FAULTS, body={"kind": kind, **fields}, attempts=1)

    async def all(self) -> dict[str, Any]:
        """What is set at the moment."""
        return await self._client.request("GET", _FAULTS)

    async def clear(self) -> None:
        """Remove all."""
        await self._client.request("DELETE", _FAULTS)


class SandboxProcess:
    """`switchyard sandbox up` as a subprocess, for tests with kubectl and for demos."""

    def __init__(self, process: subprocess.Popen[bytes], state: StateDir) -> None:
        self._process = process
        self._state = state
        server = state.read_server()
        self.url: str = server["url"]
        self.admin_token: str = server["token"]
        self.kubeconfig_path = state.kubeconfig_path
        self.ca_path = state.ca_path

    @classmethod
    def start(
        cls,
        state_dir: Path,
        *,
        fleet: str = "default",
        persist: Path | None = None,
        routing: str = "none",
        timeout_seconds: float = 60.0,
    ) -> Self:
        """Start one with its state in `state_dir` and wait until its nodes are registered.

        RuntimeError with the end of its output when it does not come up.
        """
        state = StateDir(state_dir)
        state.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = [sys.executable, "-m", "switchyard", "sandbox", "up", "--state-dir", str(state.path)]
        command += ["--fleet", fleet, "--routing", routing, *(["--persist", str(persist)] if persist else [])]
        output = state.path / "up.log"
        with output.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603  (our own command)
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout_seconds
        while not (state.is_locked() and state.nodes_path.exists()):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise RuntimeError(f"the sandbox did not come up: {output.read_text()[-2000:]}")
            time.sleep(0.05)
        return cls(process, state)

    def stop(self, *, timeout_seconds: float = 20.0) -> int:
        """Its exit code after an orderly end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The environment for kubectl and Helm."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig_path)}

    @property
    def pid(self) -> int:
        """Of the process that holds the API server."""
        return self._process.pid

    def node_fault(self, name: str, action: str, **fields: Any) -> dict[str, Any]:
        """What the nodes answered to kill, restore, unhealthy, reclaim or slow; FaultError for a refusal."""
        return node_fault(self._state, name, action, fields)

    def gateways(self) -> dict[str, Any]:
        """`gateways` with their URLs and `counts` of their traffic."""
        return list_gateways(self._state)

    def server_fault(self, kind: str, **fields: Any) -> dict[str, Any]:
        """What the API server answered. FaultError when it refuses."""
        return server_fault(self._state, "POST", {"kind": kind, **fields})


class FaultError(Exception):
    """A fault was refused; the text says why."""


def node_fault(state: StateDir, name: str, action: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What the nodes of a running sandbox answered. NotUpError, or FaultError when they refuse."""
    nodes = state.read_nodes()
    return _call("POST", f"{nodes['url']}/nodes/{name}/{action}", nodes["token"], fields)


def list_nodes(state: StateDir) -> list[dict[str, Any]]:
    """The nodes of a running sandbox with their faults."""
    nodes = state.read_nodes()
    found: list[dict[str, Any]] = _call("GET", f"{nodes['url']}/nodes", nodes["token"], None)["nodes"]
    return found


def list_gateways(state: StateDir) -> dict[str, Any]:
    """`gateways` with their URLs and `counts` of their traffic, of a running sandbox."""
    nodes = state.read_nodes()
    return _call("GET", f"{nodes['url']}/gateways", nodes["token"], None)


def server_fault(state: StateDir, method: str, fields: dict[str, Any] | None) -> dict[str, Any]:
    """What the API server of a running sandbox answered at its fault endpoint."""
    server = state.read_server()
    ca = state.ca_path.read_text() if server["url"].startswith("https") else None
    return _call(method, server["url"] + _FAULTS, server["token"], fields, ca_pem=ca)


def _call(
    method: str, url: str, token: str, fields: dict[str, Any] | None, *, ca_pem: str | None = None
) -> dict[str, Any]:
    data = None if fields is None else json.dumps(fields).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310  (own address)
    context = ssl.create_default_context(cadata=ca_pem) if ca_pem else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),  # loopback is never behind a proxy
        *([urllib.request.HTTPSHandler(context=context)] if context else []),
    )
    try:
        with opener.open(request, timeout=30) as answer:
            raw = answer.read()
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            body = json.loads(text)
        except ValueError:
            body = {}
        raise FaultError(body.get("error") or body.get("message") or text or str(error)) from error
    except OSError as error:
        raise FaultError(f"{url} does not answer: {error}") from error
    decoded: dict[str, Any] = json.loads(raw) if raw else {}
    return decoded
