"""`kubectl switchyard cutover`: make cutover plans, look at them, and say yes, wait or no.

Every change goes through the plan's object with the rights of whoever asks, so that RBAC and audit apply.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from switchyard.cli.cutover_create import command as create
from switchyard.cli.cutover_place import CutoverGroup, Place, in_place, read_all, write_file

if TYPE_CHECKING:
    from switchyard.cli.cutover_change import Change
    from switchyard.cli.cutover_cluster import Cluster
    from switchyard.cli.cutover_plan import Plan

_PIPE_WIDTH = 4096
_MOST_TRIES = 5  # the operator writes status every few seconds


@click.group("cutover", cls=CutoverGroup, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Move a live workload to another variant and pool, with evidence, and back by itself.

    Ends with 0 on success and 1 on a usage or API error. `status` and `watch` end with 0 when the plan
    completed, 2 when it was rolled back or aborted, 3 after --timeout, 4 while it is under way.
    """


command.add_command(create)


@command.command("list")
@click.option("-A", "--all-namespaces", "is_everywhere", is_flag=True, help="Plans of all namespaces.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@in_place
def list_plans(place: Place, *, is_everywhere: bool, output: str) -> None:
    """List plans with their phase, weight and verdict."""
    from switchyard.adapters.resources import PLANS
    from switchyard.cli.columns import find_width
    from switchyard.cli.cutover_report import describe_status, format_list

    with place.reach() as (cluster, namespace):
        plans = read_all(cluster.list_all(PLANS, "" if is_everywhere else namespace))
    plans.sort(key=lambda each: (each.namespace, each.name))
    if output == "json":
        print(json.dumps([describe_status(each) for each in plans], indent=2, ensure_ascii=False))
    elif plans:
        print(format_list(plans, has_namespaces=is_everywhere, width=find_width()))
    else:
        where = "any namespace" if is_everywhere else f"namespace {namespace}"
        click.echo(f"no cutover plans in {where}; `kubectl switchyard cutover create` writes one", err=True)


@command.command("status")
@click.argument("name")
@click.option("--wait", "is_awaited", is_flag=True, help="Wait until the plan has ended.")
@click.option("--timeout", metavar="DURATION", help="With --wait: end with 3 after this time, such as 90m.")
@click.option("-o", "--output", type=click.Choice(["tree", "json"]), default="tree", show_default=True)
@in_place
def status(place: Place, *, name: str, is_awaited: bool, timeout: str | None, output: str) -> None:
    """Show how far a plan is.

    Ends with 0 when it completed, 1 on a usage or API error, 2 when it was rolled back or aborted, 3 after
    --timeout, 4 while it is under way, paused or waits for approval.
    """
    from switchyard.cli.cutover_report import describe_status
    from switchyard.cli.cutover_watch import follow

    if timeout is not None and not is_awaited:
        raise click.UsageError("--timeout goes with --wait")
    timing = _read_timing(timeout)
    with place.reach() as (cluster, namespace):
        plan = _look(cluster, namespace, name)
        code = plan.exit_code
        if is_awaited:
            seen = _Seen(plan)
            code = follow(lambda: _look(cluster, namespace, name), seen.show, timing)
            plan = seen.plan
    if output == "json":
        print(json.dumps(describe_status(plan) | {"exitCode": int(code)}, indent=2, ensure_ascii=False))
    else:
        _print_tree(plan)
    raise SystemExit(int(code))


@command.command("watch", short_help="Show a plan live until it ends.")
@click.argument("name")
@click.option("--timeout", metavar="DURATION", help="End with 3 after this time, such as 90m.")
@click.option("--plain", "is_plain", is_flag=True, help="Lines also on a terminal.")
@in_place
def watch(place: Place, *, name: str, timeout: str | None, is_plain: bool) -> None:
    """Show a plan live until it ends; lines where the output is no terminal. Ends as `status` does."""
    from switchyard.cli.cutover_screen import Screen, find_screen
    from switchyard.cli.cutover_watch import Lines, follow

    timing = _read_timing(timeout)
    with place.reach() as (cluster, namespace):
        _look(cluster, namespace, name)  # what is not there is told before the screen changes

        def look() -> Plan:
            return _look(cluster, namespace, name)

        screen = None if is_plain else find_screen()
        if screen is None:
            code = follow(look, Lines(lambda line: print(line, flush=True)).show, timing)
        else:
            with Screen(screen) as live:
                code = follow(look, live.show, timing)
    raise SystemExit(int(code))


@command.command("approve", short_help="Release what waits for a person.")
@click.argument("name")
@click.argument("stages", metavar="[STAGE]…", nargs=-1)
@in_place
def approve(place: Place, *, name: str, stages: tuple[str, ...]) -> None:
    """Release what waits for a person, or the named stages: shadow, canary, segment:NAME, promote."""
    from switchyard.cli.cutover_change import approve as find_change

    _change(place, name, lambda plan: find_change(plan, stages))


@command.command("pause")
@click.argument("name")
@in_place
def pause(place: Place, *, name: str) -> None:
    """Hold a plan where it is; a failed gate still rolls back."""
    from switchyard.cli.cutover_change import pause as find_change

    _change(place, name, find_change)


@command.command("resume")
@click.argument("name")
@in_place
def resume(place: Place, *, name: str) -> None:
    """Let a paused plan go on."""
    from switchyard.cli.cutover_change import resume as find_change

    _change(place, name, find_change)


@command.command("abort")
@click.argument("name")
@in_place
def abort(place: Place, *, name: str) -> None:
    """Return all traffic to the baseline and end the plan."""
    from switchyard.cli.cutover_change import abort as find_change

    _change(place, name, find_change)


@command.command("retry", short_help="Start a plan anew that was rolled back or aborted.")
@click.argument("name")
@in_place
def retry(place: Place, *, name: str) -> None:
    """Start a plan anew that was rolled back or aborted; approvals are asked for again."""
    from switchyard.cli.cutover_change import retry as find_change

    _change(place, name, lambda plan: find_change(plan, datetime.now(UTC)))


@command.command("report", short_help="Collect plan, workload and events, without secrets.")
@click.argument("name")
@click.option(
    "-f",
    "--filename",
    metavar="FILE",
    help="Write to this file, readable by you alone: a tar for .tar, .tar.gz and .tgz, else JSON.",
)
@in_place
def report(place: Place, *, name: str, filename: str | None) -> None:
    """Collect plan, workload and events for somebody else to judge, without secrets.

    Left out: environment, arguments and commands of containers, values of header fields, foreign
    annotations. Read it before you pass it on.
    """
    from switchyard.cli.cutover_bundle import build_bundle, encode_bundle, pack_bundle
    from switchyard.cli.cutover_cluster import find_plan, list_events
    from switchyard.cli.cutover_plan import CutoverError

    notes: list[str] = []
    with place.reach() as (cluster, namespace):
        from switchyard.adapters.resources import WORKLOADS

        plan = find_plan(cluster, namespace, name)
        workload, events = None, []
        asked = plan["spec"]["workloadRef"]["name"]
        try:
            workload = cluster.read(WORKLOADS, namespace, asked)
        except CutoverError as error:
            notes.append(str(error))
        for each in filter(None, (plan, workload)):
            try:
                events += list_events(cluster, namespace, each["metadata"]["uid"])
            except CutoverError as error:
                notes.append(str(error))
    if workload is None and not notes:
        notes.append(f"workload {asked} is not there")
    bundle = build_bundle(plan, workload, events, notes=notes, now=datetime.now(UTC))
    if not filename:
        print(encode_bundle(bundle), end="")
        return
    if filename.endswith((".tar", ".tar.gz", ".tgz")):
        content = pack_bundle(bundle, f"cutover-{name}", is_compressed=not filename.endswith(".tar"))
    else:
        content = encode_bundle(bundle).encode()
    write_file(filename, content, is_private=True)
    click.echo(f"{filename} written ({len(content)} bytes)", err=True)


@dataclass
class _Seen:
    """The last look at a plan."""

    plan: Plan
    problem: str = ""

    def show(self, plan: Plan, problem: str) -> None:
        if problem and problem != self.problem:
            click.echo(f"note: {problem}", err=True)
        self.plan, self.problem = plan, problem


def _look(cluster: Cluster, namespace: str, name: str) -> Plan:
    from switchyard.cli.cutover_cluster import find_plan
    from switchyard.cli.cutover_plan import read_plan

    return read_plan(find_plan(cluster, namespace, name))


def _change(place: Place, name: str, find_change: Callable[[Plan], Change]) -> None:
    """Make the change on the newest version of the plan, and say what was done."""
    from switchyard.adapters.resources import PLANS
    from switchyard.cli.cutover_change import build_patch
    from switchyard.cli.cutover_cluster import Outdated, find_plan
    from switchyard.cli.cutover_plan import CutoverError, read_plan

    with place.reach() as (cluster, namespace):
        body = find_plan(cluster, namespace, name)
        for _ in range(_MOST_TRIES):
            change = find_change(read_plan(body))
            if not change.fields:
                print(change.told)
                return
            try:
                cluster.patch(PLANS, namespace, name, build_patch(body, change))
            except Outdated as error:
                newer = find_plan(cluster, namespace, name)
                if newer["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]:
                    raise CutoverError(str(error)) from None
                body = newer
            else:
                print(change.told)
                return
    raise CutoverError(f"CutoverPlan {name} was changed by others {_MOST_TRIES} times in between: try again")


def _read_timing(timeout: str | None) -> Any:
    from switchyard.api.values import Duration
    from switchyard.cli.cutover_watch import Timing

    try:
        return Timing(timeout_seconds=None if timeout is None else Duration(timeout).seconds)
    except ValueError as error:
        raise click.UsageError(f"--timeout {timeout!r}: {error}") from None


def _print_tree(plan: Plan) -> None:
    """Print the tree; a pipe gets each sentence on one line."""
    from rich.console import Console

    from switchyard.cli.columns import find_width
    from switchyard.cli.cutover_tree import build_tree

    console = Console(highlight=False, width=find_width() or _PIPE_WIDTH)
    console.print(build_tree(plan, is_ascii=console.options.ascii_only))
