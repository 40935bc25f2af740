"""The options of `switchyard router`: read once from flags and environment, wherever it runs.

A flag wins over its environment variable, which wins over the default. The command line, worker processes
and the simulated nodes of the sandbox read the same definitions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from switchyard.api.values import Duration

ENVIRONMENT_PREFIX = "SWITCHYARD_ROUTER_"
Mode = Literal["router", "replay"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class RouterOptions:
    """One router's settings.

    `config`: file with the routing document, None to wait for one over the admin port. `workers`: 0 for one
    per CPU. `admin_token_sha256`: lower-case hex, empty when absent. `worker_channel`: file descriptor of
    the channel to the supervisor, in worker processes alone.
    """

    mode: Mode = "router"
    config: Path | None = None
    host: str = "0.0.0.0"
    port: int = 8080
    admin_host: str = "0.0.0.0"
    admin_port: int = 8081
    admin_token_sha256: str = ""
    admin_token_file: Path | None = None
    workers: int = 1
    drain_delay_seconds: float = 5.0
    grace_seconds: float = 30.0
    log_level: LogLevel = "info"
    backlog: int = 2048
    worker_channel: int | None = None


def _choose(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"give {' or '.join(known)}")
        return text

    return read


def _count(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text) or not low <= int(text) <= high:
            raise ValueError(f"give a whole number from {low} to {high}")
        return int(text)

    return read


def _read_span(text: str) -> float:
    seconds = Duration(text).seconds
    if seconds > 3600:
        raise ValueError("give at most 1h")
    return seconds


def _read_hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("give the SHA-256 of the token as 64 hex digits, not the token itself")
    return text.lower()


@dataclass(frozen=True, slots=True)
class _Setting:
    """One option. `read` raises ValueError with the way out. A secret's value is in no message."""

    field: str
    flag: str
    read: Callable[[str], Any]
    help: str
    is_secret: bool = False
    is_hidden: bool = False

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.flag.removeprefix("--").replace("-", "_").upper()

    @property
    def parameter(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")

    def parse(self, source: str, text: str) -> Any:
        try:
            return self.read(text)
        except ValueError as problem:
            shown = "" if self.is_secret else f" {text!r}"
            raise ValueError(f"{source}{shown}: {problem}") from None


_PORT = _count(0, 65_535)

_SETTINGS = (
    _Setting(
        "mode",
        "--mode",
        _choose("router", "replay"),
        "router: stands in the users' path. replay: takes mirrored copies.  [default: router]",
    ),
    _Setting("config", "--config", Path, "File with the routing document (JSON), looked at each second."),
    _Setting("host", "--host", str, "Address to listen on for traffic.  [default: 0.0.0.0]"),
    _Setting("port", "--port", _PORT, "Port for traffic; 0 takes a free one.  [default: 8080]"),
    _Setting(
        "admin_host", "--admin-host", str, "Address of probes, metrics and configuration.  [default: 0.0.0.0]"
    ),
    _Setting(
        "admin_port",
        "--admin-port",
        _PORT,
        "Port of probes, metrics and configuration; 0 takes a free one.  [default: 8081]",
    ),
    _Setting(
        "admin_token_sha256",
        "--admin-token-sha256",
        _read_hash,
        "SHA-256, in hex, of the token that configuration and samples are asked for with.",
        is_secret=True,
    ),
    _Setting(
        "admin_token_file",
        "--admin-token-file",
        Path,
        "File with that token, read anew for each request; instead of --admin-token-sha256.",
    ),
    _Setting("workers", "--workers", _count(0, 64), "Worker processes; 0 starts one per CPU.  [default: 1]"),
    _Setting(
        "drain_delay_seconds",
        "--drain-delay",
        _read_span,
        "How long new connections are still taken after SIGTERM, until all have heard of it.  [default: 5s]",
    ),
    _Setting(
        "grace_seconds",
        "--grace",
        _read_span,
        "How long ending may take, the drain delay included; what is left is cut off.  [default: 30s]",
    ),
    _Setting(
        "log_level",
        "--log-level",
        _choose("debug", "info", "warning", "error"),
        "The least that is logged: debug, info, warning or error.  [default: info]",
    ),
    _Setting(
        "backlog",
        "--backlog",
        _count(1, 65_535),
        "Connections that may wait to be taken; the kernel's somaxconn caps it.  [default: 2048]",
    ),
    _Setting("worker_channel", "--worker-channel", _count(3, 65_535), "", is_hidden=True),
)

PARAMETERS: tuple[click.Option, ...] = tuple(
    click.Option(
        [each.flag],
        help=f"{each.help}  [env {each.variable}]",
        metavar=each.parameter.upper(),
        hidden=each.is_hidden,
    )
    for each in _SETTINGS
)


def merge_router_options(flags: Mapping[str, str | None], environment: Mapping[str, str]) -> RouterOptions:
    """The options that these flags (None where absent) and this environment give.

    Raises ValueError with the flag or variable, its value and what to give instead.
    """
    given: dict[str, Any] = {}
    for each in _SETTINGS:
        text = flags.get(each.parameter)
        if text is not None:
            given[each.field] = each.parse(each.flag, text)
            continue
        text = environment.get(each.variable, "")
        if text and not each.is_hidden and not _is_service_link(each, text):
            given[each.field] = each.parse(each.variable, text)
    options = RouterOptions(**given)
    if options.admin_token_sha256 and options.admin_token_file is not None:
        raise ValueError(
            f"--admin-token-file '{options.admin_token_file}': --admin-token-sha256 is given too; give one"
        )
    return options


def parse_router_options(args: Sequence[str], environment: Mapping[str, str]) -> RouterOptions:
    """The options that a container's arguments and environment give. ValueError says what is wrong."""
    command = click.Command("router", params=list(PARAMETERS), add_help_option=False)
    try:
        context = command.make_context("router", list(args))
    except click.ClickException as error:
        raise ValueError(error.format_message()) from error
    return merge_router_options(context.params, environment)


def _is_service_link(setting: _Setting, text: str) -> bool:
    # kubelet sets SWITCHYARD_ROUTER_PORT=tcp://10.0.0.7:80 where a Service is named switchyard-router
    return setting.read is _PORT and re.match(r"(tcp|udp|sctp)://", text) is not None
