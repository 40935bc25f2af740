"""`switchyard catalog`: the accelerators that pools can name, with what is known of them and how."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
import yaml
from rich.console import Console
from rich.table import Table

from switchyard.catalog import Accelerator, describe_entry, load_catalog

_UNKNOWN = "unknown"
_PIPED_WIDTHS = {"table": 160, "wide": 400}  # a file or pipe has no width of its own


@click.group("catalog", invoke_without_command=True)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Form of the list.",
)
@click.option("--family", help="Only this family: gpu, inferentia, trainium, tpu, edge, fpga, …")
@click.pass_context
def command(context: click.Context, output: str, family: str | None) -> None:
    """List the accelerators that Switchyard knows; `show NAME` prints one with its sources.

    A figure with * is general knowledge that nobody read at a source. Unknown stays unknown.
    """
    if context.invoked_subcommand is not None:
        return
    entries = [each for each in load_catalog() if family in {None, each.family}]
    if not entries:
        known = ", ".join(dict.fromkeys(each.family for each in load_catalog()))
        raise click.UsageError(f"no accelerator of family {family!r}; there are {known}")
    if output in {"json", "yaml"}:
        _print_document([describe_entry(each) for each in entries], output)
        return
    _console(_PIPED_WIDTHS[output]).print(_table(entries, is_wide=output == "wide"))


@command.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["json", "yaml"]),
    default="yaml",
    show_default=True,
    help="Form of the entry.",
)
def show(name: str, output: str) -> None:
    """Print the entry NAME whole, with sources and with marks on what is general knowledge."""
    catalog = load_catalog()
    entry = catalog.get(name)
    if entry is None:
        near = ", ".join(catalog.closest(name))
        hint = f"did you mean {near}?" if near else "`switchyard catalog` lists them all"
        raise click.UsageError(f"no accelerator {name!r}; {hint}")
    _print_document(describe_entry(entry), output)


def _print_document(document: Any, output: str) -> None:
    if output == "json":
        print(json.dumps(document, indent=2))
    else:
        print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110), end="")


def _table(entries: list[Accelerator], *, is_wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("NAME", "FAMILY", "MODEL", "RESOURCE"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "NAME")
    for heading in ("MEMORY", "POWER"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("PRECISIONS", overflow="fold")
    if is_wide:
        for heading in ("RUNTIMES", "UNITS", "TAINTS", "AS OF", "SOURCES"):
            table.add_column(heading, overflow="fold", min_width=8)
    for each in entries:
        cells = [
            each.name,
            each.family,
            each.model,
            each.resource_name or _UNKNOWN,
            _figure(each, "memory_bytes", each.memory_text),
            _figure(each, "power_watts", None if each.power_watts is None else f"{each.power_watts:g} W"),
            ", ".join(each.precisions) or _UNKNOWN,
        ]
        if is_wide:
            cells += [
                ", ".join(each.runtimes) or _UNKNOWN,
                ", ".join(map(str, each.unit_devices)) or "any",
                ", ".join(taint.key for taint in each.taints) or "none known",
                str(each.as_of),
                "; ".join(source.title for source in each.sources) or "general knowledge",
            ]
        table.add_row(*cells)
    return table


def _figure(entry: Accelerator, field: str, text: str | None) -> str:
    if text is None:
        return _UNKNOWN
    return text if entry.is_from_source(field) else f"{text} *"


def _console(piped_width: int) -> Console:
    return Console(width=None if sys.stdout.isatty() else piped_width, highlight=False)
