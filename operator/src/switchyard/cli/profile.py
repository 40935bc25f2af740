"""`switchyard profile`: measure a running endpoint, and write the profile of one replica."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from switchyard.profiling.document import Outcome
    from switchyard.profiling.endpoint import Endpoint
    from switchyard.profiling.phases import Measurement, Plan

_REQUEST_SECONDS = 120.0
_INTERRUPTED = 130
_LATE_RATIO = 0.05  # of the median answer: a client later than this measures itself
_FEW_REQUESTS = 100


def _read_pairs(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    pairs = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key or len(value) > 256:
            raise click.BadParameter(f"{text!r} is no KEY=VALUE (a value has at most 256 characters)")
        pairs[key] = value
    return pairs


def _read_object(
    _context: click.Context, _parameter: click.Parameter, path: Path | None
) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        document = json.loads(path.read_text())
    except ValueError as problem:
        raise click.BadParameter(f"{path} holds no JSON: {problem}") from problem
    if not isinstance(document, dict):
        raise click.BadParameter(f"{path} must hold a JSON object, the body of one request")
    return document


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("profile")
@click.argument("url")
@click.option(
    "--kind",
    type=click.Choice(["auto", "tokens", "concurrency", "points"]),
    default="auto",
    show_default=True,
    help="Kind of profile. auto: tokens for language models, else concurrency.",
)
@click.option(
    "--duration", type=click.FloatRange(1, 7200), default=120, show_default=True, help="Seconds of load."
)
@click.option(
    "--max-rate", type=click.FloatRange(min=0.01), default=100, show_default=True, help="Requests/s at most."
)
@click.option(
    "--max-callers",
    type=click.IntRange(2, 1024),
    default=64,
    show_default=True,
    help="Requests in flight at most while callers are added.",
)
@click.option("--model", default="", help="Name of the model.  [default: the first that /v1/models lists]")
@click.option(
    "--input-tokens",
    type=click.IntRange(4, 1_000_000),
    default=256,
    show_default=True,
    help="Tokens of a prompt.",
)
@click.option(
    "--output-tokens",
    type=click.IntRange(2, 100_000),
    default=64,
    show_default=True,
    help="Tokens of an answer.",
)
@click.option(
    "--long-input-tokens",
    type=click.IntRange(min=4),
    help="Tokens of a prompt in the phase of long contexts.  [default: no such phase]",
)
@click.option(
    "--max-batch",
    type=click.IntRange(min=1),
    help="Sequences at once, as the engine is configured.  [default: as seen]",
)
@click.option(
    "--max-batched-tokens",
    type=click.IntRange(min=1),
    default=2048,
    show_default=True,
    help="Prompt tokens of an iteration, as the engine is configured.",
)
@click.option(
    "--cache-tokens", type=click.IntRange(min=1), help="Tokens that the cache holds.  [default: not stated]"
)
@click.option(
    "--body",
    type=_FILE,
    callback=_read_object,
    help="File with the JSON of one request, for endpoints of other kinds.",
)
@click.option(
    "--watch-recovery",
    type=click.FloatRange(1, 7200),
    default=None,
    metavar="SECONDS",
    help="At the end wait so long for you to stop the replica, and measure until it answers again.",
)
@click.option(
    "--environment",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_read_pairs,
    help="What it runs on: driver, runtime, imageDigest, modelHash, … Repeatable.",
)
@click.option("--token-file", type=_FILE, help="File with a bearer token for the endpoint.")
@click.option("--ca-file", type=_FILE, help="Certificates that the endpoint's own is checked against.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of prompts and arrivals.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="Form of the result.",
)
def command(url: str, output: str, **options: Any) -> None:
    """Measure the endpoint at URL under rising load and write a profile for `variants[].profile`.

    Point it at one replica, past any load balancer. It stops adding load when more than 10 percent of
    requests fail. Ctrl-C ends it early and keeps what was measured. Progress goes to stderr.
    """
    from switchyard.profiling.endpoint import EndpointError

    try:
        outcome, is_interrupted = asyncio.run(_measure(url, options))
    except EndpointError as problem:
        raise click.ClickException(str(problem)) from problem
    _print(outcome, output)
    if outcome.profile is None:
        raise click.ClickException("no profile: " + "; ".join(outcome.warnings))
    if is_interrupted:
        sys.exit(_INTERRUPTED)


async def _measure(url: str, options: dict[str, Any]) -> tuple[Outcome, bool]:
    """The outcome, and whether somebody interrupted it."""
    import aiohttp

    from switchyard.profiling.endpoint import discover, split_url
    from switchyard.profiling.exchange import HttpClient
    from switchyard.profiling.phases import Plan, Run

    split_url(url)
    plan = Plan(
        duration_seconds=options["duration"],
        max_rate=options["max_rate"],
        max_callers=options["max_callers"],
        input_tokens=options["input_tokens"],
        output_tokens=options["output_tokens"],
        long_input_tokens=options["long_input_tokens"] or 0,
        recovery_seconds=options["watch_recovery"] or 0.0,
        body=options["body"],
        seed=options["seed"],
    )
    headers = {}
    if options["token_file"]:
        headers["Authorization"] = f"Bearer {options['token_file'].read_text().strip()}"
    tls = ssl.create_default_context(cafile=options["ca_file"]) if options["ca_file"] else True
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS),
        connector=aiohttp.TCPConnector(limit=0, ssl=tls),
        headers=headers,
    ) as session:
        endpoint = await discover(session, url, options["model"])
        run = Run(
            HttpClient(session, endpoint.base),
            endpoint,
            plan,
            lambda line: print(line, file=sys.stderr, flush=True),
        )
        task = asyncio.ensure_future(run.measure())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        is_interrupted = False
        try:
            await task
        except asyncio.CancelledError:
            is_interrupted = True
            run.found.warnings.append("interrupted: later phases are missing")
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
    return _conclude(url, endpoint, plan, run.found, options), is_interrupted


def _conclude(
    url: str, endpoint: Endpoint, plan: Plan, found: Measurement, options: dict[str, Any]
) -> Outcome:
    from switchyard.core.errors import ProfileError
    from switchyard.profiling.document import Outcome
    from switchyard.profiling.figures import summarise

    warnings = [*found.warnings, *_list_doubts(found)]
    profile, error = None, None
    try:
        fitted = _fit(endpoint, plan, found, options)
        profile, error = fitted.profile, fitted.error_ratio
        warnings += fitted.warnings
    except ProfileError as problem:
        warnings.append(str(problem))
    if error is not None and error > 0.2:
        warnings.append(f"the model is off by {error:.0%}: --kind points promises only what was measured")
    return Outcome(
        url=url,
        profile=profile,
        error_ratio=error,
        figures=tuple(summarise(phase) for phase in found.phases if phase.answers),
        cold_seconds=found.cold.latency_seconds if found.cold else None,
        outage_seconds=found.outage_seconds,
        environment=endpoint.environment | options["environment"],
        measured_at=datetime.now(UTC).date(),
        warnings=tuple(warnings),
    )


def _fit(endpoint: Endpoint, plan: Plan, found: Measurement, options: dict[str, Any]) -> Any:
    from switchyard.core.placement.latency import TokensProfile, Traffic
    from switchyard.profiling.fitting import fit_concurrency, fit_points, fit_tokens, set_batch

    kind = options["kind"]
    if kind == "auto":
        kind = "tokens" if endpoint.is_language_model and plan.body is None else "concurrency"
    if kind == "points":
        return fit_points(found.phases)
    if kind == "concurrency":
        return fit_concurrency(found.phases)
    limits = TokensProfile(
        1.0, 0.0, 0.0, max_batched_tokens=options["max_batched_tokens"], cache_tokens=options["cache_tokens"],
        max_batch=options["max_batch"] or 1,
    )  # fmt: skip
    if not options["max_batch"]:
        limits, warning = set_batch(limits, found.phases)
        if warning:
            found.warnings.append(warning)
    return fit_tokens(found.phases, limits, Traffic(plan.input_tokens, 0.0, plan.output_tokens, 0.0))


def _list_doubts(found: Measurement) -> list[str]:
    """What makes the figures less than they seem."""
    doubts = []
    good = [answer for phase in found.phases for answer in phase.good]
    if len(good) < _FEW_REQUESTS:
        doubts.append(f"only {len(good)} requests were answered: raise --duration for steadier figures")
    if good:
        late = sorted(answer.late_seconds for answer in good)[int(len(good) * 0.99)]
        usual = sorted(answer.latency_seconds for answer in good)[len(good) // 2]
        if late > _LATE_RATIO * usual:
            doubts.append(
                f"this client sent up to {late * 1000:.0f} ms late: it lacks processor time itself, run "
                "it elsewhere"
            )
    if any(phase.error_ratio > 0 for phase in found.phases):
        failed = sum(len(phase.answers) - len(phase.good) for phase in found.phases)
        doubts.append(f"{failed} requests failed")
    return doubts


def _print(outcome: Outcome, output: str) -> None:
    from switchyard.profiling.document import describe_measurement, describe_profile, write_yaml

    if output == "json":
        document = {"profile": describe_profile(outcome), "measurement": describe_measurement(outcome)}
        print(json.dumps(document, indent=2))
    else:
        print(write_yaml(outcome), end="")
