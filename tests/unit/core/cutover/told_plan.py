"""A plan carried out by the real machine, as an object of the API after each look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.unit.core.cutover.cutover_world import World

from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.conditions import merge
from switchyard.core.cutover.describe import describe_plan


@dataclass
class ToldPlan:
    """`world`: what happens to it. `status`: what the operator would store."""

    world: World = field(default_factory=World)
    status: Mapping[str, Any] = field(default_factory=lambda: {"observedGeneration": -1})

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", "Pending"))

    def look(self) -> str:
        """One look of the operator; the phase after it."""
        seen = self.world.observe()
        state = self.world.look()
        before = CutoverPlanStatus.model_validate(self.status)
        fields, findings = describe_plan(self.world.facts, state, seen, before)
        generation = self.world.facts.generation
        conditions, _ = merge(findings, self.status.get("conditions") or [], generation, seen.now)
        self.status = {**fields, "observedGeneration": generation, "conditions": conditions}
        return self.phase

    def run_to(self, *phases: str) -> str:
        """The first of the phases that comes."""
        for _ in range(400):
            if self.look() in phases:
                return self.phase
        raise AssertionError(f"never in {phases}: {self.phase}")

    def build_body(self, **spec: Any) -> dict[str, Any]:
        """The object as the API server would give it, with this in its spec."""
        facts = self.world.facts
        told = {
            "workloadRef": {"name": facts.workload},
            "target": {"variant": facts.variant, "pool": facts.pool},
            "segments": [{"name": "batch", "match": {"tier": "batch"}}, {"name": "rest"}],
            **spec,
        }
        metadata = {
            "name": facts.name,
            "namespace": facts.namespace,
            "uid": facts.uid,
            "generation": facts.generation,
            "resourceVersion": "7",
            "managedFields": [{"manager": "git", "fieldsV1": {"f:spec": {}}}],
        }
        return {
            "apiVersion": "switchyard.dev/v1alpha1",
            "kind": "CutoverPlan",
            "metadata": metadata,
            "spec": told,
            "status": dict(self.status),
        }
