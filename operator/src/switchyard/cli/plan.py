"""`switchyard plan`: what the operator would decide on objects in files, without a cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from switchyard.cli.planning import Planned

_EXIT_UNPLACED = 1
_EXIT_BAD_INPUT = 2


@click.command("plan")
@click.option(
    "-f",
    "--filename",
    "sources",
    multiple=True,
    required=True,
    metavar="FILE|DIR|-",
    help="Pools, workloads, nodes and what else matters, as YAML or JSON; `-` reads standard input.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Form of the plan.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    help="What if: pool/l4.cost.devicePerHour=0.50, pool/l4.devices=4, iw/team/chat.tier=batch. "
    "Shows the plan before and after.",
)
@click.option(
    "--namespace-labels",
    multiple=True,
    metavar="[NAMESPACE:]KEY=VALUE,…",
    help="Labels of a namespace that is not in the files, or of all.",
)
def command(
    sources: tuple[str, ...], output: str, settings: tuple[str, ...], namespace_labels: tuple[str, ...]
) -> None:
    """Show where workloads would be placed, at what cost, and why not elsewhere.

    Takes AcceleratorPools, InferenceWorkloads, Nodes, PodTemplates, ResourceQuotas and Namespaces, also as
    `kubectl get -o yaml` prints them. Ends with 0 when all are placed whole, 1 when one is not, 2 on bad
    input.
    """
    from switchyard.cli.columns import find_width
    from switchyard.cli.manifests import BadInputError
    from switchyard.cli.plan_report import describe_change, describe_plan, format_change, format_plan
    from switchyard.cli.what_if import plan_files

    try:
        before, after = plan_files(sources, settings, namespace_labels)
    except BadInputError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise SystemExit(_EXIT_BAD_INPUT) from None
    document = describe_plan(after)
    if before is not None:
        document = {**document, "before": describe_plan(before), "change": describe_change(before, after)}
    if output in {"json", "yaml"}:
        print_document(document, output)
    else:
        width, is_wide = find_width(), output == "wide"
        for note in after.notes:
            click.echo(f"note: {note}", err=True)
        if before is None:
            print(format_plan(document, is_wide=is_wide, width=width))
        else:
            print(f"Before\n\n{format_plan(document['before'], is_wide=is_wide, width=width)}")
            print(f"\nAfter\n\n{format_plan(document, is_wide=is_wide, width=width)}")
            print(f"\nChanges\n\n{format_change(document['change'], width=width)}")
    if _report_unplaced(after, document):
        raise SystemExit(_EXIT_UNPLACED)


def print_document(document: Any, output: str) -> None:
    """Print a document as JSON or YAML."""
    if output == "json":
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        import yaml

        print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110), end="")


def _report_unplaced(planned: Planned, document: Any) -> bool:
    """Say on standard error what can't be placed whole, why, and the way out; True when there is any."""
    unplaced = [each for each in document["workloads"] if not each["isPlaced"] or each["unservedRatio"]]
    if not unplaced:
        return False
    from switchyard.cli.explanation import describe_way_out

    for each in unplaced:
        key = (each["namespace"], each["name"])
        how = "is placed in part only" if each["isPlaced"] else "cannot be placed"
        click.echo(f"{key[0]}/{key[1]} {how}: {each['reason']}: {each['message']}", err=True)
        for line in describe_way_out(planned, key):
            click.echo(f"  {line}", err=True)
    return True
