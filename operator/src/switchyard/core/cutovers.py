"""Plans as the operator carries them on: the machine, the word of its gates, and how its state is written."""

from __future__ import annotations

from functools import partial

from switchyard.core.cutover.describe import describe_plan
from switchyard.core.cutover.machine import step
from switchyard.core.cutover.stored import read_state
from switchyard.core.cutover.types import Observation, PlanFacts, State, Stepped
from switchyard.core.decide_plan import Machine, Reported, Weigh, decide_plan
from switchyard.core.decisions import EventNote
from switchyard.core.plans import Cutovers
from switchyard.core.reports import write_status
from switchyard.core.world import Plan

_KIND = "CutoverPlan"


def build_cutovers(weigh: Weigh) -> Cutovers:
    """How plans are read and carried on, with `weigh` for the word of the gates."""
    machine = Machine(weigh=weigh, step=step, report=report_plan)
    return Cutovers(recall=recall_plan, carry_on=partial(decide_plan, machine=machine))


def recall_plan(plan: Plan) -> State:
    """What the status of a plan remembers. Raises ValueError where that can't be read."""
    return read_state(plan.status)


def report_plan(plan: Plan, facts: PlanFacts, stepped: Stepped, seen: Observation) -> Reported:
    """The status where it differs from what is stored, and the events of the step.

    The step says all that happened: changed conditions cause no events of their own.
    """
    fields, findings = describe_plan(facts, stepped.state, seen, plan.status)
    status, _ = write_status(_KIND, plan.meta, plan.status, fields=fields, findings=findings, now=seen.now)
    notes = stepped.notes
    return status, tuple(EventNote(_KIND, plan.meta, each.type, each.reason, each.message) for each in notes)
