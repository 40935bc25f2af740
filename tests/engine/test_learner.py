"""Learning beside the loop: what a status said before a restart counts, and what nobody wants is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from switchyard.api import InferenceWorkloadSpec, InferenceWorkloadStatus
from switchyard.core.learning.sample import EngineSample
from switchyard.core.world import Meta, Workload, World
from switchyard.engine.learner import Learner

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEY = ("shop", "chat")
TOKENS = {
    "iteration": "10ms",
    "perSequence": "1ms",
    "perPrefillToken": "10us",
    "maxBatch": 64,
    "cacheTokens": 100000,
}


def workload(**status: Any) -> Workload:
    spec = {
        "tier": "internal",
        "model": {"name": "m"},
        "demand": {"requestsPerSecond": "1"},
        "objectives": [],
        "signals": {"preset": "vllm", "learning": "propose"},
        "variants": [
            {
                "name": "gpu",
                "accelerators": ["gpu"],
                "container": {"image": "example.com/m:1"},
                "profile": {"source": "benchmark", "tokens": TOKENS},
            }
        ],
    }
    return Workload(
        Meta("chat", "shop", "u", "1", 1, NOW),
        InferenceWorkloadSpec.model_validate(spec),
        InferenceWorkloadStatus.model_validate(status),
    )


def sample(minute: int, running: float, variant: str = "gpu") -> EngineSample:
    """A minute of an engine that takes 12 ms and 1.5 ms per request for an iteration."""
    seconds = 0.012 + 0.0015 * running
    at = NOW + timedelta(minutes=minute)
    return EngineSample(at, variant, "l4", running, seconds, 0.1, running / 5, 100, 50, running * 125, True)


def test_windows_become_profiles_of_the_track_that_they_are_of() -> None:
    learner, world = Learner(), World(now=NOW, workloads=(workload(),))
    found = ()
    for minute in range(1, 40):
        loads = [sample(minute, float(1 + (minute * 7 + replica * 11) % 40)) for replica in range(3)]
        found = learner.learn(world, {KEY: loads}, NOW + timedelta(minutes=minute))[KEY]
    (profile,) = found
    assert (profile.variant, profile.pool, profile.state) == ("gpu", "l4", "Proposed")
    assert profile.tokens is not None
    predicted = profile.tokens.iteration_seconds + 20 * profile.tokens.per_sequence_seconds
    assert abs(predicted - (0.012 + 0.0015 * 20)) < 0.006


def test_after_a_restart_what_the_status_says_stands_until_something_better_is_learned() -> None:
    told = {
        "variant": "gpu",
        "pool": "l4",
        "state": "Proposed",
        "tokens": TOKENS,
        "samples": 240,
        "relativeError": "0.04",
        "learnedAt": "2026-11-21T11:00:00Z",
        "message": "240 samples",
    }
    world = World(now=NOW, workloads=(workload(learnedProfiles=[told]),))
    (profile,) = Learner().learn(world, {KEY: [sample(1, 5.0)]}, NOW + timedelta(minutes=1))[KEY]
    assert profile.tokens is not None
    assert profile.tokens.iteration_seconds == 0.01


def test_only_workloads_with_new_windows_are_learned_and_others_are_forgotten() -> None:
    learner, world = Learner(), World(now=NOW, workloads=(workload(),))
    assert learner.learn(world, {("shop", "other"): [sample(1, 5.0)]}, NOW) == {}
    learner.learn(world, {KEY: [sample(1, 5.0)]}, NOW)
    learner.forget_others([])
    assert learner._memories == {}


def test_of_many_replicas_a_few_are_looked_at() -> None:
    learner, world = Learner(), World(now=NOW, workloads=(workload(),))
    learner.learn(world, {KEY: [sample(1, 1.0 + number) for number in range(50)]}, NOW)
    assert len(learner._memories[KEY].samples) == 8
