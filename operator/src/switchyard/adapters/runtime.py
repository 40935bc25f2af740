"""The operator process put together: connect, serve probes, wait for the CRDs, watch, elect, loop.

Every part is one task. The first that ends, ends the process: with 0 after SIGTERM or SIGINT, with 1
otherwise, and whoever runs us (kubelet) starts a new one. Nothing limps on. Where the cluster serves other
kinds of routes than before, the process starts anew in its own place.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import kopf

from switchyard.adapters import kopf_handlers
from switchyard.adapters.audit import WatchAudit
from switchyard.adapters.cluster import IndexReader, KubernetesWriter
from switchyard.adapters.connection import Answer, Connection, connect
from switchyard.adapters.events import EventRecorder
from switchyard.adapters.health import Health, serve
from switchyard.adapters.kopf_settings import build_settings
from switchyard.adapters.lease import KubernetesLease
from switchyard.adapters.metric_sources import MetricSourceProbe
from switchyard.adapters.metrics import Metrics
from switchyard.adapters.observed import WatchMemory
from switchyard.adapters.resources import PLANS, POOLS, WATCHED, WORKLOADS
from switchyard.adapters.route_kinds import KindsChanged, RouteKinds
from switchyard.adapters.routing.ways import Ways
from switchyard.adapters.signals.collector import SignalCollector
from switchyard.adapters.signals.evidence import EvidenceReader
from switchyard.api import GROUP, VERSION
from switchyard.core.advise import advise
from switchyard.core.cutover.weighing import weigh
from switchyard.core.cutovers import build_cutovers, recall_plan
from switchyard.core.decide import decide
from switchyard.core.placement.optimise import Optimiser
from switchyard.core.world import Settings
from switchyard.engine.advisor import Advisor
from switchyard.engine.backoff import Backoff
from switchyard.engine.debounce import Debounce
from switchyard.engine.leader import LeaderElection, LeaseLost, LeaseTimes
from switchyard.engine.reconciler import LoopSettings, Reconciler
from switchyard.engine.settings import OperatorSettings
from switchyard.engine.sights import SightObserver
from switchyard.engine.traffic import TrafficDesk

logger = logging.getLogger(__name__)

LEASE_NAME = "switchyard-operator"
START_ANEW = 75  # EX_TEMPFAIL of sysexits.h: nothing failed, another start sees more
# kopf gets this long to close its watches after the stop
_STOP_TIMEOUT_SECONDS = 10.0


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_seconds(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Options:
    """How this process runs, as opposed to what it decides (OperatorSettings)."""

    settings: OperatorSettings
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None  # of the lease; default: the one we run in
    lease_name: str = LEASE_NAME
    lease_seconds: int = 15
    is_electing: bool = True
    host: str = "0.0.0.0"
    port: int = 8080


class Operator:
    """The wired parts. `run` returns the exit code."""

    def __init__(self, options: Options, connection: Connection) -> None:
        self.options = options
        self.connection = connection
        self.clock = SystemClock()
        self.identity = own_identity()
        self.debounce = Debounce()
        self.memory = WatchMemory(connection, self.debounce)
        self.route_kinds = RouteKinds(connection, min(10.0, options.settings.resync.seconds))
        self.metrics = Metrics()
        self.audit = WatchAudit(connection, self.memory)
        self.metrics.follow_watches(self.audit)
        self.election = LeaderElection(
            KubernetesLease(
                connection, options.namespace or connection.default_namespace, options.lease_name
            ),
            self.clock,
            self.identity,
            LeaseTimes.lasting(options.lease_seconds),
        )
        self.metrics.follow_leadership(self._may_act)
        settings = options.settings
        self.reader = IndexReader(
            self.memory, Settings(currency=settings.currency, price_max_age_days=settings.price_max_age_days)
        )
        # an optimiser remembers what it answered, and is for one thread: each has its own
        self.advisor = Advisor(
            partial(advise, solver=Optimiser(), recall=recall_plan),
            self.clock,
            self.metrics,
            wake=self.debounce.trigger,
            interval_seconds=settings.advice_interval.seconds,
        )
        self.ways = Ways(
            connection, options.namespace or connection.default_namespace, settings.router.build_form()
        )
        routers = self.ways.build()
        self.sights = SightObserver(
            routers,
            self.clock,
            wake=self.debounce.trigger,
            may_act=self._may_act,
            metrics=EvidenceReader(self.reader.snapshot, settings, self.clock),
        )
        self.traffic = TrafficDesk(
            routers, wake=self.debounce.trigger, may_act=self._may_act, noticed=self.sights.look_soon
        )
        self.loop = Reconciler(
            reader=self.reader,
            writer=KubernetesWriter(connection, self.memory, EventRecorder(connection, self.identity)),
            clock=self.clock,
            decide=partial(decide, solver=Optimiser(), cutovers=build_cutovers(weigh)),
            observer=self.metrics,
            debounce=self.debounce,
            settings=LoopSettings(settings.resync.seconds, settings.concurrency),
            may_act=self._may_act,
            advisor=self.advisor,
            traffic=self.traffic,
            sights=self.sights,
        )
        self.collector = SignalCollector(
            self.reader.snapshot,
            settings,
            self.reader.outside,
            self.clock,
            wake=self.debounce.trigger,
            may_act=self._may_act,
        )
        self.probe = MetricSourceProbe(settings.metric_sources, self.metrics.set_source_up)
        self.health = Health(
            self.metrics,
            self.audit,
            settings.resync.seconds,
            time.monotonic,
            is_leading=self._may_act,
            is_elected=lambda: not options.is_electing or self.election.elected.is_set(),
            is_cut_off=lambda: self.election.is_cut_off,
            lease_looked_at=(lambda: self.election.last_look_at) if options.is_electing else None,
        )
        self._stop = asyncio.Event()
        self._stop_kopf = asyncio.Event()

    async def run(self) -> int:
        """0 after a signal, START_ANEW when the kinds of routes changed, 1 when a part ended by itself."""
        self._listen_to_signals()
        try:
            server, address = await serve(self.health, self.options.host, self.options.port)
        except OSError as error:
            address = f"{self.options.host}:{self.options.port}"
            logger.error("can't listen; give another --listen", extra={"address": address, "problem": error})  # noqa: TRY400 - the message says it all
            await self.connection.close()
            return 1
        logger.info("serving probes and metrics", extra={"address": address, "identity": self.identity})
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "watches": self._watch(),
            "route kinds": self.route_kinds.wait_for_change(),
            "loop": self._loop_while_leading(),
            "audit": self.audit.run(),
            "metric sources": self.probe.run(),
            "signals": self.collector.run(),
            "sights": self.sights.run(),
            "signal": self._wait_for_stop(),
        }
        if self.options.is_electing:
            parts["election"] = self.election.run()
        tasks = {asyncio.create_task(part, name=name) for name, part in parts.items()}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return _exit_code(done)
        finally:
            await self._shut_down(tasks)
            await server.cleanup()
            await self.connection.close()

    def _may_act(self) -> bool:
        return not self.options.is_electing or self.election.is_leading

    async def _loop_while_leading(self) -> None:
        if self.options.is_electing:
            await self.election.elected.wait()
        await self.loop.run()

    async def _watch(self) -> None:
        await self._wait_for_definitions()
        self.memory.watched = (*WATCHED, *await self.route_kinds.find())
        others = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=kopf_handlers.build_registry(self.memory.watched),
            settings=build_settings(),
            memo=self.memory,
            clusterwide=True,
            stop_flag=self._stop_kopf,
        )
        self._listen_to_signals()  # kopf has just taken them for itself: it would stop before the loop does
        try:
            await kopf.run_tasks(tasks, ignored=others)
        except Exception as error:
            change = await self.route_kinds.find_change()
            if change is None:
                raise
            raise change from error

    async def _wait_for_definitions(self) -> None:
        """Until the API serves our kinds: kopf, told not to scan, would never notice them later."""
        wanted = {POOLS.plural, WORKLOADS.plural, PLANS.plural}
        missing: set[str] | None = None
        for delay in Backoff(base_seconds=0.5, ceiling_seconds=10.0):
            answer = await self.connection.request("GET", f"/apis/{GROUP}/{VERSION}")
            served = answer.body.get("resources") or () if isinstance(answer, Answer) else ()
            still_missing = wanted - {resource["name"] for resource in served}
            if not still_missing:
                self.reader.missing = ("the first list of every kind",)
                return
            names = tuple(sorted(f"CustomResourceDefinition {name}.{GROUP}" for name in still_missing))
            if still_missing != missing:
                why = answer.message if not isinstance(answer, Answer) or not answer.is_success else ""
                logger.warning("waiting for our kinds", extra={"missing": ", ".join(names), "problem": why})
            missing, self.reader.missing = still_missing, names
            await asyncio.sleep(delay)

    async def _wait_for_stop(self) -> None:
        await self._stop.wait()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop.set)

    async def _shut_down(self, tasks: set[asyncio.Task[None]]) -> None:
        """No more writes, then the lease to another, then the watches."""
        by_name = {task.get_name(): task for task in tasks}
        watches = by_name.pop("watches")
        for task in by_name.values():
            task.cancel()
        await asyncio.gather(*by_name.values(), return_exceptions=True)
        await self.traffic.close()
        await self.ways.close()
        if self.options.is_electing:
            await self.election.release()
        self._stop_kopf.set()
        await asyncio.wait({watches}, timeout=_STOP_TIMEOUT_SECONDS)
        watches.cancel()
        await asyncio.gather(watches, return_exceptions=True)


async def run_operator(options: Options) -> int:
    """Connect and run until a signal or a fault; the exit code."""
    operator = Operator(options, await connect(options.kubeconfig, options.context))
    return await operator.run()


def own_identity() -> str:
    """Who we are in the lease. In a pod: the same after a restart of the container, which can't overlap."""
    pod, uid = os.environ.get("POD_NAME"), os.environ.get("POD_UID")
    return f"{pod}_{uid}" if pod and uid else f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"


def _exit_code(done: set[asyncio.Task[None]]) -> int:
    if any(task.get_name() == "signal" for task in done):
        logger.info("stopping")
        return 0
    for task in done:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, KindsChanged):
            logger.info("starting anew for other kinds of routes", extra={"change": str(error)})
            return START_ANEW
        if isinstance(error, LeaseLost):
            logger.error("leadership lost; ending so that only one acts", extra={"problem": str(error)})
        else:
            logger.error("a part of the operator ended", extra={"part": task.get_name()}, exc_info=error)
    return 1
