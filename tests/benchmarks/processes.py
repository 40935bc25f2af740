"""The processes that are measured: an operator beside a sandbox, what they say and what they use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.benchmarks.scale import Scale, make_fleet

from switchyard.sandbox.handle import SandboxProcess

_RESYNC = "10s"  # so that a quiet minute holds several passes
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds and has used."""

    resident_mib: float
    peak_mib: float
    cpu_seconds: float


def read_usage(pid: int) -> Usage:
    """Memory and processor time of a process, from /proc."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage(
        resident_mib=int(fields["VmRSS"].split()[0]) / 1024,
        peak_mib=int(fields["VmHWM"].split()[0]) / 1024,
        cpu_seconds=(int(after_name[11]) + int(after_name[12])) / _TICKS_PER_SECOND,
    )


def find_child(pid: int) -> int:
    """The only child of a process: of the API server, that which runs controllers and nodes."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


@contextmanager
def start_sandbox(scale: Scale, directory: Path) -> Iterator[SandboxProcess]:
    """A sandbox with the large fleet, all of its nodes registered."""
    fleet = directory / "fleet.yaml"
    fleet.write_text(yaml.safe_dump(make_fleet(scale)))
    with SandboxProcess.start(directory / "sandbox", fleet=str(fleet), timeout_seconds=300) as sandbox:
        yield sandbox


class OperatorUnderTest:
    """`switchyard operator` as a process. Use as a context: it is ended with it."""

    def __init__(self, sandbox: SandboxProcess, directory: Path) -> None:
        self._log_path = directory / "operator.log"
        settings = directory / "settings.yaml"
        settings.write_text(f"resync: {_RESYNC}\n")
        command = [sys.executable, "-m", "switchyard", "operator", "--config", str(settings)]
        command += ["--kubeconfig", str(sandbox.kubeconfig_path), "--listen", "127.0.0.1:0"]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._metrics_url = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for_first_pass(self, timeout_seconds: float = 120.0) -> None:
        """Return when it leads and has looked once. TimeoutError with the end of its log."""
        deadline = time.monotonic() + timeout_seconds
        while not (self._find_metrics() and total(self.scrape(), "switchyard_loop_duration_seconds_count")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"the operator did not begin: {self._log_path.read_text()[-2000:]}")
            time.sleep(0.1)

    def scrape(self) -> Samples:
        """Every sample of /metrics by name and labels."""
        with _OPENER.open(self._metrics_url, timeout=60) as answer:
            text = answer.read().decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def _find_metrics(self) -> bool:
        for line in self._log_path.read_text().splitlines() if not self._metrics_url else ():
            if line.startswith("{") and (address := json.loads(line).get("address")):
                self._metrics_url = f"http://{address}/metrics"
        return bool(self._metrics_url)


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the series of this name that have these labels."""
    return sum(
        value
        for (found, pairs), value in samples.items()
        if found == name and all(dict(pairs).get(key) == wanted for key, wanted in labels.items())
    )
