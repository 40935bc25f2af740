"""`kubectl switchyard explain`: why a workload runs where it does, and what would change that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from switchyard.cli.planning import Planned
    from switchyard.core.placement.problem import JobKey

_EXIT_UNPLACED = 1
_EXIT_BAD_INPUT = 2
_KINDS = ("iw", "inferenceworkload", "inferenceworkloads", "inferenceworkload.switchyard.dev")


@click.command("explain")
@click.argument("workload", metavar="iw/NAME")
@click.option("-n", "--namespace", help="Namespace of the workload. Default: that of the context.")
@click.option(
    "-f",
    "--filename",
    "sources",
    multiple=True,
    metavar="FILE|DIR|-",
    help="Look at objects in files instead of a cluster.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    help="What if, with -f: iw/chat.objectives[0].target=200ms, as for `switchyard plan`.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False),
    help="Kubeconfig file. Default: $KUBECONFIG, ~/.kube/config.",
)
@click.option("--context", help="Context of the kubeconfig. Default: its current one.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Form of the explanation.",
)
@click.option(
    "--plot",
    metavar="FILE.png|FILE.svg|-",
    help="Draw cost against demand, one line per option; `-` draws in the terminal.",
)
def command(  # noqa: PLR0917 - click passes options by name
    workload: str,
    namespace: str | None,
    sources: tuple[str, ...],
    settings: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    output: str,
    plot: str | None,
) -> None:
    """Explain a workload's placement: every option, its cost, and where the choice turns.

    Ends with 0 when the workload is placed, 1 when it is not, 2 when it can't be explained.
    """
    from switchyard.cli.columns import find_width
    from switchyard.cli.cost_plot import PlotError, format_plot, save_plot
    from switchyard.cli.explain_report import describe_explanation, format_explanation
    from switchyard.cli.explanation import explain
    from switchyard.cli.manifests import BadInputError
    from switchyard.cli.plan import print_document

    if settings and not sources:
        raise click.UsageError("--set goes with -f: what runs in a cluster is not changed by asking")
    try:
        if sources:
            from switchyard.cli.what_if import plan_files

            planned = plan_files(sources, settings, ())[1]
        else:
            from switchyard.cli.cluster_world import plan_cluster

            planned, default_namespace = plan_cluster(kubeconfig, context)
            namespace = namespace or default_namespace
        explanation = explain(planned, _find(planned, workload, namespace))
        document = describe_explanation(explanation)
        if plot is not None and plot != "-":
            save_plot(explanation, Path(plot))
        drawing = format_plot(explanation) if plot == "-" else ""
    except (BadInputError, PlotError) as error:
        click.echo(str(error), err=True)
        raise SystemExit(_EXIT_BAD_INPUT) from None
    if output in {"json", "yaml"}:
        print_document(document, output)
    else:
        for note in planned.notes:
            click.echo(f"note: {note}", err=True)
        print(format_explanation(explanation, document, width=find_width()))
    if drawing:
        print(f"\n{drawing}")
    if not document["isPlaced"]:
        raise SystemExit(_EXIT_UNPLACED)


def _find(planned: Planned, asked: str, namespace: str | None) -> JobKey:
    """The key of the workload that is meant. Raises BadInputError."""
    from switchyard.cli.manifest_checks import suggest
    from switchyard.cli.manifests import BadInputError

    *prefix, name = asked.split("/")
    if prefix and prefix[0].lower() in _KINDS:
        prefix = prefix[1:]
    if len(prefix) > 1 or not name:
        raise BadInputError([f"{asked!r}: give iw/NAME, or iw/NAMESPACE/NAME"])
    namespace = prefix[0] if prefix else namespace
    keys = [each.key for each in planned.world.workloads]
    found = [key for key in keys if key[1] == name and namespace in {None, key[0]}]
    if len(found) > 1:
        names = ", ".join(key[0] for key in found)
        raise BadInputError([f"{name} is in several namespaces ({names}): give -n NAMESPACE"])
    if not found:
        where = f" in namespace {namespace}" if namespace else ""
        elsewhere = [key[0] for key in keys if key[1] == name]
        hint = suggest(name, [key[1] for key in keys if namespace in {None, key[0]}])
        if elsewhere:
            hint = f"; there is one in {', '.join(elsewhere)}: give -n {elsewhere[0]}"
        unread = next(
            (
                each.problem
                for each in planned.world.unreadable
                if each.meta.name == name and namespace in {None, each.meta.namespace}
            ),
            "",
        )
        told = f"can't be read: {unread}" if unread else f"is not there{where}{hint}"
        raise BadInputError([f"InferenceWorkload {name} {told}"])
    if found[0] not in planned.readings.workloads:
        problem = planned.readings.broken.get(("InferenceWorkload", *found[0]), "it is being deleted")
        raise BadInputError([f"InferenceWorkload {name} can't be explained: {problem}"])
    return found[0]
