"""Clusters to test on: `start(name)` gives one that answers, or says what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.providers import current, envtest, kind, sandbox
from e2e.providers.cluster import Capabilities, Cluster, ClusterUnavailableError
from e2e.providers.plain_http import Answer, PlainHttp, Watch

PROVIDERS = {
    "sandbox": sandbox.start,
    "envtest": envtest.start,
    "kind": kind.start,
    "current": current.start,
}

__all__ = [
    "PROVIDERS",
    "Answer",
    "Capabilities",
    "Cluster",
    "ClusterUnavailableError",
    "PlainHttp",
    "Watch",
    "chosen",
    "start",
]


def chosen() -> str:
    """The provider that SWITCHYARD_CLUSTER names; the sandbox by default."""
    return os.environ.get("SWITCHYARD_CLUSTER", "") or "sandbox"


@contextmanager
def start(name: str, directory: Path, *, has_fleet: bool) -> Iterator[Cluster]:
    """A running cluster, ended with the context.

    `has_fleet` asks for accelerator nodes: simulated ones on sandbox and envtest, patched ones on kind,
    none on `current`, where the nodes are what they are. Raises ClusterUnavailableError, never falls
    back to another provider.
    """
    if name not in PROVIDERS:
        raise ClusterUnavailableError(f"no provider {name!r}: choose one of {', '.join(sorted(PROVIDERS))}")
    if name in {"kind", "current"} and "PYTEST_XDIST_WORKER" in os.environ:
        raise ClusterUnavailableError(
            f"{name} is one cluster and the recordings use fixed names: run without -n"
        )
    with PROVIDERS[name](directory, has_fleet=has_fleet) as cluster:
        yield cluster
