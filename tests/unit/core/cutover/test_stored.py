"""A state comes back from the status as it was written, whatever it is."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.cutover.stored import read_state, write_state
from switchyard.core.cutover.types import Phase, SegmentPlace, SegmentState, Side, State, Transition

words = st.text("abcdefghij-:/ é", max_size=20)
counts = st.integers(0, 2**31 - 1)
percents = st.integers(0, 100)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1)).map(  # noqa: DTZ001  (the zone follows)
    lambda moment: moment.replace(tzinfo=UTC)
)
maybe_moments = st.none() | moments
phases = st.sampled_from(get_args(Phase))
sides = st.none() | st.builds(Side, words, words, words)
segments = st.lists(
    st.builds(SegmentState, words, st.sampled_from(get_args(SegmentPlace)), percents),
    max_size=9,
    unique_by=lambda each: each.name,
).map(tuple)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "phase": phases,
    "attempt": counts,
    "restart_token": words,
    "generation": st.integers(-1, 2**53),
    "inputs_hash": words,
    "router": st.sampled_from([None, "builtin", "gatewayAPI", "istio"]),
    "baseline": sides,
    "candidate": sides,
    "segments": segments,
    "segment_index": counts,
    "step_index": counts,
    "shadow_percent": percents,
    "traffic_version": st.integers(0, 2**53),
    "candidate_replicas": counts,
    "phase_since": maybe_moments,
    "stage_since": maybe_moments,
    "deadline": maybe_moments,
    "started_at": maybe_moments,
    "completed_at": maybe_moments,
    "inconclusive_since": maybe_moments,
    "resume_phase": st.none() | phases,
    "pause_reason": words,
    "rollback_reason": words,
    "rollback_message": words,
    "rollback_to": st.sampled_from(["", "RolledBack", "Aborted"]),
    "rollback_scope": st.sampled_from(["", "segment", "plan"]),
    "requested": st.dictionaries(words, moments, max_size=4),
    "approved": st.dictionaries(words, moments, max_size=4),
    "window_index": counts,
    "reading_at": maybe_moments,
    "reading": words,
    "evidence": st.dictionaries(words, words, max_size=5),
    "restarts_before": counts,
    "drift": words,
    "dual_run_cost": st.decimals(0, 10**9, places=9),
    "cost_at": maybe_moments,
    "history": st.lists(
        st.builds(Transition, moments, phases, words, words, words, percents), max_size=30
    ).map(tuple),
    "message": words,
}


def test_every_field_of_a_state_is_drawn():
    assert set(FIELDS) == {each.name for each in dataclasses.fields(State)}


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries(FIELDS))
def test_a_state_comes_back_as_it_was(told: dict[str, Any]):
    state = State(**told)
    text = json.dumps(write_state(state))
    assert read_state(CutoverPlanStatus.model_validate(json.loads(text))) == state


def test_a_plan_without_a_status_has_not_begun():
    assert read_state(CutoverPlanStatus()) == State()


def test_moments_are_written_in_utc_whatever_zone_they_came_in():
    noon = datetime(2026, 11, 21, 13, tzinfo=timezone(timedelta(hours=1)))
    written = write_state(State(started_at=noon, deadline=noon + timedelta(microseconds=5)))
    assert written["startedAt"] == "2026-11-21T12:00:00Z"
    assert written["machine"]["deadline"] == "2026-11-21T12:00:00.000005Z"


def test_money_is_written_without_an_exponent():
    written = write_state(State(dual_run_cost=Decimal("0E-9")))
    assert written["cost"]["dualRun"] == "0.000000000"
