"""An explanation as a document (docs/explain.md describes it) and as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from switchyard.api import Reason
from switchyard.cli.columns import format_columns, format_text
from switchyard.cli.explanation import Explanation, format_options, name_option
from switchyard.cli.plan_report import describe_workload, format_objectives, format_seats
from switchyard.core.placement.comparison import Row
from switchyard.core.placement.cost import format_money
from switchyard.core.placement.cost_curve import Name
from switchyard.core.placement.latency import Objective, format_rate, format_seconds
from switchyard.core.placement.turning_points import PriceTurn, Reign
from switchyard.core.world import Workload

SCHEMA = "switchyard.dev/explanation/v1"
Document = dict[str, Any]
_FIGURES = frozenset({"RATE", "REPLICAS", "DEVICES", "ADDS $/H", "$/H", "$/1K"})
_MOST_REIGNS = 7  # shown around today's demand; JSON has all


def describe_explanation(explanation: Explanation) -> Document:
    """The whole explanation, for machines."""
    facts = explanation.facts
    workload = next(each for each in explanation.planned.world.workloads if each.key == explanation.key)
    return {
        "schema": SCHEMA,
        "currency": explanation.planned.world.settings.currency,
        **{
            name: value
            for name, value in describe_workload(explanation.planned, workload).items()
            if name != "rejected"
        },
        "demand": {
            "requestsPerSecond": facts.mean_rate,
            "peakRequestsPerSecond": facts.peak_rate,
            "plannedRequestsPerSecond": explanation.planned_rate,
            "source": str(facts.demand_source),
        },
        "options": [_describe_row(each) for each in explanation.rows],
        "recommendation": _find_recommendation(explanation, workload),
        "turningPoints": {
            "cheapestNow": _describe_name(explanation.cheapest),
            "demand": [_describe_reign(each) for each in explanation.reigns],
            "prices": [_describe_price_turn(explanation, each) for each in explanation.price_turns],
        },
        "notes": list(explanation.planned.notes),
    }


def format_explanation(explanation: Explanation, document: Document, *, width: int | None) -> str:
    """Header, options, recommendation, turning points, and what refused options would take."""
    parts = [_format_header(explanation, document, width), _format_options(explanation, width)]
    recommendation = document["recommendation"]
    if recommendation:
        parts.append(f"Recommendation\n{_format_recommendation(recommendation, width)}")
    if explanation.reigns:
        parts.append(_format_reigns(explanation, width))
    if explanation.price_turns:
        parts.append(_format_prices(explanation, width))
    needs = _format_needs(explanation.rows, width)
    if needs:
        parts.append(f"What it would take\n{needs}")
    return "\n\n".join(parts)


def _find_recommendation(explanation: Explanation, workload: Workload) -> Document | None:
    """What the operator recommends: it alone has looked at all moves, and for how long they have paid."""
    stored = workload.status.recommendation
    if stored is None:
        return explanation.status.get("recommendation")
    found: Document = stored.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


def _describe_row(row: Row) -> Document:
    return {
        "variant": row.variant,
        "pool": row.pool,
        "verdict": row.standing,
        "reason": row.reason.value if row.reason else "",
        "message": row.message,
        "ratePerReplica": row.rate,
        "replicas": row.replicas,
        "neededReplicas": row.needed_replicas,
        "devices": row.devices,
        "utilisationRatio": None if row.utilisation_ratio is None else round(row.utilisation_ratio, 4),
        "predicted": [_describe_figure(*each) for each in row.predicted],
        "marginalPerHour": _money(row.marginal_per_hour),
        "allocatedPerHour": _money(row.allocated_per_hour),
        "costPerThousandRequests": _money(row.per_thousand),
        "degradation": row.degradation,
        "remedies": [
            {"reason": each.reason.value, "message": each.message, "option": each.option}
            for each in row.remedies
        ],
    }


def _describe_figure(objective: Objective, seconds: float) -> Document:
    return {
        "metric": objective.metric,
        "percentile": objective.percentile,
        "seconds": None if math.isinf(seconds) else round(seconds, 6),
        "targetSeconds": None if math.isinf(objective.target_seconds) else objective.target_seconds,
    }


def _describe_reign(reign: Reign) -> Document:
    return {
        "aboveRequestsPerSecond": round(reign.demand_from, 6),
        "upToRequestsPerSecond": round(reign.demand_to, 6),
        "cheapest": _describe_name(reign.name),
    }


def _describe_price_turn(explanation: Explanation, turn: PriceTurn) -> Document:
    return {
        "pool": turn.pool,
        "devicePerHourNow": _bare_price(explanation, turn.pool, turn.price_now_per_hour),
        "devicePerHour": _bare_price(explanation, turn.pool, turn.price_per_hour),
        "direction": "rise" if turn.is_rise else "fall",
        "before": _describe_name(turn.before),
        "after": _describe_name(turn.after),
    }


def _describe_name(name: Name | None) -> Document | None:
    return {"variant": name[0], "pool": name[1]} if name else None


def _bare_price(explanation: Explanation, pool: str, price: float) -> str:
    """The price as the pool states it: without overhead."""
    ratio = float(explanation.planned.readings.pools[pool].device_hour.overhead_ratio)
    whole, _, cents = f"{price / (1 + ratio):.4f}".partition(".")
    return f"{whole}.{cents.rstrip('0'):0<2}"


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else format_money(amount)


def _format_header(explanation: Explanation, document: Document, width: int | None) -> str:
    facts = explanation.facts
    demand = (
        f"{format_rate(facts.mean_rate)} requests/s, {format_rate(facts.peak_rate)} at peak, planned for "
        f"{format_rate(explanation.planned_rate)} with headroom"
    )
    placement = format_seats(document["placements"])
    if document["isPlaced"]:
        placement += f", {document['costPerHour']} {document['currency']} per hour"
        if document["costPerThousandRequests"]:
            placement += f", {document['costPerThousandRequests']} per thousand requests"
    lines = [("Workload", f"{document['namespace']}/{document['name']}, {document['tier']}")]
    lines += [("Demand", demand), ("Placement", placement)]
    predicted = format_objectives(document["objectives"], document["placements"])
    if document["objectives"] and document["isPlaced"]:
        lines.append(("Predicted", predicted))
    elif document["objectives"]:
        targets = ", ".join(str(each) for each in facts.objectives)
        lines.append(("Objectives", targets))
    budget = [
        f"{amount} per {what}"
        for amount, what in (
            (facts.budget_per_hour, "hour"),
            (facts.budget_per_thousand, "thousand requests"),
        )
        if amount is not None
    ]
    if budget:
        lines.append(("Budget", ", ".join(budget)))
    if document["reason"] == Reason.ProfileEstimated:
        lines.append(("Note", f"{document['reason']}: {document['message']}"))
    if document["reason"]:
        lines.append(("Note", f"{document['reason']}: {document['message']}"))
    return "\n".join(format_text(f"{name + ':':<12}{text}", width=width, indent=12) for name, text in lines)


def _format_options(explanation: Explanation, width: int | None) -> str:
    rows = [
        (
            each.pool,
            each.variant or "-",
            each.standing,
            _format_predicted(each.predicted),
            format_rate(each.rate) if each.rate else "-",
            _format_count(each),
            str(each.devices or "-"),
            _money(each.marginal_per_hour) or "-",
            _money(each.allocated_per_hour) or "-",
            _money(each.per_thousand) or "-",
            _format_reason(each),
        )
        for each in explanation.rows
    ]
    headings = (
        *("POOL", "VARIANT", "VERDICT", "PREDICTED (TARGET)", "RATE", "REPLICAS", "DEVICES"),
        *("ADDS $/H", "$/H", "$/1K", "REASON"),
    )
    return format_columns(headings, rows, width=width, right=_FIGURES)


def _format_count(row: Row) -> str:
    if row.replicas is None:
        return "-"
    if row.standing == "chosen" and row.needed_replicas and row.replicas < row.needed_replicas:
        return f"{row.replicas} of {row.needed_replicas}"
    return str(row.replicas)


def _format_reason(row: Row) -> str:
    told = f"{row.reason}: {row.message}" if row.reason else ""
    return "; ".join(each for each in (_format_level(row), told) if each)


def _format_level(row: Row, before: str = "") -> str:
    return f"{before}fallback {row.degradation}" if row.degradation else ""


def _format_predicted(figures: Sequence[tuple[Objective, float]]) -> str:
    shown = []
    for objective, seconds in figures:
        if math.isinf(objective.target_seconds) and math.isinf(seconds):
            continue
        name, _, target = str(objective).partition(" ≤ ")
        limit = "" if math.isinf(objective.target_seconds) else f" ({target})"
        shown.append(f"{name} {format_seconds(seconds)}{limit}")
    return ", ".join(shown) or "-"


def _format_recommendation(recommendation: Mapping[str, Any], width: int | None) -> str:
    parts = [
        str(recommendation.get("message") or format_seats(recommendation.get("placements", ()))),
        f"saves {recommendation['savingPerHour']} per hour" if "savingPerHour" in recommendation else "",
        f"pays back in {recommendation['payback']}" if "payback" in recommendation else "",
        "" if recommendation.get("settled") else "observed, not settled yet",
        f"no plan yet: {recommendation['waitsFor']}" if "waitsFor" in recommendation else "",
    ]
    return format_text("  " + "; ".join(each for each in parts if each), width=width, indent=2)


def _format_reigns(explanation: Explanation, width: int | None) -> str:
    now = explanation.facts.mean_rate
    reigns = explanation.reigns
    here = next(place for place, each in enumerate(reigns) if each.demand_to >= now)
    first = max(0, min(here - _MOST_REIGNS // 2, len(reigns) - _MOST_REIGNS))
    shown = reigns[first : first + _MOST_REIGNS]
    rows = []
    for each in shown:
        is_here = each is reigns[here]
        option = name_option(each.name) if each.name else "none can carry it"
        rows.append(
            (
                "  " + format_rate(each.demand_from),
                format_rate(each.demand_to),
                option,
                f"now, at {format_rate(now)}" if is_here else "",
            )
        )
    title = "Cheapest by demand, in mean requests/s, all other workloads as they are"
    hidden = len(reigns) - len(shown)
    top = format_rate(explanation.highest_demand)
    more = f"\n  and {hidden} more ranges up to {top} (-o json)" if hidden else ""
    headings = ("  ABOVE", "UP TO", "CHEAPEST", "")
    table = format_columns(headings, rows, width=width, right=frozenset({"UP TO"}))
    text = f"{format_text(title, width=width)}\n{table}{more}"
    chosen = {each.name for each in explanation.rows if each.standing == "chosen"}
    if chosen and explanation.cheapest and explanation.cheapest not in chosen:
        cheapest = name_option(explanation.cheapest)
        note = f"  {cheapest} would be cheapest today; what serves is not moved silently"
        text += "\n" + format_text(note, width=width, indent=2)
    return text


def _format_prices(explanation: Explanation, width: int | None) -> str:
    rows = [
        (
            "  " + turn.pool,
            _bare_price(explanation, turn.pool, turn.price_now_per_hour),
            ("above " if turn.is_rise else "below ")
            + _bare_price(explanation, turn.pool, turn.price_per_hour),
            f"{name_option(turn.after)} is cheaper than {name_option(turn.before)}",
        )
        for turn in explanation.price_turns
    ]
    title = f"Price of a device-hour at which the cheapest changes, in {_currency(explanation)}"
    headings = ("  POOL", "NOW", "TURNS", "THEN")
    table = format_columns(headings, rows, width=width, right=frozenset({"NOW"}))
    return f"{format_text(title, width=width)}\n{table}"


def _currency(explanation: Explanation) -> str:
    return explanation.planned.world.settings.currency


def _format_needs(rows: Sequence[Row], width: int | None) -> str:
    lines = []
    told: set[tuple[Name, str]] = set()
    for row in rows:
        needs = "; ".join(each.message for each in row.remedies)
        if not needs or not row.variant or (row.name, needs) in told:
            continue
        told.add((row.name, needs))
        label = f"  {name_option(row.name)}{_format_level(row, ' as ')}: {needs}"
        lines.append(format_text(label, width=width, indent=4))
        options = format_options(row)
        if options:
            lines.append(f"    {options}")
    bare = [row.pool for row in rows if row.remedies and not row.variant]
    if bare:
        label = f"  {', '.join(bare)}: a variant made for it, with a profile measured there"
        lines.append(format_text(label, width=width, indent=4))
    return "\n".join(lines)
