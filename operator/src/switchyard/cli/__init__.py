"""The `switchyard` command, also found by kubectl as `kubectl switchyard`.

Each subcommand is a module of this package with a click command called `command`; it is imported only
when it runs, so that `--help` stays quick and the operator's image needs nothing of the sandbox.
"""

from __future__ import annotations

import importlib

import click

# subcommand -> (module, one line of help)
_COMMANDS = {
    "catalog": ("catalog", "List the accelerators that Switchyard knows, with sources."),
    "cutover": ("cutover", "Write, follow, approve, pause, end and report cutovers of workloads."),
    "demo": ("demo", "Run the whole thing here: embedded cluster, operator, a node failure, cutovers."),
    "explain": ("explain", "Explain a workload's placement: every option, its cost, where the choice turns."),
    "model-server": ("model_server", "Serve a simulated model over HTTP."),
    "operator": ("operator", "Run the operator against a cluster."),
    "plan": ("plan", "Plan objects in files, without a cluster; what if this or that were different."),
    "profile": ("profile", "Measure a running endpoint and write the profile of one replica."),
    "rehearse": ("rehearse", "Carry a cutover plan out here, with faults of choice; say what would happen."),
    "router": ("router", "Split, shadow and compare the traffic of two backends."),
    "sandbox": ("sandbox", "Start, stop and disturb an embedded cluster."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"switchyard.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in sorted(_COMMANDS)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="switchyard")
def main() -> None:
    """Place inference workloads on heterogeneous accelerators by latency objectives and cost."""
