"""`switchyard sandbox`: an embedded cluster to try, test and rehearse on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

_STATE = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".switchyard") / "sandbox",
    show_default=True,
    help="Where the sandbox keeps kubeconfig, tokens and logs.",
)
_FLEET = click.option(
    "--fleet",
    default="default",
    show_default=True,
    help="`default`, `none`, or a YAML file with pools of nodes.",
)

_STOP_TIMEOUT_SECONDS = 8.0  # less than `up` waits before it kills


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Start, stop and disturb an embedded cluster. For trying and testing, never for production."""


@command.command()
@_FLEET
@click.option(
    "--persist", type=click.Path(path_type=Path, dir_okay=False), help="File that keeps all objects."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the API server on 127.0.0.1.  [default: any free one]",
)
@click.option(
    "--routing",
    default="none",
    show_default=True,
    help="Route kinds to install: `gateway-api`, `istio`, both with a comma between, or `none`.",
)
@_STATE
def up(*, fleet: str, persist: Path | None, port: int, routing: str, state_dir: Path) -> None:
    """Start the cluster and stay; Ctrl-C or `switchyard sandbox down` ends it."""
    from switchyard.sandbox.cluster.fleet import load_fleet
    from switchyard.sandbox.gateway.kinds import parse_families
    from switchyard.sandbox.statedir import AlreadyUpError, StateDir

    try:
        count, families = len(load_fleet(fleet)), parse_families(routing)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    state = StateDir(state_dir)
    try:
        state.lock()
    except AlreadyUpError as error:
        raise click.ClickException(
            f"{error}; `switchyard sandbox down --state-dir {state_dir}` ends it"
        ) from error
    except OSError as error:
        raise click.ClickException(f"can't keep state in {state_dir}: {error.strerror}") from error
    try:
        code = asyncio.run(_serve(state, fleet, count, persist=persist, port=port, families=families))
    finally:
        state.unlock()
    sys.exit(code)


async def _serve(
    state: Any,
    fleet: str,
    count: int,
    *,
    persist: Path | None,
    port: int,
    families: tuple[str, ...],
) -> int:
    from switchyard.sandbox.apiserver.app import ApiServer, ServerOptions
    from switchyard.sandbox.apiserver.journal import JournalError

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    server = ApiServer(ServerOptions(port=port, state_dir=state.path, persist=persist))
    try:
        await server.start()
    except JournalError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise click.ClickException(
            f"can't listen on 127.0.0.1:{port}: {why}; choose another --port, or none for any free one"
        ) from error
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    state.write_server(server.url, server.admin_token, server.ca_pem)
    await _install_routing(server, families)
    state.nodes_path.unlink(missing_ok=True)
    cluster = _start_cluster(state, fleet)
    try:
        while not state.nodes_path.exists() and not stop.is_set():
            if cluster.poll() is not None:
                text = state.log_path.read_text()[-2000:]
                raise click.ClickException(f"controllers and nodes did not start:\n{text}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.05)
        if not stop.is_set():
            _greet(state, server.url, count, persist)
        while not stop.is_set():
            if cluster.poll() is not None:
                print(
                    f"Controllers and nodes ended with {cluster.returncode}; see {state.log_path}",
                    file=sys.stderr,
                )
                return 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.5)
        print("Stopping …", flush=True)
        return 0
    finally:
        if cluster.stdin is not None:
            cluster.stdin.close()  # its sign to end
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(cluster.wait, 10)
        if cluster.poll() is None:
            cluster.kill()
        await server.stop()


async def _install_routing(server: Any, families: tuple[str, ...]) -> None:
    from switchyard.sandbox.client import ApiClient, Connection
    from switchyard.sandbox.gateway.kinds import install

    client = ApiClient(Connection(server.url, server.admin_token, server.ca_pem), agent="sandbox-up")
    try:
        await install(client, families)
    finally:
        await client.close()


def _start_cluster(state: Any, fleet: str) -> subprocess.Popen[bytes]:
    """Controllers and nodes in a process of their own: the API server gets a core to itself."""
    arguments = [sys.executable, "-m", "switchyard", "sandbox", "nodes", "--controllers"]
    arguments += [
        "--kubeconfig",
        str(state.kubeconfig_path),
        "--fleet",
        fleet,
        "--state-dir",
        str(state.path),
    ]
    with state.log_path.open("wb") as log:
        return subprocess.Popen(  # noqa: S603  (our own command)
            [*arguments, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the other
        )


def _greet(state: Any, url: str, count: int, persist: Path | None) -> None:
    kept = f", objects kept in {persist}" if persist else ""
    beside = Path(sys.executable).parent
    path = "" if shutil.which("kubectl") else f"\n  export PATH={beside}:$PATH   # has a kubectl"
    print(
        f"""\
Sandbox is up: API server {url}, {count} simulated nodes{kept}. Ctrl-C ends it.

  export KUBECONFIG={state.kubeconfig_path}{path}

Try in another terminal:
  kubectl get nodes -L node.kubernetes.io/instance-type,topology.kubernetes.io/region
  switchyard catalog
  switchyard operator
  switchyard sandbox kill-node gpu-l4-1
""",
        flush=True,
    )


@command.command()
@_STATE
def down(state_dir: Path) -> None:
    """End the sandbox that is up."""
    from switchyard.sandbox.statedir import NotUpError, StateDir

    state = StateDir(state_dir)
    try:
        server = state.read_server()
    except NotUpError as error:
        raise click.ClickException(str(error)) from error
    os.kill(server["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 20
    while state.is_locked():
        if time.monotonic() > deadline:
            raise click.ClickException(f"process {server['pid']} does not end")
        time.sleep(0.05)
    print("Sandbox is down.")


@command.command()
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="KUBECONFIG",
    required=True,
    help="Of the API server to work against.  [env KUBECONFIG]",
)
@_FLEET
@click.option(
    "--controllers/--no-controllers", help="Run controllers and scheduler too.  [default: nodes alone]"
)
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), help="Where to note the admin endpoint."
)
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
@click.option("--verbose", is_flag=True, help="Log more.")
def nodes(
    *,
    kubeconfig: Path,
    fleet: str,
    controllers: bool,
    state_dir: Path | None,
    until_stdin_closes: bool,
    verbose: bool,
) -> None:
    """Run simulated nodes (and controllers) against any API server."""
    from switchyard.sandbox.client import read_kubeconfig
    from switchyard.sandbox.cluster.fleet import load_fleet

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        connection, specs = read_kubeconfig(kubeconfig), load_fleet(fleet)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    asyncio.run(
        _run_nodes(
            connection,
            specs,
            controllers=controllers,
            state_dir=state_dir,
            until_stdin_closes=until_stdin_closes,
        )
    )


async def _run_nodes(
    connection: Any, specs: Any, *, controllers: bool, state_dir: Path | None, until_stdin_closes: bool
) -> None:
    from switchyard.sandbox.cluster.run import Cluster
    from switchyard.sandbox.statedir import StateDir, write_private

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    if until_stdin_closes:

        def parent_is_gone() -> None:
            loop.remove_reader(sys.stdin.fileno())  # a closed pipe stays readable
            stop.set()

        loop.add_reader(sys.stdin.fileno(), parent_is_gone)  # nobody writes: readable means closed
    token = secrets.token_urlsafe(24)
    cluster = Cluster(connection, specs, controllers=controllers, admin_token=token)
    starting = asyncio.create_task(cluster.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            if state_dir is not None:
                state = StateDir(state_dir)
                state.path.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_private(state.nodes_path, json.dumps({"url": cluster.admin_url, "token": token}))
            print(f"{len(specs)} nodes are registered.", flush=True)
            await stopping
    finally:
        starting.cancel()
        stopping.cancel()
        with contextlib.suppress(TimeoutError):  # the API server may be gone already
            await asyncio.wait_for(cluster.stop(), _STOP_TIMEOUT_SECONDS)


# -- faults ------------------------------------------------------------------------------------------


def _fault(state_dir: Path, name: str, action: str, **fields: Any) -> None:
    from switchyard.sandbox.handle import FaultError, node_fault
    from switchyard.sandbox.statedir import NotUpError, StateDir

    try:
        node_fault(StateDir(state_dir), name, action, fields)
    except (FaultError, NotUpError) as error:
        raise click.ClickException(str(error)) from error


@command.command("kill-node")
@click.argument("name")
@_STATE
def kill_node(name: str, state_dir: Path) -> None:
    """Switch a node off: its servers stop at once, its heartbeats too."""
    _fault(state_dir, name, "kill")
    print(f"{name} is off; Kubernetes will notice when its heartbeats stay away.")


@command.command("restore-node")
@click.argument("name")
@_STATE
def restore_node(name: str, state_dir: Path) -> None:
    """Switch a node on again, with all devices healthy and at full speed."""
    _fault(state_dir, name, "restore")
    print(f"{name} is on.")


@command.command()
@click.argument("name")
@click.option(
    "--devices", type=int, default=1, show_default=True, help="How many are unhealthy; 0 heals all."
)
@click.option("--resource", help="Which resource.  [default: the node's devices]")
@_STATE
def unhealthy(name: str, devices: int, resource: str | None, state_dir: Path) -> None:
    """Make devices of a node unhealthy: they leave its allocatable."""
    _fault(state_dir, name, "unhealthy", devices=devices, **({"resource": resource} if resource else {}))
    print(f"{name}: {devices} unhealthy.")


@command.command()
@click.argument("name")
@click.option(
    "--notice-seconds", type=float, default=10.0, show_default=True, help="From the notice to the end."
)
@_STATE
def reclaim(name: str, notice_seconds: float, state_dir: Path) -> None:
    """Take a spot node away, with a notice first."""
    _fault(state_dir, name, "reclaim", noticeSeconds=notice_seconds)
    print(f"{name} goes in {notice_seconds:g} s.")


@command.command()
@click.argument("name")
@click.option(
    "--factor", type=float, default=2.0, show_default=True, help="How many times slower; 1 is normal."
)
@_STATE
def slow(name: str, factor: float, state_dir: Path) -> None:
    """Make everything that serves on a node slower."""
    _fault(state_dir, name, "slow", factor=factor)
    print(f"{name} takes {factor:g} times as long.")


@command.command("list-nodes")
@_STATE
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


@command.command("list-gateways")
@_STATE
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


@command.command()
@click.argument("kind", required=False)
@click.argument("fields", nargs=-1)
@click.option("--clear", is_flag=True, help="Remove all faults.")
@_STATE
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
