"""The pytest fixture `cluster`, for suites that run on any provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from e2e.providers import Cluster, ClusterUnavailableError, chosen, start


def cluster_fixture(
    *, has_fleet: bool, scope: Literal["session", "module"] = "session"
) -> Callable[..., Iterator[Cluster]]:
    """A fixture with the chosen cluster. One asked for by name that can't be had ends the run."""

    @pytest.fixture(scope=scope, name="cluster")
    def fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        name = chosen()
        try:
            with start(name, tmp_path_factory.mktemp("cluster"), has_fleet=has_fleet) as cluster:
                yield cluster
        except ClusterUnavailableError as error:
            if name == "sandbox":
                raise
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)

    return fixture
