"""CutoverPlan: moves a live workload from its present track to another, with evidence, and back by itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.cutover_gates import Gate
from switchyard.api.cutover_limits import Budget, Economics, Window
from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.api.cutover_traffic import Segment, Shadow, Step, Steps, Traffic
from switchyard.api.policy import VariantName
from switchyard.api.schema_marks import ATOMIC, SET, map_by, rule, rules, within
from switchyard.api.values import DecimalText, Duration, ObjectName, SubdomainName, Word

Stage = Annotated[
    str,
    Field(max_length=48, pattern=r"^(shadow|canary|promote|segment:[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"),
]
Probability = Annotated[
    Decimal,
    DecimalText(
        r"^0\.(0{1,5}[1-9][0-9]{0,5}|[1-4][0-9]{0,5}|50{0,5})$",
        "give a probability above 0 and at most 0.5 as a string such as '0.01'",
    ),
]

_IS_FREE = (
    "!has(oldSelf.status) || !has(oldSelf.status.phase) || "
    "oldSelf.status.phase in ['Pending', 'Completed', 'RolledBack', 'Aborted']"
)


class WorkloadReference(ApiModel):
    """An InferenceWorkload in the plan's namespace."""

    name: ObjectName = Field(description="Name of the workload.", examples=["chat"])


class Target(ApiModel):
    """Where the workload is to run."""

    variant: VariantName = Field(description="Variant of the workload.", examples=["inferentia"])
    pool: SubdomainName | None = Field(
        default=None,
        description="Pool. Default: the cheapest that the planner finds for this variant, chosen once.",
        examples=["inf2"],
    )


class Analysis(ApiModel):
    """How evidence is gathered, and how sure it must be."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(within("interval", "1s", "10m"), "give an interval of 1s to 10m", ".interval"),
            rule(
                within("inconclusiveAfter", "1s", "168h"),
                "give an inconclusiveAfter of 1s to 168h",
                ".inconclusiveAfter",
            ),
        )
    )

    interval: Duration = Field(
        default=Duration("30s"), description="Length of a window of evidence, 1s to 10m.", examples=["1m"]
    )
    false_rollback_probability: Probability = Field(
        default="0.01",
        description="Most that the probability may be, over the whole plan, that a candidate within all "
        "margins is rolled back; at most 0.5.",
        examples=["0.005"],
        validate_default=True,
    )
    false_promotion_probability: Probability = Field(
        default="0.05",
        description="Most that the probability may be, over the whole plan, that a candidate outside of a "
        "margin is promoted; at most 0.5.",
        examples=["0.01"],
        validate_default=True,
    )
    on_inconclusive: Literal["pause", "rollback"] = Field(
        default="pause",
        description="What to do where the evidence does not decide in time: pause (wait for a person), or "
        "rollback.",
        examples=["rollback"],
    )
    inconclusive_after: Duration = Field(
        default=Duration("15m"),
        description="How long a side may be missing, or a pause for lack of evidence may last, 1s to 168h; "
        "then onInconclusive is carried out.",
        examples=["30m"],
    )


class Rollback(ApiModel):
    """How the way back goes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                within("retainBaseline", "0s", "720h"),
                "give a retainBaseline of at most 720h",
                ".retainBaseline",
            )
        )
    )

    automatic: bool = Field(
        default=True,
        description="False: a failed gate pauses the plan, which waits for a person to resume or abort it.",
        examples=[False],
    )
    scope: Literal["segment", "plan"] = Field(
        default="segment",
        description="What goes back when a gate fails: the segment, or all.",
        examples=["plan"],
    )
    retain_baseline: Duration = Field(
        default=Duration("1h"),
        description="How long the baseline stays warm once all is on the candidate, at most 720h.",
        examples=["24h"],
    )


_SPEC_RULES = rules(
    rule(
        "!has(self.segments) || self.segments.all(s, has(s.match) || "
        "s.name == self.segments[size(self.segments) - 1].name)",
        "only the last segment may leave match out, as it takes all that is left",
        ".segments",
    ),
    rule(
        "!has(self.segments) || self.segments.exists(s, !s.stay)",
        "every segment stays on the baseline, so nothing would move",
        ".segments",
    ),
    rule(
        "!has(self.gates) || self.shadow.percent > 0 || self.gates.all(g, !has(g.parity) && "
        "(!has(g.stages) || g.stages.exists(s, s != 'shadow')))",
        "shadow.percent is 0, and a gate needs copies: give a percent, or leave the gate out",
        ".gates",
    ),
    rule(
        "!has(self.gates) || (self.gates.filter(g, has(g.latency)).size() <= 8 && "
        "self.gates.filter(g, has(g.parity)).size() <= 8)",
        "give at most 8 gates of latency and 8 of parity",
        ".gates",
    ),
    rule(
        "!has(self.approvals) || self.approvals.all(a, !a.startsWith('segment:') || "
        "(has(self.segments) && self.segments.exists(s, a == 'segment:' + s.name && !s.stay)))",
        "approvals must name segments of this plan that move",
        ".approvals",
    ),
    rule(
        "!has(self.approvals) || self.shadow.percent > 0 || !('shadow' in self.approvals)",
        "shadow.percent is 0, so there is no stage shadow to approve",
        ".approvals",
    ),
    rule(
        "!has(self.approved) || self.approved.all(a, (has(self.approvals) && a in self.approvals) || "
        "(has(self.segments) && self.segments.exists(s, s.approval && a == 'segment:' + s.name)))",
        "only stages that approvals (or a segment's approval) asks for can be approved",
        ".approved",
    ),
)


class CutoverPlanSpec(ApiModel):
    """What moves where, in which steps, and what must be seen on the way."""

    model_config = ConfigDict(json_schema_extra=_SPEC_RULES)

    workload_ref: WorkloadReference = Field(
        description="The workload that moves; it can't be changed while the plan is under way.",
        examples=[{"name": "chat"}],
    )
    target: Target = Field(
        description="Where it is to run; it can't be changed while the plan is under way.",
        examples=[{"variant": "inferentia", "pool": "inf2"}],
    )
    traffic: Traffic = Field(
        default_factory=Traffic,
        description="How traffic is moved.",
        examples=[{"router": "builtin"}],
        json_schema_extra={"default": {}},
    )
    shadow: Shadow = Field(
        default_factory=Shadow,
        description="The stage with copies, before users are served by the candidate.",
        examples=[{"percent": 20, "minSamples": 2000}],
        json_schema_extra={"default": {}},
    )
    segments: (
        Annotated[tuple[Segment, ...], Field(min_length=1, max_length=8, json_schema_extra=map_by("name"))]
        | None
    ) = Field(
        default=None,
        description="Parts of the traffic in the order in which they move, least risk first; what none of "
        "them takes stays on the baseline. Default: all traffic as one.",
        examples=[[{"name": "batch", "match": {"tier": "batch"}}, {"name": "rest"}]],
    )
    steps: Steps = Field(
        default=(Step(weight=5), Step(weight=25), Step(weight=50), Step(weight=100)),
        description="Steps of a segment that has none of its own; weights rise to 100.",
        examples=[[{"weight": 10}, {"weight": 50}, {"weight": 100}]],
        json_schema_extra={"default": [{"weight": 5}, {"weight": 25}, {"weight": 50}, {"weight": 100}]},
    )
    gates: Annotated[tuple[Gate, ...], Field(max_length=12, json_schema_extra=map_by("name"))] = Field(
        default=(),
        description="What the candidate is held to, every gate where it applies. Default: errors, latency by "
        "the workload's objectives, and stability.",
        examples=[[{"name": "errors", "errors": {"margin": {"oddsRatio": "1.5"}}}]],
    )
    analysis: Analysis = Field(
        default_factory=Analysis,
        description="How evidence is gathered.",
        examples=[{"interval": "30s"}],
        json_schema_extra={"default": {}},
    )
    rollback: Rollback = Field(
        default_factory=Rollback,
        description="How the way back goes.",
        examples=[{"scope": "plan"}],
        json_schema_extra={"default": {}},
    )
    approvals: Annotated[tuple[Stage, ...], Field(max_length=12, json_schema_extra=SET)] = Field(
        default=(),
        description="Stages that wait for a person before they begin: shadow, canary, `segment:` and the "
        "name of a segment, promote (the removal of the baseline). Default: none.",
        examples=[["canary", "promote"]],
    )
    approved: Annotated[tuple[Stage, ...], Field(max_length=12, json_schema_extra=SET)] = Field(
        default=(),
        description="Stages of approvals that a person has released. Default: none.",
        examples=[["canary"]],
    )
    windows: Annotated[tuple[Window, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = Field(
        default=(),
        description="When traffic may move. Default: at any time.",
        examples=[[{"start": "09:00", "end": "16:00"}]],
    )
    budget: Budget | None = Field(
        default=None,
        description="What the move may cost, and how long it may take. Default: no limit.",
        examples=[{"maxDualRunCost": "250.00"}],
    )
    economics: Economics | None = Field(
        default=None,
        description="Whether it is worth it. Default: not judged.",
        examples=[{"requirePaybackWithin": "2160h"}],
    )
    suspend: bool = Field(
        default=False,
        description="True: the plan stays where it is; a failed gate still rolls back.",
        examples=[True],
    )
    abort: bool = Field(
        default=False,
        description="True: all traffic returns to the baseline, and the plan ends.",
        examples=[True],
    )
    restart_token: Word | None = Field(
        default=None,
        description="Any word; another one than before starts the plan anew after it has ended. Default: "
        "none, and the plan runs once.",
        examples=["2026-11-21-2"],
    )


class CutoverPlan(ApiModel):
    """A plan as the API server holds it, without its metadata."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"{_IS_FREE} || self.spec.target == oldSelf.spec.target",
                "the plan is under way: abort it first, or make another plan for another target",
                ".spec.target",
            ),
            rule(
                f"{_IS_FREE} || self.spec.workloadRef == oldSelf.spec.workloadRef",
                "the plan is under way: abort it first, or make another plan for another workload",
                ".spec.workloadRef",
            ),
        )
    )

    spec: CutoverPlanSpec = Field(description="What an author asks for.")
    status: CutoverPlanStatus = Field(
        default_factory=CutoverPlanStatus, description="How far it is, and what was seen."
    )
