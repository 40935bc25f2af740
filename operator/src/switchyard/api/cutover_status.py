"""The status of a CutoverPlan: how far it is, what was seen, and all that a restart must know."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from switchyard.api.base import ApiModel, Conditions
from switchyard.api.policy import Percent
from switchyard.api.pool_status import Amount, Count, Generation
from switchyard.api.schema_marks import ATOMIC, map_by
from switchyard.api.values import Duration, Line, Moment, Text

Name = Annotated[str, Field(max_length=253)]

Phase = Literal[
    "Pending",
    "Validating",
    "AwaitingApproval",
    "Provisioning",
    "Shadowing",
    "Canary",
    "Soaking",
    "Completing",
    "Completed",
    "Paused",
    "RollingBack",
    "RolledBack",
    "Aborted",
]
Verdict = Literal["Pass", "Fail", "Inconclusive", "Error"]


class SideStatus(ApiModel):
    """One side of the move."""

    variant: Name = Field(description="Variant.", examples=["gpu"])
    pool: Name = Field(description="Pool.", examples=["gpu-l4"])
    track: Name = Field(default="", description="Deployment and Service.", examples=["chat-gpu-gpu-l4"])
    accelerator: Name = Field(default="", description="Accelerator of the pool.", examples=["nvidia-l4"])
    replicas: Count = Field(default=0, description="Replicas wanted now.", examples=[2])
    ready: Count = Field(default=0, description="Replicas ready.", examples=[2])
    cost_per_hour: Amount = Field(
        default="0",
        description="Cost per hour of those wanted, in the operator's currency.",
        examples=["1.61"],
    )


class SegmentStatus(ApiModel):
    """How far a segment is."""

    name: Name = Field(description="Segment.", examples=["batch"])
    state: Literal["Baseline", "Moving", "Candidate", "RolledBack", "Stays"] = Field(
        default="Baseline", description="Where its requests are answered.", examples=["Moving"]
    )
    weight: Percent = Field(
        default=0, description="Share on the candidate that is asked for, in percent.", examples=[25]
    )
    observed_weight: Percent | None = Field(
        default=None, description="Share that the path confirmed, in percent.", examples=[25]
    )


class GateStatus(ApiModel):
    """What a gate says of the present stage."""

    name: Name = Field(description="Gate.", examples=["errors"])
    segment: Name = Field(default="", description="Segment; empty for all traffic.", examples=["batch"])
    verdict: Verdict = Field(
        default="Inconclusive", description="Pass, Fail, Inconclusive or Error.", examples=["Pass"]
    )
    observed: Line = Field(default="", description="What was seen.", examples=["0.4 % against 0.3 %"])
    margin: Line = Field(default="", description="What is allowed.", examples=["odds x1.5"])
    samples: Count = Field(default=0, description="Requests or pairs on the candidate.", examples=[1830])
    harm_percent: Percent = Field(
        default=0,
        description="Evidence that the margin is broken, on the way to a rollback, in percent.",
        examples=[12],
    )
    safe_percent: Percent = Field(
        default=0, description="Evidence that it is kept, on the way to a pass, in percent.", examples=[64]
    )
    needed: Count | None = Field(default=None, description="Requests or pairs still needed.", examples=[970])
    eta: Duration | None = Field(default=None, description="Time for them at today's rate.", examples=["8m"])
    missing: Literal["", "baseline", "candidate", "both"] = Field(
        default="", description="Side without data.", examples=["candidate"]
    )
    message: Line = Field(
        default="", description="Why, for a person.", examples=["no request reached the candidate"]
    )
    false_rollback_probability: Amount | None = Field(
        default=None,
        description="Part of analysis.falseRollbackProbability that this gate may use up in this stage and "
        "segment. Absent where a gate does not go by chance.",
        examples=["0.000167"],
    )
    false_promotion_probability: Amount | None = Field(
        default=None,
        description="Part of analysis.falsePromotionProbability that this stage and segment may use up; the "
        "same for each gate, as all of them must pass. Absent where a gate does not go by chance.",
        examples=["0.0025"],
    )


class EvidenceEntry(ApiModel):
    """What a test has gathered in the present stage, for a restart."""

    key: Annotated[str, Field(max_length=160)] = Field(
        description="Test: gate and segment.", examples=["errors/batch"]
    )
    data: Annotated[str, Field(max_length=4096)] = Field(
        description="What it has gathered, as JSON.", examples=['{"windows":12}']
    )


class CostStatus(ApiModel):
    """What the move costs and saves, in the operator's currency."""

    dual_run: Amount = Field(
        default="0", description="Spent so far on running both sides.", examples=["3.10"]
    )
    dual_run_per_hour: Amount = Field(
        default="0", description="Spent per hour on the second side now.", examples=["1.20"]
    )
    expected_dual_run: Amount | None = Field(
        default=None,
        description="Expected for running both sides, from the start to the end.",
        examples=["9.60"],
    )
    baseline_per_thousand: Amount | None = Field(
        default=None, description="Of a thousand requests on the baseline.", examples=["0.031"]
    )
    candidate_per_thousand: Amount | None = Field(
        default=None, description="Of a thousand requests on the candidate, predicted.", examples=["0.019"]
    )
    observed_per_thousand: Amount | None = Field(
        default=None, description="Of a thousand requests on the candidate, observed.", examples=["0.021"]
    )
    saving_per_hour: Amount | None = Field(
        default=None, description="Saving per hour once it is done.", examples=["0.90"]
    )
    payback: Duration | None = Field(
        default=None, description="Time in which the saving repays the move.", examples=["2h"]
    )
    break_even_requests_per_second: Amount | None = Field(
        default=None,
        description="Demand from which on the candidate costs less, in requests per second.",
        examples=["4.2"],
    )


class Approval(ApiModel):
    """A stage that waits for a person, or was released by one."""

    stage: Name = Field(description="Stage.", examples=["canary"])
    requested_at: Moment | None = Field(
        default=None, description="Since when it waits, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )
    approved_at: Moment | None = Field(
        default=None, description="When it was released, RFC 3339.", examples=["2026-11-21T12:10:00Z"]
    )


class HistoryEntry(ApiModel):
    """A transition."""

    at: Moment = Field(description="When, RFC 3339.", examples=["2026-11-21T12:00:00Z"])
    phase: Phase = Field(description="Phase that began.", examples=["Canary"])
    segment: Name = Field(default="", description="Segment.", examples=["batch"])
    weight: Percent = Field(default=0, description="Share on the candidate, in percent.", examples=[25])
    reason: Name = Field(description="Why, as one stable word.", examples=["GatesPassed"])
    message: Text = Field(
        default="", description="Why, for a person.", examples=["errors 0.4 % against 0.3 %"]
    )


class MachineState(ApiModel):
    """What the operator must know after a restart, beside what people read."""

    attempt: Count = Field(default=1, description="Times that the plan was started.", examples=[1])
    restart_token: Name = Field(
        default="", description="restartToken of this attempt.", examples=["2026-11-21-2"]
    )
    inputs_hash: Name = Field(
        default="",
        description="Hash of what the evidence depends on: the workload's variant, the target, the gates.",
        examples=["5f2c9a"],
    )
    segment_index: Count = Field(
        default=0, description="Place of the segment that moves, from 0.", examples=[1]
    )
    step_index: Count = Field(default=0, description="Place of its step, from 0.", examples=[2])
    shadow_percent: Percent = Field(
        default=0, description="Share of requests that is copied, in percent.", examples=[20]
    )
    traffic_version: Annotated[int, Field(ge=0, le=2**53, json_schema_extra={"format": "int64"})] = Field(
        default=0, description="Version of the traffic that is asked for.", examples=[7]
    )
    candidate_replicas: Count = Field(
        default=0, description="Replicas of the candidate that are asked for.", examples=[2]
    )
    drift: Text = Field(
        default="",
        description="What somebody else changed on the path, as it was told last.",
        examples=["kubectl-edit changed Service team/chat selector from a router to chat-gpu-l4"],
    )
    restarts_before: Count = Field(
        default=0, description="Restarts of the candidate when the stage began.", examples=[0]
    )
    phase_since: Moment | None = Field(
        default=None, description="When the phase began, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )
    stage_since: Moment | None = Field(
        default=None,
        description="When the path confirmed the traffic of the present stage, RFC 3339; absent before.",
        examples=["2026-11-21T12:00:00Z"],
    )
    deadline: Moment | None = Field(
        default=None,
        description="When the phase must have ended, RFC 3339.",
        examples=["2026-11-21T12:00:00Z"],
    )
    inconclusive_since: Moment | None = Field(
        default=None,
        description="Since when the evidence does not decide, RFC 3339.",
        examples=["2026-11-21T12:00:00Z"],
    )
    resume_phase: Phase | None = Field(
        default=None, description="Phase to go on with after a pause.", examples=["Canary"]
    )
    pause_reason: Name = Field(default="", description="Why it is paused.", examples=["Suspended"])
    rollback_reason: Name = Field(default="", description="Why it goes back.", examples=["GateFailed"])
    rollback_message: Text = Field(
        default="", description="The same for a person.", examples=["errors 2.4 % against 0.3 %"]
    )
    rollback_to: Literal["", "RolledBack", "Aborted"] = Field(
        default="", description="Phase that the way back ends in.", examples=["RolledBack"]
    )
    rollback_scope: Literal["", "segment", "plan"] = Field(
        default="", description="What goes back.", examples=["segment"]
    )
    window_index: Count = Field(
        default=0, description="Windows of evidence counted in this stage.", examples=[12]
    )
    reading_at: Moment | None = Field(
        default=None, description="When the last window ended, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )
    reading: Annotated[str, Field(max_length=131_072)] = Field(
        default="",
        description="Counters at the end of the last window, as JSON.",
        examples=['{"epochs":["a1"]}'],
    )
    cost_at: Moment | None = Field(
        default=None,
        description="Up to when the dual-run cost has been added, RFC 3339.",
        examples=["2026-11-21T12:00:00Z"],
    )


class PlanSummary(ApiModel):
    """What `kubectl get` shows."""

    target: Line = Field(default="", description="Variant and pool.", examples=["inferentia on inf2"])
    weight: Line = Field(default="", description="Share on the candidate.", examples=["25%"])
    verdict: Line = Field(
        default="", description="The worst verdict of the stage's gates.", examples=["Inconclusive"]
    )


class CutoverPlanStatus(ApiModel):
    """What the operator did and saw."""

    observed_generation: Generation = Field(
        default=-1,
        description="`metadata.generation` that this status is of; -1 before the first.",
        examples=[2],
    )
    phase: Phase | None = Field(
        default=None,
        description="Where the plan is; docs/cutover.md. Completed, RolledBack and Aborted are ends.",
        examples=["Canary"],
    )
    segment: Name | None = Field(default=None, description="Segment that moves.", examples=["batch"])
    step: Count | None = Field(default=None, description="Number of its step, from 1.", examples=[2])
    weight: Percent | None = Field(
        default=None, description="Share of that segment on the candidate, in percent.", examples=[25]
    )
    router: Literal["builtin", "gatewayAPI", "istio"] | None = Field(
        default=None, description="What moves the traffic, chosen once.", examples=["builtin"]
    )
    message: Text | None = Field(
        default=None,
        description="What it waits for, or what came of it.",
        examples=["needs 970 more requests, about 8m"],
    )
    summary: PlanSummary | None = Field(default=None, description="Texts for columns.")
    baseline: SideStatus | None = Field(
        default=None, description="Where the workload was served when the plan began."
    )
    candidate: SideStatus | None = Field(
        default=None, description="Where it is to be served, chosen once when the plan begins."
    )
    segments: Annotated[tuple[SegmentStatus, ...], Field(max_length=9, json_schema_extra=map_by("name"))] = (
        Field(default=(), description="How far each segment is, in order.")
    )
    gates: Annotated[tuple[GateStatus, ...], Field(max_length=108, json_schema_extra=ATOMIC)] = Field(
        default=(), description="What the gates say of the present stage."
    )
    cost: CostStatus | None = Field(default=None, description="What the move costs and saves.")
    approvals: Annotated[tuple[Approval, ...], Field(max_length=12, json_schema_extra=map_by("stage"))] = (
        Field(default=(), description="Stages that wait for a person, or were released by one.")
    )
    started_at: Moment | None = Field(
        default=None, description="When this attempt began, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )
    completed_at: Moment | None = Field(
        default=None, description="When it ended, RFC 3339.", examples=["2026-11-21T12:00:00Z"]
    )
    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=30, json_schema_extra=ATOMIC)] = Field(
        default=(), description="Transitions, the last 30."
    )
    evidence: Annotated[tuple[EvidenceEntry, ...], Field(max_length=128, json_schema_extra=map_by("key"))] = (
        Field(default=(), description="What the tests have gathered in this stage, for a restart.")
    )
    machine: MachineState | None = Field(
        default=None, description="What the operator must know after a restart."
    )
    conditions: Conditions = Field(
        default=(),
        description="Ready; Progressing, Paused, Succeeded and RolledBack; Reconciling and Stalled only "
        "while True.",
    )
