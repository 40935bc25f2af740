"""A workload's router pods: which there are, what each confirms, and a document brought to all of them.

A pod that does not answer is never assumed to follow anything. Only ready pods get users' requests, so only
they must confirm; pods that start are told as well, since the file that they mount may lag behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from switchyard.adapters.routing.admin_client import AdminClient, Refused, Report
from switchyard.adapters.routing.router_key import Token
from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.samples import Samples

_AT_A_TIME = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RouterPod:
    """One pod that is not ending. `waits`: why it does not run, in Kubernetes' words, or empty."""

    name: str
    addresses: tuple[str, ...]
    is_ready: bool
    waits: str = ""


@dataclass(frozen=True, slots=True)
class Silent:
    """A pod that gave no usable answer."""

    message: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A pod that refused a document."""

    message: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a document: by pod, why it is not in force there.

    `unconfirmed`: ready pods, without which nothing is in force. `final`: why no router will ever take the
    document; empty where none says so.
    """

    unconfirmed: Mapping[str, Silent | Rejection] = field(default_factory=dict)
    final: str = ""


@dataclass(frozen=True, slots=True)
class RouterPods:
    """The pods of one workload, and the way to their admin ports."""

    admin: AdminClient
    pods: tuple[RouterPod, ...]
    port: int
    token: Token

    @property
    def ready(self) -> tuple[RouterPod, ...]:
        """Those that users' requests may be sent to."""
        return tuple(pod for pod in self.pods if pod.is_ready)

    @property
    def addresses(self) -> frozenset[str]:
        """Of all of them."""
        return frozenset(address for pod in self.pods for address in pod.addresses)

    async def read_reports(self) -> dict[str, Report | Silent]:
        """What each reachable pod says, by name; of pods that start, only what they already say."""

        async def read(pod: RouterPod) -> Report | Silent:
            try:
                return await self.admin.read_config(pod.addresses[0], self.port, self.token)
            except NoAnswer as error:
                return Silent(str(error))

        answers = await self._ask_each(read)
        return {pod.name: answer for pod, answer in answers if pod.is_ready or isinstance(answer, Report)}

    async def deliver(self, document: RoutingDocument, reports: Mapping[str, Report | Silent]) -> Delivery:
        """Bring the document into force in every pod that has not reported that it is."""

        async def put(pod: RouterPod) -> Silent | Rejection | None:
            report = reports.get(pod.name)
            in_force = report.in_force if isinstance(report, Report) else None
            if in_force == document:
                return None
            try:
                await self.admin.put_config(pod.addresses[0], self.port, self.token, document)
            except NoAnswer as error:
                return Silent(str(error))
            except Refused as error:
                return Rejection(str(error), error.is_final)
            return None

        answers = await self._ask_each(put)
        final = [
            f"router pod {pod.name}: {problem.message}"
            for pod, problem in answers
            if isinstance(problem, Rejection) and problem.is_final
        ]
        unconfirmed = {pod.name: problem for pod, problem in answers if problem and pod.is_ready}
        return Delivery(unconfirmed, next(iter(final), ""))

    async def read_samples(self) -> dict[str, Samples | Silent]:
        """The samples of each ready pod, by name."""

        async def read(pod: RouterPod) -> Samples | Silent:
            try:
                return await self.admin.read_samples(pod.addresses[0], self.port, self.token)
            except NoAnswer as error:
                return Silent(str(error))

        return {pod.name: answer for pod, answer in await self._ask_each(read, self.ready)}

    async def _ask_each(
        self, ask: Callable[[RouterPod], Awaitable[T]], pods: Sequence[RouterPod] | None = None
    ) -> list[tuple[RouterPod, T]]:
        asked = [pod for pod in (self.pods if pods is None else pods) if pod.addresses]
        gate = asyncio.Semaphore(_AT_A_TIME)

        async def one(pod: RouterPod) -> T:
            async with gate:
                return await ask(pod)

        return list(zip(asked, await asyncio.gather(*(one(pod) for pod in asked)), strict=True))


def project_router_pods(bodies: Sequence[Mapping[str, Any]]) -> tuple[RouterPod, ...]:
    """The pods that are not ending or ended, by name."""
    kept = [
        body
        for body in bodies
        if "deletionTimestamp" not in body["metadata"]
        and (body.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}
    ]
    return tuple(sorted((_project(body) for body in kept), key=lambda pod: pod.name))


def _project(body: Mapping[str, Any]) -> RouterPod:
    status = body.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    first = str(status.get("podIP") or "")
    more = [str(each.get("ip") or "") for each in status.get("podIPs") or ()]
    is_ready = (conditions.get("Ready") or {}).get("status") == "True"
    addresses = tuple(dict.fromkeys(filter(None, (first, *more))))
    waits = "" if is_ready else _find_wait(status, conditions)
    return RouterPod(body["metadata"]["name"], addresses, is_ready and bool(addresses), waits)


def _find_wait(status: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> str:
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        return str(scheduled.get("message") or scheduled.get("reason") or "")
    for each in status.get("containerStatuses") or ():
        waiting = (each.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return ": ".join(filter(None, (str(waiting["reason"]), str(waiting.get("message") or ""))))
    return ""
