"""How long a sandbox takes from nothing to all nodes of the default fleet registered."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tests.benchmarks.figures import Figure
from tests.benchmarks.scale import Scale

from switchyard.sandbox.cluster.fleet import load_fleet
from switchyard.sandbox.handle import SandboxProcess


def measure_startup(scale: Scale) -> list[Figure]:
    """The median, the first and the longest of some starts, each a process of its own."""
    taken = [_start_once() for _ in range(scale.starts)]
    nodes = len(load_fleet("default"))
    return [
        Figure(
            "startup",
            "start until all nodes are registered",
            statistics.median(taken),
            "s",
            f"median of {len(taken)}, {nodes} nodes",
        ),
        Figure("startup", "longest start", max(taken), "s"),
    ]


def _start_once() -> float:
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        with SandboxProcess.start(Path(directory) / "sandbox"):
            return time.perf_counter() - start
