"""A plan as it goes on, told line by line, and what came of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from switchyard.api.cutover_status import CutoverPlanStatus, GateStatus, HistoryEntry
from switchyard.cli.callers import Count
from switchyard.cli.cutover_plan import Plan, find_eta_seconds
from switchyard.cli.cutover_report import format_span
from switchyard.core.placement.cost import format_money

_INDENT = " " * 9
_PASSED = "; passed: "  # what the history says of gates is told gate by gate
_FIGURES = re.compile(r"gate (\S+?)(?: in segment (\S+?))?: (.*?)(?=; gate |$)")
_TITLES = {"RouteNotEffective": "share"}  # of requests that reach the candidate
_PROGRESS_SECONDS = 3.0


@dataclass
class Teller:
    """Writes what is new of a plan at each look. `count`: what users got up to now."""

    write: Callable[[str], None]
    count: Callable[[], Count]
    now_seconds: Callable[[], float]
    by_phase: dict[str, Count] = field(default_factory=dict)
    _begun: float | None = None
    _told: int = 0
    _progress_at: float = 0.0
    _before: tuple[str, Count] | None = None

    def show(self, plan: Plan, problem: str) -> None:
        """Write what happened since the last look: what the gates came to, then what began."""
        now = self.now_seconds()
        if self._begun is None:
            self._begun = self._progress_at = now
        if problem:
            self.write(f"{_INDENT}{problem}")
            return
        self._count_phase(plan.phase)
        news = plan.status.history[self._told :]
        for index, entry in enumerate(news, start=self._told):
            earlier = plan.status.history[index - 1].message if index else ""
            for line in list_passed(entry):
                self.write(f"{_INDENT}{line}")
            self.write(f"{now - self._begun:6.1f} s {_describe_entry(entry, earlier, plan.status)}")
            if entry.phase == "RollingBack":
                for line in describe_gates(plan.status.gates):
                    self.write(f"{_INDENT}{line}")
        self._told += len(news)
        if news or now - self._progress_at >= _PROGRESS_SECONDS:
            self._progress_at = now
            if not news and not plan.is_ended:
                self.write(f"{_INDENT}{_describe_progress(plan)}")

    def _count_phase(self, phase: str) -> None:
        """Add what users got since the last look to the phase that the plan was in then."""
        count = self.count()
        if self._before is not None:
            name, earlier = self._before
            self.by_phase[name] = self.by_phase.get(name, Count()).plus(count.since(earlier))
        self._before = phase, count


def list_passed(entry: HistoryEntry) -> Iterator[str]:
    """A line for each gate that let the plan go on, with its segments, from what the history says of them."""
    figures = entry.message.partition(_PASSED)[2]
    by_gate: dict[str, list[str]] = {}
    for name, segment, told in _FIGURES.findall(figures):
        by_gate.setdefault(name, []).append(f"{segment} {told}" if segment else told)
    width = max((len(_TITLES.get(each, each)) for each in by_gate), default=0)
    for name, told in by_gate.items():
        yield f"{_TITLES.get(name, name):<{width}}  passed: {'; '.join(told)}"


def describe_gates(gates: Sequence[GateStatus]) -> Iterator[str]:
    """A line for each gate, with its segments."""
    names = list(dict.fromkeys(each.name for each in gates))
    width = max((len(_TITLES.get(each, each)) for each in names), default=0)
    for name in names:
        parts = [each for each in gates if each.name == name]
        seen = "; ".join(
            f"{f'{each.segment} ' if each.segment else ''}{each.verdict}, {each.observed or each.message}"
            f"{f', {each.samples} samples' if each.samples else ''}"
            for each in parts
        )
        allowed = f"; allowed {parts[0].margin}" if parts[0].margin else ""
        yield f"{_TITLES.get(name, name):<{width}}  {seen}{allowed}"


def _describe_entry(entry: HistoryEntry, earlier: str, status: CutoverPlanStatus) -> str:
    """What began, without what the lines before have said already, and the cost so far."""
    message, cost = entry.message.partition(_PASSED)[0], ""
    if earlier and earlier in message:
        message = message.partition(earlier)[2].lstrip("; ")
    if status.cost is not None and Decimal(status.cost.dual_run):
        cost = f"  ({format_money(Decimal(status.cost.dual_run))} for both sides so far)"
    return f"{entry.phase:<12} {message}{cost}"


def _describe_progress(plan: Plan) -> str:
    """What the evidence still lacks, of the gate that lacks most."""
    open_gates = [each for each in plan.status.gates if each.verdict == "Inconclusive"]
    if not open_gates:
        return plan.status.message or plan.phase
    slowest = max(open_gates, key=lambda each: (each.needed or 0, -each.safe_percent))
    place = f"{slowest.name} of {slowest.segment}" if slowest.segment else slowest.name
    eta = find_eta_seconds(plan)
    needs = [f"{slowest.needed} requests to go" if slowest.needed else slowest.message]
    needs.append(f"about {format_span(eta)}" if eta is not None else "")
    rest = ", ".join(each for each in needs if each)
    return (
        f"{len(open_gates)} of {len(plan.status.gates)} gates are open; {place}: "
        f"pass {slowest.safe_percent} %, rollback {slowest.harm_percent} %{f'; {rest}' if rest else ''}"
    )


def describe_money(status: CutoverPlanStatus) -> str:
    """What the move cost and saves, from the status."""
    cost = status.cost
    if cost is None:
        return "the status says nothing of money"
    parts = [f"both sides cost {format_money(Decimal(cost.dual_run))}"]
    if cost.expected_dual_run is not None:
        parts[0] += f" ({format_money(Decimal(cost.expected_dual_run))} expected)"
    if cost.saving_per_hour is not None:
        saving = Decimal(cost.saving_per_hour)
        word = "saves" if saving >= 0 else "would cost"
        parts.append(f"{word} {format_money(abs(saving))} per hour{'' if saving >= 0 else ' more'}")
    if cost.baseline_per_thousand is not None and cost.candidate_per_thousand is not None:
        before, after = Decimal(cost.baseline_per_thousand), Decimal(cost.candidate_per_thousand)
        parts.append(f"a thousand requests {format_money(before)} -> {format_money(after)}")
    if cost.payback is not None:
        parts.append(f"pays back in {format_span(cost.payback.seconds)}")
    return ", ".join(parts)
