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

from switchyard.cli.sandbox_visit import STATE, VISITS

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
@STATE
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
@STATE
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


for visit in VISITS:
    command.add_command(visit)
