"""`switchyard rehearse` on the examples: a cluster of its own, so none of the suite's is needed."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from e2e.providers.cluster import REPOSITORY, environment_without_proxies
from e2e.providers.programs import switchyard

EXAMPLES = REPOSITORY / "crds" / "examples"
FILES = ("10-pools-gpu.yaml", "11-pools-cloud.yaml", "21-embed.yaml", "cutover/60-embed.yaml")
LONGEST_SECONDS = 400


def rehearse(*arguments: str) -> tuple[int, dict[str, Any]]:
    """How a rehearsal of the plan for `embed` ended, and its document."""
    files = [part for name in FILES for part in ("-f", EXAMPLES / name)]
    done = subprocess.run(
        switchyard(
            "rehearse", *files, "--plan", "embed-to-inferentia", "-o", "json", "--timeout", "5m", *arguments
        ),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment_without_proxies(),
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(LONGEST_SECONDS + 30)
def test_without_a_fault_the_plan_would_succeed_and_no_user_would_notice() -> None:
    code, told = rehearse()
    assert (code, told["outcome"], told["phase"]) == (0, "succeeded", "Completed"), told
    assert (told["from"], told["to"]) == ("gpu@gpu-l4", "neuron@inferentia2")
    assert told["users"]["failed"] == 0
    assert told["users"]["requests"] > 500
    weights = [each["weight"] for each in told["history"] if each["phase"] == "Canary"]
    assert weights == [10, 25, 50, 100]
    assert [each["weight"] for each in told["realStages"]] == [20, 5, 25, 50, 100, 100]
    assert told["realSeconds"] >= 90 * 60  # the plan's own shortest times


@pytest.mark.timeout(LONGEST_SECONDS + 30)
def test_with_errors_on_the_candidate_it_would_be_rolled_back_before_any_user_sees_one() -> None:
    code, told = rehearse("--fault", "errors=0.05@candidate")
    assert (code, told["outcome"], told["phase"]) == (2, "rolledBack", "RolledBack"), told
    assert told["reason"] == "GateFailed"
    assert "gate errors" in told["message"]
    assert told["users"]["failed"] == 0
    assert "Canary" not in [each["phase"] for each in told["history"]]
