"""Plans as trees and lines, against texts that are kept here."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console
from rich.tree import Tree
from tests.unit.cli.cutover_objects import AT, CANARY, SIDES, in_phase, plan, plan_body

from switchyard.cli.cutover_cluster import Unreachable
from switchyard.cli.cutover_plan import CutoverError, Exit, Plan, read_plan
from switchyard.cli.cutover_report import describe_status, format_line, format_list, format_span
from switchyard.cli.cutover_screen import fit_tree
from switchyard.cli.cutover_tree import build_tree
from switchyard.cli.cutover_watch import Lines, Timing, follow


def render(given: Plan, **options: Any) -> str:
    return render_of(build_tree(given, **options))


def render_of(tree: Tree) -> str:
    console = Console(width=120, color_system=None, record=True, file=io.StringIO())
    console.print(tree)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


def test_a_plan_amid_its_canary() -> None:
    assert (
        render(plan(CANARY))
        == """\
chat-to-neuron: chat, gpu on l4 -> neuron on inf2: Canary, batch at 25 % (step 2)
├── needs 970 more requests, about 8m
├── baseline   gpu on l4, 2 of 2 ready, 1.61/h
├── candidate  neuron on inf2, 1 of 1 ready, 0.76/h
├── segments, share on the candidate
│   ├── batch      █████░░░░░░░░░░░░░░░  25 %  Moving, the path says 5 %
│   └── customers  ░░░░░░░░░░░░░░░░░░░░   0 %  Baseline
├── gates
│   ├── errors (batch): Inconclusive  0.4 % against 0.3 %, allowed odds x1.5, 1830 samples
│   │   ├── pass     ████████████░░░░░░░░  64 %  970 more, about 8m
│   │   └── rollback ██░░░░░░░░░░░░░░░░░░  12 %
│   └── stability: Pass  0 restarts
│       ├── pass     ████████████████████ 100 %
│       └── rollback ░░░░░░░░░░░░░░░░░░░░   0 %
└── money: both sides cost 3.10 so far of 9.60 expected (0.76/h), saves 0.90/h when done, pays back in 2h 30m, 1000
    requests 0.031 -> 0.019 predicted"""
    )


def test_the_cost_of_requests_is_told_as_predicted_and_as_observed() -> None:
    cost = {**CANARY["cost"], "observedPerThousand": "0.021"}
    assert "1000 requests 0.031 -> 0.019 predicted, 0.021 observed" in " ".join(
        render(plan({**CANARY, "cost": cost})).split()
    )


def test_a_plan_in_shadow_without_data_where_only_ascii_is_known() -> None:
    gate = {"name": "errors", "missing": "candidate"}
    shown = render(
        plan({**SIDES, **in_phase("Shadowing", gates=[gate], machine={"shadowPercent": 20})}), is_ascii=True
    )
    assert "copies: 20 % of the requests, users are not served by them" in shown
    assert "the candidate is without data" in shown
    assert "pass     ....................   0 %" in shown


def test_a_plan_that_waits_for_a_person_says_for_what() -> None:
    status = in_phase("AwaitingApproval", approvals=[{"stage": "canary", "requestedAt": AT}])
    assert f"approval of canary is waited for since {AT}" in render(plan(status, approvals=["canary"]))


@pytest.mark.parametrize(
    ("phase", "machine", "head"),
    [
        ("Paused", {"pauseReason": "OutsideWindow"}, "Paused (OutsideWindow)"),
        ("AwaitingApproval", {"pauseReason": "AwaitingApproval"}, "AwaitingApproval"),
        ("RolledBack", {"rollbackReason": "GateFailed", "pauseReason": "x"}, "RolledBack (GateFailed)"),
        ("Aborted", {"rollbackReason": "Aborted"}, "Aborted"),
        ("Completed", {"pauseReason": "x"}, "Completed"),
    ],
)
def test_the_head_says_why_where_the_phase_does_not(phase: str, machine: dict[str, str], head: str) -> None:
    shown = render(plan(in_phase(phase, machine=machine)))
    assert shown.splitlines()[0] == f"chat-to-neuron: chat, -> neuron: {head}"


@pytest.mark.parametrize(
    ("phase", "weight", "gone", "stays"),
    [
        ("Completed", 100, "baseline   gpu on l4, gone", "candidate  neuron on inf2, 1 of 1 ready"),
        ("RolledBack", 0, "candidate  neuron on inf2, gone", "baseline   gpu on l4, 2 of 2 ready"),
    ],
)
def test_of_a_plan_that_has_ended_one_side_is_gone_and_no_path_confirms_anything(
    phase: str, weight: int, gone: str, stays: str
) -> None:
    segments = [{"name": "all", "state": "Candidate", "weight": weight}]
    shown = render(plan({**SIDES, **in_phase(phase, segments=segments)}))
    assert gone in shown
    assert stays in shown
    assert "confirmed" not in shown


def test_a_plan_that_nobody_has_seen() -> None:
    assert (
        render(plan({"observedGeneration": -1}))
        == """\
chat-to-neuron: chat, -> neuron: Pending
└── the operator has not seen the last change of the plan yet"""
    )


def test_a_plan_that_is_higher_than_the_terminal_is_shown_in_short() -> None:
    shown = io.StringIO()
    console = Console(width=120, height=14, color_system=None, file=shown)
    console.print(fit_tree(plan(CANARY), console))
    assert (
        "│   ├── errors (batch): Inconclusive  pass 64 %, rollback 12 %, 970 more, about 8m"
        in shown.getvalue()
    )
    assert len(shown.getvalue().splitlines()) < 14
    console = Console(width=120, height=50, color_system=None, file=io.StringIO())
    assert render_of(fit_tree(plan(CANARY), console)) == render(plan(CANARY))


def test_a_target_that_costs_more_is_not_said_to_save() -> None:
    assert "costs 0.85/h more when done" in render(plan({"cost": {"savingPerHour": "-0.85"}}))


def test_a_plan_that_is_being_deleted() -> None:
    body = plan_body(status=CANARY)
    body["metadata"]["deletionTimestamp"] = AT
    assert "is being deleted: all traffic returns to the baseline first" in render(read_plan(body))


def test_texts_of_others_are_no_markup() -> None:
    assert "[red]boom[/red]" in render(plan(in_phase("Paused", message="[red]boom[/red]")))


def test_a_line_for_a_log() -> None:
    assert format_line(plan(CANARY)) == (
        "Canary; batch at 25 % (step 2); errors/batch Inconclusive, stability Pass: "
        "needs 970 more requests, about 8m"
    )
    assert format_line(plan({"observedGeneration": -1})) == "Pending: not seen by the operator yet"


def test_a_list_of_plans() -> None:
    plans = [plan({**CANARY, "summary": {"verdict": "Inconclusive"}}), read_plan(plan_body("new"))]
    assert (
        format_list(plans, has_namespaces=False, width=None)
        == """\
NAME            WORKLOAD  TARGET          PHASE    SEGMENT  WEIGHT  VERDICT       MESSAGE
chat-to-neuron  chat      neuron on inf2  Canary   batch       25%  Inconclusive  needs 970 more requests, about 8m
new             chat      neuron          Pending  -             -  -"""
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (3600, "1h"),
        (9000, "2h 30m"),
        (90_000, "1d 1h"),
        (86_400, "1d"),
    ],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


def test_the_document_for_machines_keeps_its_names() -> None:
    document = describe_status(plan(CANARY, approvals=["promote"]))
    assert list(document) == [
        *("schema", "namespace", "name", "workload", "target", "router", "phase", "outcome", "exitCode"),
        *(
            "isEnded",
            "isSeen",
            "isDeleting",
            "isSuspended",
            "reason",
            "message",
            "waitsForApproval",
            "segment",
            "step",
        ),
        *("weight", "shadowPercent", "baseline", "candidate", "segments", "gates", "etaSeconds", "cost"),
        *("startedAt", "completedAt", "history"),
    ]
    assert document["outcome"] == "waiting"
    assert document["etaSeconds"] == 480
    assert document["gates"][0]["needed"] == 970
    assert document["cost"]["dualRun"] == "3.10"


@pytest.mark.parametrize(
    ("phase", "outcome", "code"),
    [("Completed", "succeeded", 0), ("RolledBack", "rolledBack", 2), ("Aborted", "aborted", 2)],
)
def test_the_document_names_the_outcome(phase: str, outcome: str, code: int) -> None:
    document = describe_status(plan(in_phase(phase, machine={"rollbackReason": "GateFailed"})))
    assert (document["outcome"], document["exitCode"]) == (outcome, code)
    assert document["reason"] == ("" if phase == "Completed" else "GateFailed")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def timing(self, timeout_seconds: float | None = None) -> Timing:
        return Timing(2.0, timeout_seconds, lambda: self.seconds, self.sleep)


def look_at(*answers: Plan | Exception) -> Any:
    """Gives the answers one by one, the last for ever."""
    left = list(answers)

    def look() -> Plan:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


def test_following_ends_with_the_plan() -> None:
    shown: list[str] = []
    answers = [plan(CANARY), plan(in_phase("RollingBack")), plan(in_phase("RolledBack"))]
    code = follow(look_at(*answers), lambda given, _: shown.append(given.phase), Clock().timing())
    assert code is Exit.FAILED
    assert shown == ["Canary", "RollingBack", "RolledBack"]


def test_following_ends_at_its_timeout_and_not_before() -> None:
    clock = Clock()
    assert follow(look_at(plan(CANARY)), lambda *_: None, clock.timing(5.0)) is Exit.TIMEOUT
    assert clock.seconds == 5.0


def test_following_outlasts_an_api_server_that_is_away() -> None:
    told: list[str] = []
    answers = [
        plan(CANARY),
        Unreachable("the API server does not answer: refused"),
        plan(in_phase("Completed")),
    ]
    code = follow(look_at(*answers), lambda _, problem: told.append(problem), Clock().timing())
    assert code is Exit.SUCCEEDED
    assert told == ["", "the API server does not answer: refused; asking again", ""]


@pytest.mark.parametrize("answers", [[Unreachable("away")], [plan(CANARY), CutoverError("gone")]])
def test_following_fails_where_nothing_is_to_be_followed(answers: list[Any]) -> None:
    with pytest.raises(CutoverError):
        follow(look_at(*answers), lambda *_: None, Clock().timing())


def test_lines_are_news_or_a_minute_apart() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    written: list[str] = []
    lines = Lines(written.append, lambda: now)
    for seconds, status in [
        (0, CANARY),
        (10, {**CANARY, "message": "needs 900 more requests"}),
        (30, {**CANARY, "weight": 50}),
        (80, {**CANARY, "weight": 50, "message": "needs 700 more requests"}),
        (91, {**CANARY, "weight": 50, "message": "needs 600 more requests"}),
    ]:
        now = datetime(2026, 11, 21, 12, tzinfo=UTC) + timedelta(seconds=seconds)
        lines.show(plan(status), "")
    assert [line.split(" ", 1)[0][-9:] for line in written] == ["12:00:00Z", "12:00:30Z", "12:01:31Z"]
    assert "batch at 50 %" in written[1]
    assert "needs 600" in written[2]
