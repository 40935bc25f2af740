"""`switchyard rehearse`: a cutover plan carried out here, on simulated hardware, with chosen faults."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from switchyard.cli.exit_codes import ERROR, INTERRUPTED, UsageEndsWithOne

if TYPE_CHECKING:
    from switchyard.cli.rehearse_faults import Fault
    from switchyard.cli.rehearse_input import Cast
    from switchyard.cli.rehearse_run import Script

_FASTEST = 100_000.0


@click.command("rehearse", cls=UsageEndsWithOne, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-f",
    "--filename",
    "sources",
    multiple=True,
    required=True,
    metavar="FILE|DIR|-",
    help="The plan, its workload and the pools, as YAML or JSON; `-` reads standard input.",
)
@click.option("--plan", "plan_name", metavar="NAME", help="Which plan, where the files have several.")
@click.option(
    "--from-cluster",
    "is_from_cluster",
    is_flag=True,
    help="Read from the cluster what the files lack: the workload, and all pools.",
)
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="With --from-cluster: kubeconfig file.")
@click.option("--context", help="With --from-cluster: context of the kubeconfig.")
@click.option(
    "--serves",
    metavar="VARIANT[@POOL]",
    help="What the workload moves from. Default: by its status, else where the planner puts it.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[=AMOUNT][@SIDE]",
    help="What goes wrong: errors=0.05, slow=2, wrong=0.1, crash or none; @candidate (the default) or "
    "@baseline.",
)
@click.option(
    "--speed",
    type=click.FloatRange(1.0, _FASTEST),
    help="How many times as fast. Default: so that the plan's shortest times last a minute.",
)
@click.option("--timeout", default="10m", show_default=True, help="End with 3 after this time here.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    *,
    sources: tuple[str, ...],
    plan_name: str | None,
    is_from_cluster: bool,
    kubeconfig: str | None,
    context: str | None,
    serves: str | None,
    faults: tuple[str, ...],
    speed: float | None,
    timeout: str,
    output: str,
) -> None:
    """Carry a cutover plan out here, within minutes, and say what would happen.

    An embedded cluster, simulated servers in place of the images, the real operator and router, and callers
    at the workload's demand. Ends with 0 when the plan would succeed, 2 when it would be rolled back, 3 when
    it is not decided in time, 1 on bad input.
    """
    from rich.console import Console

    from switchyard.cli.columns import find_width
    from switchyard.cli.manifests import BadInputError
    from switchyard.cli.rehearse_duration import estimate_stages, find_bad_ratios
    from switchyard.cli.rehearse_faults import parse_faults
    from switchyard.cli.rehearse_input import read_cast
    from switchyard.cli.rehearse_report import describe_rehearsal, tell_begin, tell_end
    from switchyard.cli.rehearse_run import rehearse
    from switchyard.cli.stage import StageError

    read_cluster = _reader(kubeconfig, context) if is_from_cluster else None
    try:
        timeout_seconds = _read_timeout(timeout)
        chosen = parse_faults(faults)
        script = _write_script(read_cast(sources, plan_name, serves, read_cluster), chosen, speed)
    except BadInputError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise SystemExit(ERROR) from None
    bad_ratios = find_bad_ratios(script.facts, script.cast.workload_spec)
    stages = estimate_stages(script.facts, script.rate.planned, bad_ratios)
    console = Console(highlight=False, quiet=output == "json", soft_wrap=True)
    for line in tell_begin(script):
        console.print(line, markup=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left running
    try:
        done = rehearse(script, console, timeout_seconds=timeout_seconds)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except (StageError, RuntimeError) as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(ERROR) from None
    if output == "json":
        print(json.dumps(describe_rehearsal(done, stages), indent=2, ensure_ascii=False))
    else:
        for line in tell_end(done, stages, find_width()):
            print(line)
    raise SystemExit(int(done.moved.exit_code))


def _write_script(cast: Cast, faults: tuple[Fault, ...], speed: float | None) -> Script:
    """All that is decided before it begins. Raises BadInputError."""
    from switchyard.cli.manifests import BadInputError
    from switchyard.cli.rehearse_objects import find_rate
    from switchyard.cli.rehearse_run import Script
    from switchyard.cli.rehearse_scaling import choose_speed, scale_plan
    from switchyard.core.cutover.facts import find_gaps, read_plan

    rate = find_rate(cast.workload_spec.demand)
    if rate is None:
        told = "spec.demand: states no rate: give requestsPerSecond or requestsPerDay beside the signal"
        raise BadInputError([f"InferenceWorkload {cast.workload_name}: {told}"])
    facts = read_plan(
        cast.plan, cast.workload_spec, namespace=cast.namespace, name=cast.name, uid="", generation=1
    )
    if gaps := find_gaps(facts):
        raise BadInputError([f"CutoverPlan {cast.name}: {gap}" for gap in gaps])
    chosen = speed or choose_speed(facts)
    scaled = scale_plan(cast.name, cast.namespace, cast.plan, facts, chosen)
    if cast.is_twin:
        note = f"variant {cast.serving.variant} is called {facts.variant} where it moves to"
        scaled = replace(scaled, notes=(*scaled.notes, note))
    return Script(cast, facts, rate, chosen, faults, scaled)


def _reader(kubeconfig: str | None, context: str | None) -> Any:
    """Reads a workload and all pools of the cluster. Raises BadInputError."""

    def read(namespace: str, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        from switchyard.adapters.resources import POOLS
        from switchyard.cli.cutover_cluster import find_workload, reach_cluster
        from switchyard.cli.cutover_plan import CutoverError
        from switchyard.cli.manifests import BadInputError

        try:
            with reach_cluster(kubeconfig, context) as cluster:
                workload = find_workload(cluster, namespace, name)
                return dict(workload), [dict(each) for each in cluster.list_all(POOLS, "")]
        except CutoverError as error:
            raise BadInputError([f"--from-cluster: {problem}" for problem in error.problems]) from None

    return read


def _read_timeout(text: str) -> float:
    from switchyard.api.values import Duration
    from switchyard.cli.manifests import BadInputError

    try:
        return Duration(text).seconds
    except ValueError as error:
        raise BadInputError([f"--timeout {text!r}: {error}"]) from None
