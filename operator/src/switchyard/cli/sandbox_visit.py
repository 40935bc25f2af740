"""What is asked of a sandbox that is up: to fail in some way, and to show nodes and gateways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

STATE = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".switchyard") / "sandbox",
    show_default=True,
    help="Where the sandbox keeps kubeconfig, tokens and logs.",
)


def _fault(state_dir: Path, name: str, action: str, **fields: Any) -> None:
    from switchyard.sandbox.handle import FaultError, node_fault
    from switchyard.sandbox.statedir import NotUpError, StateDir

    try:
        node_fault(StateDir(state_dir), name, action, fields)
    except (FaultError, NotUpError) as error:
        raise click.ClickException(str(error)) from error


@click.command("kill-node")
@click.argument("name")
@STATE
def kill_node(name: str, state_dir: Path) -> None:
    """Switch a node off: its servers stop at once, its heartbeats too."""
    _fault(state_dir, name, "kill")
    print(f"{name} is off; Kubernetes will notice when its heartbeats stay away.")


@click.command("restore-node")
@click.argument("name")
@STATE
def restore_node(name: str, state_dir: Path) -> None:
    """Switch a node on again, with all devices healthy and at full speed."""
    _fault(state_dir, name, "restore")
    print(f"{name} is on.")


@click.command()
@click.argument("name")
@click.option(
    "--devices", type=int, default=1, show_default=True, help="How many are unhealthy; 0 heals all."
)
@click.option("--resource", help="Which resource.  [default: the node's devices]")
@STATE
def unhealthy(name: str, devices: int, resource: str | None, state_dir: Path) -> None:
    """Make devices of a node unhealthy: they leave its allocatable."""
    _fault(state_dir, name, "unhealthy", devices=devices, **({"resource": resource} if resource else {}))
    print(f"{name}: {devices} unhealthy.")


@click.command()
@click.argument("name")
@click.option(
    "--notice-seconds", type=float, default=10.0, show_default=True, help="From the notice to the end."
)
@STATE
def reclaim(name: str, notice_seconds: float, state_dir: Path) -> None:
    """Take a spot node away, with a notice first."""
    _fault(state_dir, name, "reclaim", noticeSeconds=notice_seconds)
    print(f"{name} goes in {notice_seconds:g} s.")


@click.command()
@click.argument("name")
@click.option(
    "--factor", type=float, default=2.0, show_default=True, help="How many times slower; 1 is normal."
)
@STATE
def slow(name: str, factor: float, state_dir: Path) -> None:
    """Make everything that serves on a node slower."""
    _fault(state_dir, name, "slow", factor=factor)
    print(f"{name} takes {factor:g} times as long.")


@click.command("list-nodes")
@STATE
def list_nodes(state_dir: Path) -> None:
    """Show the simulated nodes, their devices and their faults."""
    from switchyard.sandbox import handle
    from switchyard.sandbox.statedir import NotUpError, StateDir

    try:
        found = handle.list_nodes(StateDir(state_dir))
    except (handle.FaultError, NotUpError) as error:
        raise click.ClickException(str(error)) from error
    for node in found:
        state = "gone" if node["gone"] else "on" if node["alive"] else "off"
        devices = ", ".join(
            f"{count} {name}" + (f" ({bad} unhealthy)" if (bad := node["unhealthy"].get(name)) else "")
            for name, count in node["devices"].items()
        )
        pace = "" if node["latencyFactor"] == 1 else f"  {node['latencyFactor']:g}x slower"
        print(f"{node['name']:<20} {state:<5} {devices}{pace}")


@click.command("list-gateways")
@STATE
def list_gateways(state_dir: Path) -> None:
    """Show where Gateways are served, and what their routes have counted."""
    from switchyard.sandbox import handle
    from switchyard.sandbox.statedir import NotUpError, StateDir

    try:
        found = handle.list_gateways(StateDir(state_dir))
    except (handle.FaultError, NotUpError) as error:
        raise click.ClickException(str(error)) from error
    for gateway in found["gateways"]:
        name = f"{gateway['namespace']}/{gateway['name']}" if gateway["name"] else ""
        print(f"{gateway['kind']} {name}".strip(), *gateway["urls"], sep="  ")
    for rule, counts in found["counts"]["rules"].items():
        print(f"{rule}: {counts['requests']} requests")
        for title in ("backends", "statuses", "mirrors"):
            for name, value in counts[title].items():
                print(f"  {title} {name}: {json.dumps(value)}")


@click.command()
@click.argument("kind", required=False)
@click.argument("fields", nargs=-1)
@click.option("--clear", is_flag=True, help="Remove all faults.")
@STATE
def faults(*, kind: str | None, fields: tuple[str, ...], clear: bool, state_dir: Path) -> None:
    """List, set or clear failures of the API server.

    KIND is fail, latency, cut-watches, drop-events, stale-lists, compact-history or downtime; FIELDS are
    like code=503 count=3 verb=patch resource=deployments seconds=2.
    """
    from switchyard.sandbox import handle
    from switchyard.sandbox.statedir import NotUpError, StateDir

    body: dict[str, Any] = {"kind": kind}
    for entry in fields:
        name, separator, text = entry.partition("=")
        if not separator:
            raise click.UsageError(f"{entry!r} is not of the form name=value")
        try:
            body[name] = json.loads(text)
        except ValueError:
            body[name] = text
    state = StateDir(state_dir)
    try:
        if clear:
            handle.server_fault(state, "DELETE", None)
        answer = handle.server_fault(state, "POST", body) if kind else handle.server_fault(state, "GET", None)
    except (handle.FaultError, NotUpError) as error:
        raise click.ClickException(str(error)) from error
    print(json.dumps(answer, indent=2))


VISITS = (kill_node, restore_node, unhealthy, reclaim, slow, list_nodes, list_gateways, faults)
