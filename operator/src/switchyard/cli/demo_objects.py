"""The workload that the demo moves, its users, and its plans: short times and wide margins, for one machine.

`library` embeds documents: people search, one document at a time, and a nightly job indexes many at once.
"""

from __future__ import annotations

from typing import Any

from switchyard.api import GROUP, VERSION
from switchyard.cli.callers import Caller
from switchyard.cli.cutover_manifest import Wish, build_manifest

NAMESPACE = "default"
NAME = "library"
POOLS = {"gpu": "gpu-l4", "neuron": "inferentia2", "tpu": "tpu-v5e-eu"}
SEARCHES, JOBS = 28, 12  # requests per second
_PLANNED = 108  # at the busiest hour: a machine that is slow today is not taken for a slow model
BATCH = 16  # documents in a request of the indexing job
_WRONG_ABOVE_INPUTS = 8
_ENGINEERING_COST = "150"
_PATH = "/v1/embeddings"

_SLOTS = 32
_PROFILES = {  # as the simulated servers of these accelerators are
    "gpu": {"base": "110ms", "slope": "4ms", "cv2": "0.25"},
    "neuron": {"base": "90ms", "slope": "3ms", "cv2": "0.1"},
    "tpu": {"base": "85ms", "slope": "2500us", "cv2": "0.1"},
}
_ACCELERATORS = {"gpu": "nvidia-l4", "neuron": "aws-inferentia2", "tpu": "google-tpu-v5e"}
# Wide, so that some hundred requests say enough, also on a machine that is busy with something else.
_MARGIN = {"oddsRatio": "3", "absolute": "0.2"}
_GATES = [
    {"name": "errors", "errors": {"margin": _MARGIN}},
    {"name": "latency", "latency": {"target": "1s", "margin": _MARGIN}},
    {"name": "parity", "parity": {"comparator": "embedding", "margin": "0.2"}},
]


def build_workload(*variants: str) -> dict[str, Any]:
    """The workload with these variants. The server for TPU is broken for large requests, and nobody knows."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "InferenceWorkload",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "tier": "customer-facing",
            "model": {"name": "bge-m3", "memory": "4Gi"},
            "demand": {"requestsPerSecond": str(_PLANNED)},
            "objectives": [{"metric": "latency", "percentile": 95, "target": "500ms"}],
            "variants": [_build_variant(each) for each in variants],
        },
    }


def _build_variant(name: str) -> dict[str, Any]:
    faults = [f"--wrong-above-inputs={_WRONG_ABOVE_INPUTS}"] if name == "tpu" else []
    return {
        "name": name,
        "accelerators": [_ACCELERATORS[name]],
        **({"devicesPerReplica": 4} if name == "tpu" else {}),
        "container": {
            "image": "ghcr.io/switchyard/switchyard:0.1.0",
            "command": ["switchyard", "model-server"],
            "args": [f"--model={NAME}", f"--slots={_SLOTS}", *faults],
            "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1},
        },
        "profile": {"source": "benchmark", "concurrency": {"slots": _SLOTS, **_PROFILES[name]}},
    }


def build_plan(variant: str, workload: dict[str, Any]) -> dict[str, Any]:
    """The plan that `kubectl switchyard cutover create` writes, with the demo's gates and short times."""
    wish = Wish(
        workload=NAME,
        variant=variant,
        pool=POOLS[variant],
        shadow_percent=100,
        weights=(50, 100),
        segments=("indexing=tier:batch", "searches"),
    )
    plan = build_manifest(wish, workload, list(POOLS.values()), NAMESPACE)
    spec = plan["spec"]
    spec["shadow"] |= {"minDuration": "2s", "minSamples": 40, "noiseArmPercent": 35}
    spec["steps"] = [{**step, "minDuration": "2s", "minSamples": 20} for step in spec["steps"]]
    spec["segments"][0]["steps"] = spec["steps"][-1:]  # nobody waits for the job: all of it at once
    spec["gates"] = _GATES
    spec["analysis"] = {
        "interval": "1s",
        "falseRollbackProbability": "0.05",
        "falsePromotionProbability": "0.2",
        "inconclusiveAfter": "20s",
    }
    spec["rollback"] = {"retainBaseline": "3s"}
    spec["economics"] = {"engineeringCost": _ENGINEERING_COST}
    return plan


def list_callers() -> tuple[Caller, ...]:
    """Who asks."""
    return (
        Caller("searches", SEARCHES, _PATH, lambda number: {"input": f"what is document {number} about"}),
        Caller("indexing", JOBS, _PATH, _ask_batch, {"X-Switchyard-Tier": "batch"}),
    )


def _ask_batch(number: int) -> dict[str, Any]:
    return {"input": [f"page {page} of document {number}" for page in range(BATCH)]}
