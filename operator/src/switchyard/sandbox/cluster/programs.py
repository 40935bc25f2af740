"""The programs that simulated nodes run for real, behind one port: start, slow down, stop.

Another program is one more start function in PROGRAMS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from switchyard.sandbox.cluster.environment import ConfigError
from switchyard.sandbox.cluster.quantities import parse_quantity
from switchyard.sandbox.modelserver import ModelServer, ServerOptions, parse_options

if TYPE_CHECKING:
    from switchyard.dataplane.control.service import RunningRouter

MODEL_SERVER = "model-server"
ROUTER = "router"


@dataclass(frozen=True, slots=True)
class Launch:
    """What a program is started with, all references in it resolved.

    `on_exit(exit code, reason)` hears when it ends by itself.
    """

    pod_name: str
    address: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    container: Mapping[str, Any]
    log: Callable[[str], None]
    on_exit: Callable[[int, str], None]


class Program(Protocol):
    """A program that runs."""

    def set_latency_factor(self, factor: float) -> None:
        """Make it this much slower than on a healthy node, as far as it simulates its own speed."""

    async def stop(self, *, grace_seconds: float) -> None:
        """Take no more work, finish what is there within the grace period, then end."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command that the nodes know how to run."""

    program: str
    args: tuple[str, ...]


def find_program(container: Mapping[str, Any]) -> Invocation | None:
    """The `switchyard` command that a container runs, None when it runs anything else.

    Understood: `switchyard model-server …`, `python -m switchyard router …`, and bare arguments where the
    image is one of ours and its entrypoint therefore `switchyard`.
    """
    command = [str(word) for word in container.get("command") or []]
    args = [str(word) for word in container.get("args") or []]
    if not command:
        image = str(container.get("image", "")).rpartition("/")[2].partition(":")[0].partition("@")[0]
        words = ["switchyard", *args] if image.startswith("switchyard") else args
    else:
        words = [*command, *args]
    for index, word in enumerate(words[:-1]):
        if word.rpartition("/")[2] == "switchyard" and words[index + 1] in PROGRAMS:
            return Invocation(words[index + 1], tuple(words[index + 2 :]))
    return None


async def start_program(name: str, launch: Launch) -> Program:
    """The program of this name, running.

    ConfigError when its options are refused, OSError when its address can't be bound.
    """
    try:
        return await PROGRAMS[name](launch)
    except ValueError as error:
        raise ConfigError(str(error)) from error


class _ModelServerProgram:
    """A simulated model server as a program."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def set_latency_factor(self, factor: float) -> None:
        self._server.engine.node_factor = factor

    async def stop(self, *, grace_seconds: float) -> None:
        await self._server.stop(grace_seconds=grace_seconds)


def read_server_options(launch: Launch) -> ServerOptions:
    """The model server's options for its container. ValueError says what is wrong."""
    ports = [int(port["containerPort"]) for port in launch.container.get("ports") or []]
    known = dict(launch.env)
    if ports:
        known.setdefault("PORT", str(ports[0]))
    options = parse_options(launch.args, known)
    limits = (launch.container.get("resources") or {}).get("limits") or {}
    memory = int(parse_quantity(str(limits["memory"]))) if "memory" in limits else 0
    return replace(options, host=launch.address, memory_limit_bytes=memory)


async def _start_model_server(launch: Launch) -> Program:
    server = ModelServer(
        read_server_options(launch), name=launch.pod_name, on_exit=launch.on_exit, log=launch.log
    )
    await server.start()
    return _ModelServerProgram(server)


class _RouterProgram:
    """The dual-run router as a program. It is real, so a slow node does not slow it."""

    def __init__(self, router: RunningRouter) -> None:
        self._router = router

    def set_latency_factor(self, factor: float) -> None:
        pass

    async def stop(self, *, grace_seconds: float) -> None:
        await self._router.stop(grace_seconds)


async def _start_router(launch: Launch) -> Program:
    from switchyard.dataplane.router import start_router  # noqa: PLC0415  (few sandboxes run a router)

    return _RouterProgram(await start_router(launch.args, launch.env, launch.address, launch.log))


PROGRAMS: Mapping[str, Callable[[Launch], Awaitable[Program]]] = {
    MODEL_SERVER: _start_model_server,
    ROUTER: _start_router,
}
