"""The options of `switchyard model-server`: read once from flags and environment, wherever it runs.

A flag wins over its environment variable, which wins over the accelerator's built-in profile. The
command line and the simulated nodes of the sandbox read the same definitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from switchyard.sandbox.modelserver.faults import Faults, change_faults
from switchyard.sandbox.modelserver.profile import ServiceProfile, choose_profile

PARAMETERS: tuple[click.Option, ...] = (
    click.Option(["--host"], help="Address to listen on.  [default: 0.0.0.0]"),
    click.Option(["--port"], type=int, help="Port to listen on.  [env PORT; default: 8080]"),
    click.Option(["--model"], help="Name under which the model answers.  [env SWITCHYARD_MODEL]"),
    click.Option(
        ["--accelerator"],
        help="Catalog name whose built-in latency is used.  [env SWITCHYARD_ACCELERATOR]",
    ),
    click.Option(["--slots"], type=int, help="Requests served in parallel.  [env SWITCHYARD_SLOTS]"),
    click.Option(
        ["--base-ms"], type=float, help="Mean service time of a lone request.  [env SWITCHYARD_BASE_MS]"
    ),
    click.Option(
        ["--slope-ms"],
        type=float,
        help="What each busy neighbour adds to the mean.  [env SWITCHYARD_SLOPE_MS]",
    ),
    click.Option(
        ["--cv2"],
        type=float,
        help="Squared coefficient of variation of the service time.  [env SWITCHYARD_CV2]",
    ),
    click.Option(
        ["--max-queue"],
        type=int,
        help="Waiting requests past which 429 is answered.  [env SWITCHYARD_MAX_QUEUE; default: 1000]",
    ),
    click.Option(["--seed"], type=int, help="Of latencies and outputs.  [env SWITCHYARD_SEED; default: 0]"),
    click.Option(["--slow-ratio"], type=float, help="Share of slow requests."),
    click.Option(["--slow-factor"], type=float, help="How much longer slow requests take.  [default: 10]"),
    click.Option(["--error-ratio"], type=float, help="Share of requests answered with 500."),
    click.Option(["--wrong-ratio"], type=float, help="Share of requests with a wrong output."),
    click.Option(
        ["--wrong-above-inputs"],
        type=int,
        help="Inputs of one request past which its outputs are wrong, as with a kernel built for small "
        "batches.",
    ),
    click.Option(
        ["--faulty-tier"], help="Only requests with this x-switchyard-tier are slow, wrong or fail."
    ),
    click.Option(["--leak-bytes-per-request"], type=int, help="Memory never given back, per request."),
    click.Option(["--cold-start-seconds"], type=float, help="Time until the server is ready."),
)

_FAULT_NAMES = (
    "slow_ratio",
    "slow_factor",
    "error_ratio",
    "wrong_ratio",
    "wrong_above_inputs",
    "leak_bytes_per_request",
    "cold_start_seconds",
)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """One server's settings. `memory_limit_bytes` 0 means unlimited."""

    profile: ServiceProfile
    host: str = "0.0.0.0"
    port: int = 8080
    model: str = "sim"
    accelerator: str = ""
    max_queue: int = 1000
    seed: int = 0
    memory_limit_bytes: int = 0
    faults: Faults = field(default_factory=Faults)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a number") from None


def merge_options(flags: Mapping[str, Any], env: Mapping[str, str]) -> ServerOptions:
    """The options that these flags (None where absent) and this environment give.

    ValueError names the flag or variable that can't be used.
    """

    def pick(name: str, default: float, variable: str = "") -> float:
        if flags.get(name) is not None:
            return float(flags[name])
        key = variable or f"SWITCHYARD_{name.upper()}"
        return _number(key, env[key]) if env.get(key) else default

    accelerator = str(flags.get("accelerator") or env.get("SWITCHYARD_ACCELERATOR", ""))
    built_in = choose_profile(accelerator)
    profile = ServiceProfile(
        slots=int(pick("slots", built_in.slots)),
        base_seconds=pick("base_ms", built_in.base_seconds * 1000) / 1000,
        slope_seconds=pick("slope_ms", built_in.slope_seconds * 1000) / 1000,
        cv2=pick("cv2", built_in.cv2),
    )
    none = Faults()
    numbers = {name: pick(name, getattr(none, name)) for name in _FAULT_NAMES}
    tier = str(flags.get("faulty_tier") or env.get("SWITCHYARD_FAULTY_TIER", ""))
    faults = change_faults(none, {**numbers, "tier": tier})
    return ServerOptions(
        profile=profile,
        host=str(flags.get("host") or "0.0.0.0"),
        port=int(pick("port", 8080, "PORT")),
        model=str(flags.get("model") or env.get("SWITCHYARD_MODEL") or "sim"),
        accelerator=accelerator,
        max_queue=int(pick("max_queue", 1000)),
        seed=int(pick("seed", 0)),
        faults=faults,
    )


def parse_options(args: Sequence[str], env: Mapping[str, str]) -> ServerOptions:
    """The options that a container's arguments and environment give. ValueError says what is wrong."""
    command = click.Command("model-server", params=list(PARAMETERS), add_help_option=False)
    try:
        context = command.make_context("model-server", list(args))
    except click.ClickException as error:
        raise ValueError(error.format_message()) from error
    return merge_options(context.params, env)
