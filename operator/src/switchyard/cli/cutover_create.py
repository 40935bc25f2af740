"""`kubectl switchyard cutover create`: a plan from a few words, for Git or for the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from switchyard.cli.cutover_place import Place, in_place, read_all, write_file

if TYPE_CHECKING:
    from switchyard.cli.cutover_cluster import Cluster

_DEFAULT_STEPS = "5,25,50,100"
_DEFAULT_SHADOW_PERCENT = 20


@click.command("create", short_help="Write a plan, or create it.")
@click.argument("workload")
@click.option("--to", "target", required=True, metavar="VARIANT[@POOL]", help="Where it is to run.")
@click.option("--name", help="Name of the plan. Default: WORKLOAD-to-VARIANT.")
@click.option(
    "--shadow",
    "shadow_percent",
    type=click.IntRange(0, 100),
    default=_DEFAULT_SHADOW_PERCENT,
    show_default=True,
    help="Share of requests that is copied first, in percent; 0 for no copies.",
)
@click.option(
    "--steps", default=_DEFAULT_STEPS, show_default=True, help="Shares on the candidate, step by step."
)
@click.option(
    "--segment",
    "segments",
    multiple=True,
    metavar="NAME[=MATCH,…]",
    help="A part of the traffic, least risk first: batch=tier:batch, labs=header:x-team:labs,stay, "
    "api=path:/v1,approval; the last may be a name alone and takes the rest.",
)
@click.option(
    "--router", type=click.Choice(["auto", "builtin", "gatewayAPI", "istio"]), help="What moves the traffic."
)
@click.option(
    "--approval",
    "approvals",
    multiple=True,
    metavar="STAGE",
    help="A stage that waits for a person: shadow, canary, segment:NAME, promote.",
)
@click.option("--scope", type=click.Choice(["segment", "plan"]), help="What goes back when a gate fails.")
@click.option("-f", "--filename", metavar="FILE", help="Write the plan to this file, not to the terminal.")
@click.option("--apply", "is_applied", is_flag=True, help="Create the plan in the cluster.")
@in_place
def command(
    place: Place, *, target: str, steps: str, filename: str | None, is_applied: bool, **words: Any
) -> None:
    """Write a plan that moves WORKLOAD, for Git; with --apply, create it.

    Looks first whether workload, variant and pool are there. What is not stated is left to the kind's
    defaults; `kubectl explain cutover.spec` tells them.
    """
    import yaml

    from switchyard.adapters.resources import PLANS
    from switchyard.cli.cutover_cluster import find_workload, list_pools
    from switchyard.cli.cutover_manifest import Wish, build_manifest, read_target, read_weights
    from switchyard.cli.cutover_plan import CutoverError

    variant, pool = read_target(target)
    wish = Wish(variant=variant, pool=pool, weights=read_weights(steps), **words)
    with place.reach() as (cluster, namespace):
        workload = find_workload(cluster, namespace, wish.workload)
        manifest = build_manifest(wish, workload, list_pools(cluster) if pool else None, namespace)
        name = manifest["metadata"]["name"]
        others = _list_under_way(cluster, namespace, wish.workload, name)
        if is_applied:
            if cluster.read(PLANS, namespace, name) is not None:
                raise CutoverError(
                    f"metadata.name: CutoverPlan {name!r} is there already: give another --name, or delete it"
                )
            cluster.create(PLANS, namespace, manifest)
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=110)
    if filename:
        write_file(filename, text.encode())
        click.echo(f"{filename} written", err=True)
    elif not is_applied:
        print(text, end="")
    if is_applied:
        print(f"cutoverplan.switchyard.dev/{name} created; `kubectl switchyard cutover watch {name}`")
    for other in others:
        click.echo(f"note: {other} moves {wish.workload} now; {name} waits until it has ended", err=True)


def _list_under_way(cluster: Cluster, namespace: str, workload: str, name: str) -> list[str]:
    """Names of other plans that move the workload now."""
    from switchyard.adapters.resources import PLANS
    from switchyard.cli.cutover_plan import CutoverError

    try:
        plans = read_all(cluster.list_all(PLANS, namespace))
    except CutoverError as error:
        click.echo(f"note: whether another plan moves {workload} is not known: {error}", err=True)
        return []
    return sorted(
        each.name
        for each in plans
        if each.spec.workload_ref.name == workload and each.name != name and not each.is_ended
    )
