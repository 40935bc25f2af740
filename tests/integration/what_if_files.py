"""Files for the tests of `plan` and `explain`, and the command, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from switchyard.cli import main

GPU = "example.com/gpu"


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def switchyard(*arguments: str | Path, stdin: str = "", environment: Mapping[str, str] | None = None) -> Ran:
    """What the command said and how it ended, in this process."""
    runner = CliRunner(env=environment)
    done = runner.invoke(main, [*map(str, arguments)], input=stdin, prog_name="switchyard")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


def start_switchyard(*arguments: str | Path, environment: Mapping[str, str]) -> Ran:
    """The same in a process of its own, whose output goes into pipes."""
    done = subprocess.run(
        [sys.executable, "-m", "switchyard", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def pool(name: str, price: str = "1.00", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "AcceleratorPool",
        "metadata": {"name": name},
        "spec": {
            "device": {"family": "gpu", "resourceName": GPU, "memory": "24Gi"},
            "nodeSelector": {"pool": name},
            "cost": {"devicePerHour": price, "asOf": "2026-11-01"},
            **spec,
        },
    }


def node(name: str, pool_name: str, devices: int = 4) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"pool": pool_name}},
        "status": {
            "capacity": {GPU: str(devices)},
            "allocatable": {GPU: str(devices)},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def variant(name: str = "v", **changes: Any) -> dict[str, Any]:
    """A replica carries just under 36 requests/s: 4 slots of 100 ms, 90 percent promised."""
    return {
        "name": name,
        "accelerators": ["gpu"],
        "container": {"image": "example.com/model:1"},
        "profile": {
            "concurrency": {"slots": 4, "base": "100ms", "slope": "0s", "cv2": "0.2"},
            "source": "benchmark",
        },
        **changes,
    }


def workload(name: str, rate: str = "30", *, namespace: str = "team", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "InferenceWorkload",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "demand": {"requestsPerSecond": rate},
            "variants": [variant()],
            "scaling": {"headroomPercent": 0},
            **spec,
        },
    }


def write(path: Path, *documents: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return path


def chat(**spec: Any) -> dict[str, Any]:
    """A workload team/chat; a variant whose profile is None states none."""
    body = workload("chat", **spec)
    for each in body["spec"]["variants"]:
        if each["profile"] is None:
            del each["profile"]
    return body


def options(document: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(each["variant"], each["pool"]): each for each in document["options"]}
