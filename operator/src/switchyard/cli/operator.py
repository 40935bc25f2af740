"""`switchyard operator`: run the operator against a cluster."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import click
import yaml


@click.command(name="operator")
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False),
    help="Kubeconfig file. Default: $KUBECONFIG, the service account of the pod, ~/.kube/config.",
)
@click.option("--context", help="Context of the kubeconfig. Default: its current one.")
@click.option(
    "--namespace",
    envvar="POD_NAMESPACE",
    help="Namespace of the leader lease. Default: the pod's, or the context's.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False),
    envvar="SWITCHYARD_CONFIG",
    help="YAML file with settings: currency, priceMaxAgeDays, resync, concurrency, metricSources.",
)
@click.option(
    "--listen",
    default="0.0.0.0:8080",
    show_default=True,
    envvar="SWITCHYARD_LISTEN",
    help="HOST:PORT of /healthz, /readyz and /metrics; port 0 takes a free one and logs it.",
)
@click.option(
    "--leader-elect/--no-leader-elect",
    default=True,
    show_default=True,
    envvar="SWITCHYARD_LEADER_ELECT",
    help="Act only while holding a Lease. Switch off only where a second replica is impossible.",
)
@click.option(
    "--lease-name", default="switchyard-operator", show_default=True, help="Name of the leader lease."
)
@click.option(
    "--lease-seconds",
    type=click.IntRange(3, 300),
    default=15,
    show_default=True,
    help="How long others wait for a leader that is gone; it acts no more after two thirds without renewal.",
)
@click.option(
    "--log-format",
    type=click.Choice(["json", "text"]),
    default="json",
    show_default=True,
    envvar="SWITCHYARD_LOG_FORMAT",
)
@click.option("--verbose", is_flag=True, help="Debug lines of the operator's own code.")
def command(  # noqa: PLR0917 - click passes options by name
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    config_file: str | None,
    listen: str,
    leader_elect: bool,  # noqa: FBT001 - click passes options by name
    lease_name: str,
    lease_seconds: int,
    log_format: Any,
    verbose: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Run the operator against a cluster until SIGTERM.

    Exits with 0 after a signal, 1 when a part failed or leadership was lost, 2 on bad settings.
    """
    from switchyard.engine.settings import SettingsError

    host, port = _split_listen(listen)
    try:
        settings = _read_settings(config_file)
    except SettingsError as error:
        raise click.UsageError(f"settings in {config_file}:\n{error}") from None

    from switchyard.adapters.connection import NoCluster
    from switchyard.adapters.logs import configure_logging
    from switchyard.adapters.runtime import START_ANEW, Options, run_operator

    configure_logging(log_format, is_verbose=verbose)
    try:
        options = Options(
            settings=settings,
            kubeconfig=kubeconfig,
            context=context,
            namespace=namespace,
            lease_name=lease_name,
            lease_seconds=lease_seconds,
            is_electing=leader_elect,
            host=host,
            port=port,
        )
        code = asyncio.run(run_operator(options))
    except NoCluster as error:
        raise click.UsageError(str(error)) from None
    if code == START_ANEW:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - what runs already, no shell
    raise SystemExit(code)


def _read_settings(path: str | None) -> Any:
    from switchyard.engine.settings import SettingsError, parse_settings

    if path is None:
        return parse_settings(None)
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - one read, before any loop runs
            document = yaml.safe_load(file)
    except OSError as error:
        raise SettingsError(f"can't be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"not YAML: {error}") from None
    return parse_settings(document)


def _split_listen(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{listen!r}: give HOST:PORT, like 127.0.0.1:8080", param_hint="--listen")
    return host.strip("[]"), int(port)
