"""One container on a simulated node: a real program where we know the command, otherwise a claim."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from switchyard.sandbox.cluster.conditions import stamp, stamp_micro
from switchyard.sandbox.cluster.programs import Launch, Program, start_program

Json = dict[str, Any]

_LOG_LINES = 2000
_FIRST_RESTART_SECONDS = 0.5
_MOST_RESTART_SECONDS = 30.0


@dataclass(slots=True)
class ContainerRun:
    """The life of one container: its state as the status shows it, its log, its program."""

    name: str
    spec: Json
    restarts: int = 0
    attempts: int = 0  # starts that did not last, those that never became a process included
    state: Json = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Json = field(default_factory=dict)
    is_ready: bool = False
    is_started: bool = False
    program: Program | None = None
    lines: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=_LOG_LINES))
    has_new_line: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_running(self) -> bool:
        """Whether the status says running."""
        return "running" in self.state

    def log(self, line: str) -> None:
        """Add a line to the log."""
        self.lines.append((stamp_micro(), line))
        self.has_new_line.set()

    def claim_running(self) -> None:
        """Run without a process: ready at once."""
        self.state = {"running": {"startedAt": stamp()}}
        self.is_started = self.is_ready = True

    async def launch(self, name: str, launch: Launch) -> None:
        """Start a program. ConfigError for options it refuses, OSError when its address can't be bound."""
        self.program = await start_program(name, launch)
        self.state = {"running": {"startedAt": stamp()}}
        # With probes it is they who say so.
        self.is_started = "startupProbe" not in self.spec
        self.is_ready = self.is_started and "readinessProbe" not in self.spec

    async def stop(self, *, grace_seconds: float = 0.0) -> None:
        """Stop the program, if there is one."""
        program, self.program = self.program, None
        if program is not None:
            await program.stop(grace_seconds=grace_seconds)

    def note_exit(self, code: int, reason: str) -> None:
        """Show that the process ended."""
        begun = (self.state.get("running") or {}).get("startedAt", stamp())
        ended = {"exitCode": code, "reason": reason, "startedAt": begun, "finishedAt": stamp()}
        self.state = {"terminated": ended}
        self.is_ready = self.is_started = False

    def note_waiting(self, reason: str, message: str) -> None:
        """Show that it can't run (yet)."""
        if "terminated" in self.state:
            self.last_state = self.state
        self.state = {"waiting": {"reason": reason, "message": message}}
        self.is_ready = self.is_started = False

    def restart_delay_seconds(self) -> float:
        """How long to wait before the next start: doubling with every attempt."""
        return min(_MOST_RESTART_SECONDS, _FIRST_RESTART_SECONDS * 2.0 ** min(self.attempts, 10))


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether a probe passed, and what to say when not."""

    is_success: bool
    message: str = ""


async def probe(
    session: aiohttp.ClientSession, container: Mapping[str, Any], kind: str, address: str
) -> ProbeResult:
    """The result of one probe of a container that runs for real, over real HTTP or TCP."""
    spec = container[kind]
    seconds = float(spec.get("timeoutSeconds", 1))
    label = kind.removesuffix("Probe").capitalize()
    if "httpGet" in spec:
        target = spec["httpGet"]
        port = resolve_port(container, target["port"])
        scheme = str(target.get("scheme", "HTTP")).lower()
        path = "/" + str(target.get("path", "/")).removeprefix("/")
        headers = {h["name"]: h["value"] for h in target.get("httpHeaders") or []}
        url = f"{scheme}://{target.get('host') or address}:{port}{path}"
        try:
            timeout = aiohttp.ClientTimeout(total=seconds)
            async with session.get(url, headers=headers, timeout=timeout, ssl=False) as answer:
                if 200 <= answer.status < 400:
                    return ProbeResult(is_success=True)
                return ProbeResult(
                    is_success=False,
                    message=f"{label} probe failed: HTTP probe failed with statuscode: {answer.status}",
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            return ProbeResult(
                is_success=False, message=f'{label} probe failed: Get "{url}": {error or "timeout"}'
            )
    target = spec.get("tcpSocket") or spec.get("grpc")
    if target is None:
        return ProbeResult(is_success=True)  # exec: there is no process to look into
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(address, resolve_port(container, target["port"]))
    except (OSError, TimeoutError) as error:
        return ProbeResult(is_success=False, message=f"{label} probe failed: {error}")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ProbeResult(is_success=True)


def resolve_port(container: Mapping[str, Any], port: int | str) -> int:
    """The number of a port given by number or by name."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for entry in container.get("ports") or []:
        if entry.get("name") == port:
            return int(entry["containerPort"])
    return 0
