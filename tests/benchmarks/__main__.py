"""`python -m tests.benchmarks`: run the benchmarks and print what they gave."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from tests.benchmarks.deciding import measure_decide
from tests.benchmarks.figures import Benchmark, Figure, tabulate, write_json
from tests.benchmarks.placing import measure_placing
from tests.benchmarks.routing import measure_routing
from tests.benchmarks.scale import SMALL, Scale
from tests.benchmarks.solving import measure_solving
from tests.benchmarks.startup import measure_startup

_BENCHMARKS: dict[str, Benchmark] = {
    "startup": measure_startup,
    "decide": measure_decide,
    "placing": measure_placing,
    "solving": measure_solving,
    "routing": measure_routing,
}


@click.command()
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write figures.")
@click.option("--small", is_flag=True, help="A tenth of the world, once: a quick look.")
@click.option("--only", type=click.Choice(list(_BENCHMARKS)), help="Run this benchmark alone.")
def main(json_file: Path | None, small: bool, only: str | None) -> None:  # noqa: FBT001 - click passes by name
    """Measure the sandbox and the operator. Nothing fails for being slow."""
    scale = SMALL if small else Scale()
    figures: list[Figure] = []
    notes = Console(stderr=True)
    for name, measure in _BENCHMARKS.items():
        if only in {None, name}:
            notes.print(f"measuring {name} …")
            figures += measure(scale)
    Console(width=None if Console().is_terminal else 150).print(tabulate(figures))
    if json_file is not None:
        write_json(json_file, scale, figures)


if __name__ == "__main__":
    main()
