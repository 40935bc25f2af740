"""The small world that cutovers are carried out in: one workload, two pools, a plan from one to the other."""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.unit.core.worlds import pool, workload

from switchyard.api import GROUP, VERSION

from .life import Run
from .outside import Outside
from .parts import OLD, PLAN, SPACE, THE_PLAN, WORKLOAD


def steps(*weights: int) -> list[dict[str, Any]]:
    return [{"weight": each, "minDuration": "5s", "minSamples": 10} for each in weights]


QUICK: dict[str, Any] = {
    "workloadRef": {"name": WORKLOAD},
    "target": {"variant": "v", "pool": "new"},
    "shadow": {"percent": 20, "minDuration": "5s", "minSamples": 10},
    "steps": steps(50, 100),
    # bold, so that a verdict takes few windows
    "analysis": {"interval": "5s", "falsePromotionProbability": "0.5", "falseRollbackProbability": "0.5"},
    "rollback": {"retainBaseline": "10s"},
    "gates": [{"name": "errors", "errors": {}}],
}
BATCH_FIRST = [{"name": "batch", "match": {"tier": "batch"}}, {"name": "rest"}]
INTERVAL_SECONDS = 5.0


@cache
def _serve() -> Outside:
    """A workload that serves in pool `old`, with a cheaper pool `new` beside it, and nothing to do."""
    outside = Outside()
    chat = workload(WORKLOAD, 2)
    _author(outside, "AcceleratorPool", pool("old", "3"))
    outside.nodes["n1"] = ("old", 4)
    _author(outside, "InferenceWorkload", chat)
    _rest(outside)
    assert outside.replicas() == {OLD: 2}
    _author(outside, "AcceleratorPool", pool("new", "1", created=2))
    outside.nodes["n0"] = ("new", 4)
    _rest(outside)
    outside.per_second = 20_000.0
    return outside


def begin(*, mix: tuple[tuple[str, float], ...] = (("all", 1.0),), **spec: Any) -> Outside:
    """The workload that serves, and a plan that nobody has looked at yet."""
    outside = _serve().fork()
    outside.mix = mix
    outside.landed = []
    put_plan(outside, **spec)
    outside.advance(outside.seconds)
    return outside


def put_plan(outside: Outside, name: str = PLAN, **spec: Any) -> None:
    body = {"apiVersion": f"{GROUP}/{VERSION}", "spec": {**QUICK, **spec}}
    outside.put((THE_PLAN[0], SPACE, name), body, spec=True)


def _author(outside: Outside, kind: str, made: Any) -> None:
    spec = made.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    key = (kind, made.meta.namespace, made.meta.name)
    outside.put(key, {"apiVersion": f"{GROUP}/{VERSION}", "spec": spec}, spec=True)


def _rest(outside: Outside) -> None:
    Run(outside, is_over=lambda _outside: True).run()
