"""One pod on a simulated node, from binding to its end."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from switchyard.sandbox.client import PODS, STRATEGIC_PATCH, ApiClient, ApiError, Json, jittered_seconds
from switchyard.sandbox.cluster.addresses import AddressBook
from switchyard.sandbox.cluster.conditions import is_pod_over, is_true, stamp
from switchyard.sandbox.cluster.containers import ContainerRun, ProbeResult, probe
from switchyard.sandbox.cluster.environment import ConfigError, expand, read_environment
from switchyard.sandbox.cluster.events import Recorder
from switchyard.sandbox.cluster.informer import Informer, key_of
from switchyard.sandbox.cluster.podstatus import build_status
from switchyard.sandbox.cluster.programs import Invocation, Launch, find_program
from switchyard.sandbox.cluster.volumes import MountError, PodVolumes

log = logging.getLogger(__name__)

_COMPONENT = "kubelet"
_TRANSIENT = (ApiError, aiohttp.ClientError, ConnectionError, TimeoutError)


@dataclass(frozen=True, slots=True)
class PodHost:
    """What every pod of these nodes shares."""

    client: ApiClient
    pods: Informer
    book: AddressBook
    session: aiohttp.ClientSession  # for probes
    recorder: Recorder
    starting: asyncio.Semaphore
    files: Path  # below it, each pod has a folder for its volumes


class PodRun:
    """Starts the containers, probes them, reports, and ends them again."""

    def __init__(self, host: PodHost, pod: Json, *, latency_factor: float = 1.0) -> None:
        self._host = host
        self._pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self._latency_factor = latency_factor
        self._address = ""
        self._started_at = (pod.get("status") or {}).get("startTime") or stamp()
        self._written: Json | None = None
        self._volumes = PodVolumes(pod, host.files / self.uid)
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_ending = False
        before = {c["name"]: c for c in (pod.get("status") or {}).get("containerStatuses") or []}
        self.containers = [
            ContainerRun(
                spec["name"],
                spec,
                # A pod that ran before (on a node that came back) starts its containers once more.
                restarts=before[spec["name"]]["restartCount"] + 1 if spec["name"] in before else 0,
            )
            for spec in pod["spec"]["containers"]
        ]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that ends with the pod."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("pod %s: %r", key_of(self._pod), task.exception())

    def set_latency_factor(self, factor: float) -> None:
        """Make every server of the pod this much slower."""
        self._latency_factor = factor
        for run in self.containers:
            if run.program is not None:
                run.program.set_latency_factor(factor)

    # -- start -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all containers and report."""
        async with self._host.starting:
            self._address = self._host.book.take()
            for run in self.containers:
                await self._start_container(run)
            await self._report()
        self._host.recorder.record(_COMPONENT, self._pod, "Started", "Containers started")
        for run in self.containers:
            if run.program is not None:
                self.spawn(self._keep_probing(run))

    async def _start_container(self, run: ContainerRun) -> None:
        invocation = find_program(run.spec)
        if invocation is None:
            run.claim_running()
            return
        try:
            await self._volumes.set_up(self._host.client)
            launch = await self._prepare(run, invocation)
            await run.launch(invocation.program, launch)
        except (MountError, *_TRANSIENT) as error:
            run.note_waiting("ContainerCreating", "")
            self._warn("FailedMount", str(error))
            self.spawn(self._restart_later(run))
            return
        except ConfigError as error:
            run.note_waiting("CreateContainerConfigError", str(error))
            self._warn("Failed", f"Error: {error}")
            self.spawn(self._restart_later(run))
            return
        except OSError as error:
            run.log(f"can't listen: {error}")
            run.note_exit(1, "Error")
            self.spawn(self._restart_later(run))
            return
        if run.program is not None:
            run.program.set_latency_factor(self._latency_factor)
        if run.is_started and not run.is_ready and not run.spec["readinessProbe"].get("initialDelaySeconds"):
            run.is_ready = (await self._probe(run, "readinessProbe")).is_success

    async def _prepare(self, run: ContainerRun, invocation: Invocation) -> Launch:
        env = await read_environment(self._host.client, self._pod, run.spec, self._fields())
        return Launch(
            pod_name=self._pod["metadata"]["name"],
            address=self._address,
            args=tuple(self._volumes.rewrite(run.spec, expand(word, env)) for word in invocation.args),
            env={name: self._volumes.rewrite(run.spec, text) for name, text in env.items()},
            container=run.spec,
            log=run.log,
            on_exit=lambda code, reason: self._exited(run, code, reason),
        )

    def _warn(self, reason: str, message: str) -> None:
        self._host.recorder.record(_COMPONENT, self._pod, reason, message, kind="Warning")

    def refresh_files(self, config_map: Json) -> None:
        """Show the new content of a ConfigMap in the files of the pod's programs."""
        try:
            self._volumes.refresh(config_map)
        except MountError as error:
            self._warn("FailedMount", str(error))

    def _fields(self) -> dict[str, str]:
        shown = self._host.book.advertise(self._address)
        host = self._host.book.advertise(self._host.book.agent_address)
        return {"status.podIP": shown, "status.podIPs": shown, "status.hostIP": host, "status.hostIPs": host}

    def _exited(self, run: ContainerRun, code: int, reason: str) -> None:
        if not self.is_ending and run.is_running:
            run.note_exit(code, reason)
            self.spawn(self._restart_later(run))

    async def _restart_later(self, run: ContainerRun) -> None:
        await run.stop()
        has_ended = "terminated" in run.state  # otherwise it never was a process, and this is no restart
        if has_ended:
            await self._report()
            if self._pod["spec"].get("restartPolicy", "Always") != "Always":
                return
            delay = run.restart_delay_seconds()
            run.note_waiting(
                "CrashLoopBackOff",
                f"back-off {delay:.0f}s restarting failed container={run.name} "
                f"pod={self._pod['metadata']['name']}_{self._pod['metadata']['namespace']}",
            )
        await self._report()
        await asyncio.sleep(run.restart_delay_seconds())
        run.attempts += 1
        run.restarts += has_ended
        await self._start_container(run)
        await self._report()
        if run.program is not None:
            await self._keep_probing(run)

    # -- probes ----------------------------------------------------------------------------------

    async def _probe(self, run: ContainerRun, kind: str) -> ProbeResult:
        return await probe(self._host.session, run.spec, kind, self._address)

    async def _keep_probing(self, run: ContainerRun) -> None:
        program = run.program
        if "startupProbe" in run.spec and not await self._await_startup(run):
            return
        tasks = [
            self._keep_probing_one(run, kind)
            for kind in ("readinessProbe", "livenessProbe")
            if kind in run.spec and run.program is program
        ]
        await asyncio.gather(*tasks)

    async def _await_startup(self, run: ContainerRun) -> bool:
        spec = run.spec["startupProbe"]
        await asyncio.sleep(spec.get("initialDelaySeconds", 0))
        for _ in range(spec.get("failureThreshold", 3)):
            result = await self._probe(run, "startupProbe")
            if result.is_success:
                run.is_started = True
                run.is_ready = "readinessProbe" not in run.spec
                await self._report()
                return True
            self._warn("Unhealthy", result.message)
            await asyncio.sleep(_period_seconds(spec))
        self._kill_container(run, "startup")
        return False

    async def _keep_probing_one(self, run: ContainerRun, kind: str) -> None:
        spec = run.spec[kind]
        program = run.program
        await asyncio.sleep(spec.get("initialDelaySeconds", 0))
        streak = 0  # positive: successes in a row, negative: failures
        while run.program is program and program is not None:
            if streak:
                # Spread, so that a thousand pods started together are not probed together.
                await asyncio.sleep(_period_seconds(spec) * random.uniform(0.9, 1.1))  # noqa: S311  (no secret)
                if run.program is not program:
                    return
            result = await self._probe(run, kind)
            streak = max(1, streak + 1) if result.is_success else min(-1, streak - 1)
            if not result.is_success:
                self._warn("Unhealthy", result.message)
            if kind == "livenessProbe":
                if streak <= -spec.get("failureThreshold", 3):
                    self._kill_container(run, "liveness")
                    return
            elif streak >= spec.get("successThreshold", 1) and not run.is_ready:
                run.is_ready = True
                await self._report()
            elif streak <= -spec.get("failureThreshold", 3) and run.is_ready:
                run.is_ready = False
                await self._report()

    def _kill_container(self, run: ContainerRun, probe_name: str) -> None:
        text = f"Container {run.name} failed {probe_name} probe, will be restarted"
        self._host.recorder.record(_COMPONENT, self._pod, "Killing", text)
        self._exited(run, 137, "Error")

    # -- reports ---------------------------------------------------------------------------------

    async def _report(self) -> None:
        """Write the status, again and again until the API server has it or the pod is gone."""
        async with self._writing:
            attempt = 0
            while not self.is_ending:
                try:
                    await self._write()
                except ApiError as error:
                    if error.is_not_found or error.is_conflict:
                        return  # another pod of this name, or none: the watch will tell
                    log.info("pod %s: status: %s", key_of(self._pod), error)
                except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                    log.info("pod %s: status: %s", key_of(self._pod), error)
                else:
                    return
                await asyncio.sleep(jittered_seconds(attempt))
                attempt += 1

    async def _write(self) -> None:
        meta = self._pod["metadata"]
        current = self._host.pods.get(meta["namespace"], meta["name"]) or self._pod
        book = self._host.book
        status = build_status(
            current,
            self.containers,
            address=book.advertise(self._address) if self._address else "",
            host=book.advertise(book.agent_address),
            started_at=self._started_at,
        )
        if status == self._written:
            return
        changed = await self._host.client.patch(
            PODS,
            meta["namespace"],
            meta["name"],
            {"metadata": {"uid": self.uid}, "status": status},
            subresource="status",
            content_type=STRATEGIC_PATCH,
        )
        self._written = status
        self._host.pods.observe(changed)

    def is_contradicted_by(self, pod: Json) -> bool:
        """Whether the pod's Ready condition is no longer what was reported: somebody else wrote it."""
        if self._written is None or self.is_ending:
            return False
        return is_true({"status": self._written}, "Ready") != is_true(pod, "Ready")

    async def report_again(self) -> None:
        """Write the status even if it was written before: somebody else changed it meanwhile."""
        self._written = None
        await self._report()

    # -- the end ---------------------------------------------------------------------------------

    async def terminate(self, pod: Json) -> None:
        """End within the grace period, then tell the API server that the pod is gone."""
        self.is_ending = True
        self._cancel_tasks()
        self._host.recorder.record(_COMPONENT, pod, "Killing", "Stopping containers")
        grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        if grace and any(run.program is not None for run in self.containers):
            # Endpoints lose the pod while it still answers; without this, requests on their way would fail.
            await asyncio.sleep(min(0.3, grace))
        await asyncio.gather(*(run.stop(grace_seconds=grace) for run in self.containers))
        await confirm_deletion(self._host, pod)
        self.release()

    async def crash(self) -> None:
        """End at once and without a word, as when the power goes."""
        self.is_ending = True
        self._cancel_tasks()
        await asyncio.gather(*(run.stop() for run in self.containers))
        self.release()

    def release(self) -> None:
        """Give address and files back."""
        self._volumes.remove()
        if self._address:
            self._host.book.give_back(self._address)
            self._address = ""

    def _cancel_tasks(self) -> None:
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()


async def confirm_deletion(host: PodHost, pod: Json) -> None:
    """Tell the API server that nothing of the pod is left, until it has heard."""
    meta = pod["metadata"]
    attempt = 0
    while True:
        try:
            await host.client.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"], grace_seconds=0)
        except _TRANSIENT as error:
            if isinstance(error, ApiError) and error.status < 500 and error.status != 429:
                log.info("pod %s: deletion: %s", key_of(pod), error)
                return
        else:
            if not meta.get("finalizers"):
                host.pods.observe_deleted(pod)
            return
        await asyncio.sleep(jittered_seconds(attempt))
        attempt += 1


def is_runnable(pod: Json) -> bool:
    """Whether the pod should be running on its node."""
    return not pod["metadata"].get("deletionTimestamp") and not is_pod_over(pod)


def _period_seconds(spec: Json) -> float:
    return float(max(1, spec.get("periodSeconds", 10)))
