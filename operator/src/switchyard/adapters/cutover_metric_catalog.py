"""The metrics of cutover plans as data."""

from __future__ import annotations

from switchyard.adapters.metric_spec import MetricSpec

_PLAN = ("namespace", "name")
_GATE = (*_PLAN, "segment", "gate")

INFO = MetricSpec(
    "switchyard_cutover_info",
    "gauge",
    "Always 1; the labels say which workload a plan moves to which variant and pool, and by which router. "
    "What is not chosen yet is empty.",
    (*_PLAN, "workload", "variant", "pool", "router"),
)
PHASE = MetricSpec(
    "switchyard_cutover_phase",
    "gauge",
    "1 for the phase that a plan is in, 0 for all others.",
    (*_PLAN, "phase"),
)
CONDITION = MetricSpec(
    "switchyard_cutover_condition",
    "gauge",
    "1 when the condition (Ready, Progressing, Paused, Succeeded, RolledBack) is True, 0 when False, NaN "
    "when Unknown. Reconciling and Stalled are there only while True.",
    (*_PLAN, "condition"),
)
WAITING = MetricSpec(
    "switchyard_cutover_waiting",
    "gauge",
    "1 while a plan waits for something, by reason.",
    (*_PLAN, "reason"),
)
DEADLINE = MetricSpec(
    "switchyard_cutover_deadline_timestamp_seconds",
    "gauge",
    "When the present phase of a plan must have ended, as Unix time; absent after the end.",
    _PLAN,
)
ROLLBACKS = MetricSpec(
    "switchyard_cutover_rollbacks_total",
    "counter",
    "Times that a plan began its way back, by reason. After a restart of the operator: those in its history.",
    (*_PLAN, "reason"),
)
ROUTE_DRIFT = MetricSpec(
    "switchyard_cutover_route_drift_total",
    "counter",
    "Fields on a plan's path that were found changed by somebody else, at each look; they are written back. "
    "Not counted while the plan gives the traffic back.",
    _PLAN,
)
SEGMENT_WEIGHT = MetricSpec(
    "switchyard_cutover_segment_weight_ratio",
    "gauge",
    "Share of a segment's requests that is asked for on the candidate.",
    (*_PLAN, "segment"),
)
SEGMENT_WEIGHT_OBSERVED = MetricSpec(
    "switchyard_cutover_segment_weight_observed_ratio",
    "gauge",
    "Share of a segment's requests on the candidate that the path confirmed.",
    (*_PLAN, "segment"),
)
SHADOW = MetricSpec(
    "switchyard_cutover_shadow_ratio",
    "gauge",
    "Share of requests that is asked to be copied to the candidate.",
    _PLAN,
)
GATE_VERDICT = MetricSpec(
    "switchyard_cutover_gate_verdict",
    "gauge",
    "1 when a gate says Pass of the present stage, 0 when Fail, NaN when Inconclusive or Error. The segment "
    "is empty where it speaks of all traffic.",
    _GATE,
)
GATE_HARM = MetricSpec(
    "switchyard_cutover_gate_harm_evidence_ratio",
    "gauge",
    "Evidence that a gate's margin is broken, as a share of what a rollback takes.",
    _GATE,
)
GATE_SAFE = MetricSpec(
    "switchyard_cutover_gate_safe_evidence_ratio",
    "gauge",
    "Evidence that a gate's margin is kept, as a share of what a pass takes.",
    _GATE,
)
GATE_SAMPLES = MetricSpec(
    "switchyard_cutover_gate_samples",
    "gauge",
    "Requests or pairs on the candidate that a gate has judged in the present stage.",
    _GATE,
)
SAMPLES_NEEDED = MetricSpec(
    "switchyard_cutover_samples_needed",
    "gauge",
    "Requests or pairs that a gate still needs for a verdict; absent where it can't tell.",
    _GATE,
)
EVIDENCE_AGE = MetricSpec(
    "switchyard_cutover_evidence_age_seconds",
    "gauge",
    "Time since the last window of evidence ended, or since the stage began where it has none (not yet, or "
    "not any more after a time without samples). Only while gates are judged.",
    _PLAN,
)
ANALYSIS_INTERVAL = MetricSpec(
    "switchyard_cutover_analysis_interval_seconds",
    "gauge",
    "Length of a window of evidence that the plan asks for.",
    _PLAN,
)
DUAL_RUN_COST = MetricSpec(
    "switchyard_cutover_dual_run_cost",
    "gauge",
    "What running both sides has cost so far, in the currency of the operator's settings.",
    _PLAN,
)
DUAL_RUN_RATE = MetricSpec(
    "switchyard_cutover_dual_run_cost_per_hour",
    "gauge",
    "What the second side costs per hour now, in the currency of the operator's settings.",
    _PLAN,
)
DUAL_RUN_BUDGET = MetricSpec(
    "switchyard_cutover_dual_run_budget",
    "gauge",
    "What running both sides may cost (budget.maxDualRunCost); absent where there is no limit.",
    _PLAN,
)
COST_PER_THOUSAND = MetricSpec(
    "switchyard_cutover_cost_per_thousand_requests",
    "gauge",
    "Cost of a thousand requests, by what it is of: baseline, candidate (predicted), observed (on the "
    "candidate).",
    (*_PLAN, "of"),
)
SAVING = MetricSpec(
    "switchyard_cutover_saving_per_hour",
    "gauge",
    "What the move saves per hour once it is done, in the currency of the operator's settings; below 0 where "
    "it costs more.",
    _PLAN,
)
PAYBACK = MetricSpec(
    "switchyard_cutover_payback_seconds",
    "gauge",
    "Time in which that saving repays the move; absent where there is no saving.",
    _PLAN,
)

CUTOVER_METRICS = (
    INFO,
    PHASE,
    CONDITION,
    WAITING,
    DEADLINE,
    ROLLBACKS,
    ROUTE_DRIFT,
    SEGMENT_WEIGHT,
    SEGMENT_WEIGHT_OBSERVED,
    SHADOW,
    GATE_VERDICT,
    GATE_HARM,
    GATE_SAFE,
    GATE_SAMPLES,
    SAMPLES_NEEDED,
    EVIDENCE_AGE,
    ANALYSIS_INTERVAL,
    DUAL_RUN_COST,
    DUAL_RUN_RATE,
    DUAL_RUN_BUDGET,
    COST_PER_THOUSAND,
    SAVING,
    PAYBACK,
)
