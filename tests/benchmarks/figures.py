"""What a benchmark gives back, and how a person or a program reads it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table
from tests.benchmarks.scale import Scale


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `note` says how it came about where the name does not."""

    benchmark: str
    name: str
    value: float
    unit: str
    note: str = ""


Benchmark = Callable[[Scale], list[Figure]]


def tabulate(figures: list[Figure]) -> Table:
    """A table with a section per benchmark."""
    table = Table(title=f"Switchyard benchmarks: {describe_environment()}", title_justify="left")
    for heading in ("benchmark", "figure", "value", "unit", "note"):
        table.add_column(heading, justify="right" if heading == "value" else "left", overflow="fold")
    before = ""
    for figure in figures:
        if before and figure.benchmark != before:
            table.add_section()
        shown = "" if figure.benchmark == before else figure.benchmark
        table.add_row(shown, figure.name, _shorten(figure.value), figure.unit, figure.note)
        before = figure.benchmark
    return table


def write_json(path: Path, scale: Scale, figures: list[Figure]) -> None:
    """Write environment, scale and figures for a program to compare."""
    document = {
        "environment": describe_environment(),
        "scale": asdict(scale),
        "figures": [asdict(figure) for figure in figures],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def describe_environment() -> str:
    """Cores and Python, such as `2 cores, Python 3.11, Linux x86_64`."""
    version = ".".join(platform.python_version_tuple()[:2])
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, Python {version}, {platform.system()} {platform.machine()}"


def _shorten(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
