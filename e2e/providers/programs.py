"""Programs that a cluster consists of: started, awaited, and ended by their own process ids."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.providers.cluster import REPOSITORY, ClusterUnavailableError, environment_without_proxies

LOG_LINES_SHOWN = 20


@dataclass
class Programs:
    """Programs of one cluster; each writes `<name>.log` in `directory`."""

    directory: Path
    running: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=REPOSITORY,
                env=environment_without_proxies(),
            )
        self.running.append((name, process))
        return process

    def wait_until(self, what: str, is_so: Callable[[], bool], *, seconds: float) -> None:
        """Returns when it is so. Raises ClusterUnavailableError when a program ends or time runs out."""
        deadline = time.monotonic() + seconds
        while not is_so():
            for name, process in self.running:
                if process.poll() is not None:
                    raise ClusterUnavailableError(
                        f"{name} ended with {process.returncode}:\n{self.tail(name)}"
                    )
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {name}\n{self.tail(name)}" for name, _ in self.running)
                raise ClusterUnavailableError(f"{what}: not within {seconds:.0f} s\n{logs}")
            time.sleep(0.1)

    def tail(self, name: str) -> str:
        lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])

    def stop(self) -> None:
        """Ends what was started last first, and waits for each."""
        while self.running:
            _, process = self.running.pop()
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def switchyard(*arguments: str | Path) -> list[str | Path]:
    """The command line of this checkout's `switchyard`."""
    return [sys.executable, "-m", "switchyard", *arguments]
