"""Learning beside the loop: keeps each workload's memory and says what its status said before a restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.learning.sample import EngineSample
from switchyard.core.learning.stored import read_stored
from switchyard.core.placement.latency import TokensProfile
from switchyard.core.placement.reading import read_workload
from switchyard.core.world import Workload, World

if TYPE_CHECKING:
    from switchyard.core.learning.learn import Memory

WorkloadKey = tuple[str, str]

_MOST_PER_TRACK = 8  # replicas of one track whose window is looked at; more say the same


@dataclass
class Learner:
    """Not for two threads at once."""

    _memories: dict[WorkloadKey, Memory] = field(default_factory=dict)
    _published: dict[WorkloadKey, tuple[LearnedProfile, ...]] = field(default_factory=dict)

    def learn(
        self, world: World, samples: Mapping[WorkloadKey, Sequence[EngineSample]], now: datetime
    ) -> dict[WorkloadKey, tuple[LearnedProfile, ...]]:
        """The profiles of the workloads for which windows came. Takes tens of milliseconds per track."""
        found = {}
        for workload in world.workloads:
            if workload.key in samples:
                found[workload.key] = self._learn_one(workload, samples[workload.key], now)
        return found

    def forget_others(self, workloads: Collection[WorkloadKey]) -> None:
        """Keep the memories of these only."""
        for key in self._memories.keys() - set(workloads):
            del self._memories[key]
            self._published.pop(key, None)

    def _learn_one(
        self, workload: Workload, samples: Sequence[EngineSample], now: datetime
    ) -> tuple[LearnedProfile, ...]:
        # it brings scipy.optimize, which a start without learning need not wait for
        from switchyard.core.learning.learn import Memory, learn_profiles, remember  # noqa: PLC0415  (see above)

        facts, signals = read_workload(workload), workload.spec.signals
        learning = signals.learning if signals is not None else "off"
        published = self._published.get(workload.key)
        if published is None:
            published = read_stored(workload, now)
        memory = remember(self._memories.get(workload.key, Memory()), _thin(samples), published, now)
        given = {
            variant.name: variant.profile if isinstance(variant.profile, TokensProfile) else None
            for variant in facts.variants
        }
        learned = learn_profiles(memory, given, published, learning, now)
        self._memories[workload.key], self._published[workload.key] = memory, learned
        return learned


def _thin(samples: Sequence[EngineSample]) -> list[EngineSample]:
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for sample in samples:
        track = (sample.variant, sample.pool)
        seen[track] += 1
        if seen[track] <= _MOST_PER_TRACK:
            kept.append(sample)
    return kept
