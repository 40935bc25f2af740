"""A plan as a tree for a terminal: sides, segments, gates with their evidence, approvals, money. Pure.

Colour never says what no word says.
"""

from __future__ import annotations

from decimal import Decimal

from rich.text import Text
from rich.tree import Tree

from switchyard.api.cutover_status import CostStatus, GateStatus, SegmentStatus, SideStatus
from switchyard.cli.cutover_plan import Plan, list_waiting
from switchyard.cli.cutover_report import (
    find_gone,
    find_place,
    find_pool,
    find_shadow_percent,
    format_span,
)
from switchyard.core.placement.cost import format_money

_BAR_WIDTH = 20
_BLOCKS = ("█", "░")
_ASCII_BLOCKS = ("#", ".")
_VERDICT_STYLES = {"Pass": "green", "Fail": "bold red", "Inconclusive": "yellow", "Error": "magenta"}
_PHASE_STYLES = {"Completed": "bold green", "RolledBack": "bold red", "RollingBack": "bold red"}


def build_tree(plan: Plan, *, is_ascii: bool = False, is_short: bool = False, note: str = "") -> Tree:
    """The tree. `is_short`: gates in one line each; `note`: what stands last, as that the picture is old."""
    blocks = _ASCII_BLOCKS if is_ascii else _BLOCKS
    status = plan.status
    tree = Tree(_head(plan))
    if status.message:
        tree.add(Text(status.message))
    if not plan.is_seen:
        tree.add(Text("the operator has not seen the last change of the plan yet", style="yellow"))
    if plan.is_deleting:
        tree.add(Text("is being deleted: all traffic returns to the baseline first", style="yellow"))
    if plan.spec.suspend:
        tree.add(Text("suspended (spec.suspend)", style="yellow"))
    gone = find_gone(plan)
    for name, side in (("baseline ", status.baseline), ("candidate", status.candidate)):
        if side is not None:
            tree.add(_describe_side(name, side, is_gone=name.strip() == gone))
    if status.segments:
        branch = tree.add(Text("segments, share on the candidate"))
        width = max(len(each.name) for each in status.segments)
        for segment in status.segments:
            branch.add(_segment(segment, width, blocks, is_over=bool(gone)))
    if shadow := find_shadow_percent(plan):
        tree.add(Text(f"copies: {shadow} % of the requests, users are not served by them"))
    if status.gates:
        branch = tree.add(Text("gates"))
        for gate in status.gates:
            if is_short:
                branch.add(_gate_in_short(gate))
            else:
                _add_gate(branch, gate, blocks)
    for stage in list_waiting(plan):
        asked = next((each.requested_at for each in status.approvals if each.stage == stage), None)
        since = f" since {asked}" if asked else ""
        tree.add(Text(f"approval of {stage} is waited for{since}", style="yellow"))
    if status.cost is not None:
        tree.add(_cost(status.cost))
    if note:
        tree.add(Text(note, style="yellow"))
    return tree


def _head(plan: Plan) -> Text:
    status = plan.status
    before = f"{_side(status.baseline)} -> " if status.baseline else "-> "
    pool = find_pool(plan)
    after = plan.spec.target.variant + (f" on {pool}" if pool else "")
    head = Text(f"{plan.name}: {plan.spec.workload_ref.name}, {before}{after}: ")
    head.append(plan.phase, style=_PHASE_STYLES.get(plan.phase, "bold"))
    place = find_place(plan) if plan.phase in {"Canary", "Paused", "AwaitingApproval"} else ""
    if place:
        head.append(f", {place}")
    if plan.reason not in {"", plan.phase}:
        head.append(f" ({plan.reason})")
    return head


def _side(side: SideStatus) -> str:
    return f"{side.variant} on {side.pool}"


def _describe_side(name: str, side: SideStatus, *, is_gone: bool) -> Text:
    if is_gone:
        return Text(f"{name}  {_side(side)}, gone")
    ready = f"{side.ready} of {side.replicas} ready"
    return Text(f"{name}  {_side(side)}, {ready}, {format_money(Decimal(side.cost_per_hour))}/h")


def _segment(segment: SegmentStatus, width: int, blocks: tuple[str, str], *, is_over: bool) -> Text:
    line = Text(f"{segment.name:<{width}}  {_bar(segment.weight, blocks)} {segment.weight:>3} %")
    line.append(f"  {segment.state}")
    if is_over:
        return line  # no path is left that could say anything
    if segment.observed_weight is None:
        line.append(", not confirmed by the path yet" if segment.weight else "")
    elif segment.observed_weight != segment.weight:
        line.append(f", the path says {segment.observed_weight} %", style="yellow")
    return line


def _gate(gate: GateStatus) -> Text:
    where = f" ({gate.segment})" if gate.segment else ""
    head = Text(f"{gate.name}{where}: ")
    return head.append(gate.verdict, style=_VERDICT_STYLES[gate.verdict])


def _gate_in_short(gate: GateStatus) -> Text:
    needs = [f"{gate.needed} more" if gate.needed else "", _about(gate), gate.message]
    rest = ", ".join(each for each in needs if each)
    told = f"pass {gate.safe_percent} %, rollback {gate.harm_percent} %"
    return _gate(gate).append(f"  {told}{', ' if rest else ''}{rest}")


def _add_gate(branch: Tree, gate: GateStatus, blocks: tuple[str, str]) -> None:
    head = _gate(gate)
    told = [
        gate.observed,
        f"allowed {gate.margin}" if gate.margin else "",
        f"{gate.samples} samples" if gate.samples else "",
    ]
    told = [each for each in told if each]
    if told:
        head.append(f"  {', '.join(told)}")
    node = branch.add(head)
    if gate.message:
        node.add(Text(gate.message))
    elif gate.missing:
        side = "both sides are" if gate.missing == "both" else f"the {gate.missing} is"
        node.add(Text(f"{side} without data", style="yellow"))
    needs = [f"{gate.needed} more" if gate.needed else "", _about(gate)]
    rest = ", ".join(each for each in needs if each)
    node.add(Text(f"pass     {_bar(gate.safe_percent, blocks)} {gate.safe_percent:>3} %  {rest}".rstrip()))
    harm = Text(f"rollback {_bar(gate.harm_percent, blocks)} {gate.harm_percent:>3} %")
    if gate.harm_percent >= 50:
        harm.stylize("red")
    node.add(harm)


def _about(gate: GateStatus) -> str:
    return f"about {format_span(gate.eta.seconds)}" if gate.eta is not None and gate.verdict != "Pass" else ""


def _cost(cost: CostStatus) -> Text:
    spent = format_money(Decimal(cost.dual_run))
    parts = [f"both sides cost {spent} so far"]
    if cost.expected_dual_run is not None:
        parts[0] += f" of {format_money(Decimal(cost.expected_dual_run))} expected"
    if Decimal(cost.dual_run_per_hour):
        parts[0] += f" ({format_money(Decimal(cost.dual_run_per_hour))}/h)"
    if cost.saving_per_hour is not None:
        saving = Decimal(cost.saving_per_hour)
        kind = f"saves {format_money(saving)}/h" if saving >= 0 else f"costs {format_money(-saving)}/h more"
        parts.append(f"{kind} when done")
    if cost.payback is not None:
        parts.append(f"pays back in {format_span(cost.payback.seconds)}")
    parts += _describe_requests(cost)
    return Text("money: " + ", ".join(parts))


def _describe_requests(cost: CostStatus) -> list[str]:
    """What a thousand requests cost before and after: as predicted, and once it is known as observed."""
    told = {"predicted": cost.candidate_per_thousand, "observed": cost.observed_per_thousand}
    known = [f"{format_money(Decimal(text))} {kind}" for kind, text in told.items() if text is not None]
    if not known or cost.baseline_per_thousand is None:
        return []
    return [f"1000 requests {format_money(Decimal(cost.baseline_per_thousand))} -> {', '.join(known)}"]


def _bar(percent: int, blocks: tuple[str, str]) -> str:
    filled = percent * _BAR_WIDTH // 100
    return blocks[0] * filled + blocks[1] * (_BAR_WIDTH - filled)
