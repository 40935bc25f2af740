"""The composition: controllers and nodes over one client and one set of watches."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from typing import Any

from switchyard.sandbox.client import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    ENDPOINT_SLICES,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    ApiClient,
    ApiError,
    Connection,
)
from switchyard.sandbox.cluster.addresses import AddressBook
from switchyard.sandbox.cluster.aggregation import AggregationController
from switchyard.sandbox.cluster.deployments import DeploymentController
from switchyard.sandbox.cluster.disruption import DisruptionController
from switchyard.sandbox.cluster.endpoints import EndpointsController
from switchyard.sandbox.cluster.events import Recorder, expire_events
from switchyard.sandbox.cluster.fleet import NodeSpec
from switchyard.sandbox.cluster.forwarder import ServiceForwarder
from switchyard.sandbox.cluster.garbage import GarbageCollector
from switchyard.sandbox.cluster.informer import Caches
from switchyard.sandbox.cluster.kubelet import AgentServer
from switchyard.sandbox.cluster.namespaces import NamespaceController
from switchyard.sandbox.cluster.nodelife import NodeLifecycle
from switchyard.sandbox.cluster.nodes import NodeAgents
from switchyard.sandbox.cluster.replicasets import ReplicaSetController
from switchyard.sandbox.cluster.scheduler import Scheduler
from switchyard.sandbox.gateway.controller import GatewayController

log = logging.getLogger(__name__)


class Cluster:
    """Everything of a cluster but its API server. `controllers` off leaves nodes, Services and gateways.

    `is_mapped` None finds out by itself whether loopback addresses must be advertised as 10.x.y.z.
    """

    def __init__(
        self,
        connection: Connection,
        fleet: tuple[NodeSpec, ...] = (),
        *,
        controllers: bool = True,
        admin_token: str = "",
        is_mapped: bool | None = None,
        heartbeat_seconds: float = 3.0,
        eviction_seconds: float = 5.0,
        gateway_seed: int | None = None,
    ) -> None:
        self._heartbeat_seconds = heartbeat_seconds
        self._eviction_seconds = eviction_seconds
        self._gateway_seed = gateway_seed
        self._connection = connection
        self._fleet = fleet
        self._has_controllers = controllers
        self._is_mapped = is_mapped
        self._client = ApiClient(connection)
        self._caches = Caches(self._client)
        self._tasks: list[asyncio.Task[None]] = []
        self._forwarder: ServiceForwarder | None = None
        self._server: AgentServer | None = None
        self._book: AddressBook | None = None
        self.admin_token = admin_token or secrets.token_urlsafe(24)
        self.agents: NodeAgents | None = None
        self.gateway: GatewayController | None = None

    @property
    def admin_url(self) -> str:
        """Where faults can be asked for; empty without nodes."""
        return self._server.admin_url if self._server is not None else ""

    async def start(self) -> None:
        """Start all tasks and register the nodes. Afterwards pods are scheduled and run."""
        recorder = Recorder(self._client)
        self._spawn(recorder.run())
        if self._has_controllers:
            self._start_controllers(recorder)
        await self._start_nodes(recorder)
        await self._caches.synced()

    def _start_controllers(self, recorder: Recorder) -> None:
        of = self._caches.of
        client = self._client.as_agent("kube-controller-manager")
        pods, sets, nodes = of(PODS), of(REPLICA_SETS), of(NODES)
        deployments = DeploymentController(client, of(DEPLOYMENTS), sets, pods, recorder)
        replica_sets = ReplicaSetController(client, sets, pods, recorder)
        endpoints = EndpointsController(client, of(SERVICES), pods, of(ENDPOINT_SLICES), nodes)
        budgets = DisruptionController(client, of(DISRUPTION_BUDGETS), pods, sets)
        aggregation = AggregationController(client, of(CLUSTER_ROLES))
        namespaces = NamespaceController(
            client, of(NAMESPACES), of(SERVICE_ACCOUNTS), of(CONFIG_MAPS), self._connection.ca_pem
        )
        life = NodeLifecycle(
            client, nodes, pods, of(LEASES), recorder, eviction_seconds=self._eviction_seconds
        )
        garbage = GarbageCollector(client, self._caches)
        for queue in (deployments.queue, replica_sets.queue, endpoints.queue, budgets.queue):
            self._spawn(self._after_sync(queue.run()))
        self._spawn(self._after_sync(aggregation.queue.run()))
        self._spawn(namespaces.queue.run())
        self._spawn(life.queue.run())
        self._spawn(life.run())
        self._spawn(garbage.queue.run())
        self._spawn(garbage.run())
        self._spawn(Scheduler(client, nodes, pods, recorder).run())
        self._spawn(expire_events(client, of(EVENTS)))

    async def _after_sync(self, work: Coroutine[Any, Any, None]) -> None:
        """Decide nothing before every kind was listed once: an empty cache must not read as "none there"."""
        await self._caches.synced()
        await work

    async def _start_nodes(self, recorder: Recorder) -> None:
        of = self._caches.of
        if self._is_mapped is None:
            self._is_mapped = await self._needs_mapping()
        self._forwarder = ServiceForwarder(of(SERVICES), of(ENDPOINT_SLICES), recorder)
        self._spawn(self._forwarder.queue.run())
        self._book = AddressBook(is_mapped=self._is_mapped)
        self.agents = NodeAgents(
            self._client,
            self._fleet,
            nodes=of(NODES),
            pods=of(PODS),
            config_maps=of(CONFIG_MAPS),
            recorder=recorder,
            book=self._book,
            heartbeat_seconds=self._heartbeat_seconds,
        )
        self.gateway = GatewayController(self._client, self._caches, self._book, seed=self._gateway_seed)
        self._spawn(self._after_sync(self.gateway.queue.run()))
        self._server = AgentServer(self.agents, self.gateway, self.admin_token)
        await self._server.start(self._book.socket, is_tls=self._is_mapped)
        await self.agents.start()
        self._spawn(self.agents.run())

    async def _needs_mapping(self) -> bool:
        """Whether the API server hands out addresses outside of loopback: then it is not ours."""
        try:
            service = await self._client.get(SERVICES, "default", "kubernetes")
        except ApiError as error:
            if not error.is_not_found:
                raise
            return False
        return not str(service["spec"].get("clusterIP", "")).startswith("127.")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(_complain)

    async def stop(self) -> None:
        """Stop everything."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.agents is not None:
            await self.agents.close()
        if self.gateway is not None:
            await self.gateway.close()
        if self._forwarder is not None:
            await self._forwarder.close()
        if self._server is not None:
            await self._server.close()
        if self._book is not None:
            self._book.socket.close()
        await self._caches.close()
        await self._client.close()


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a part of the cluster ended: %r", task.exception())
