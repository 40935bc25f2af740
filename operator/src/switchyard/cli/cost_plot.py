"""Pictures of cost against demand, one line per option: PNG or SVG with matplotlib, or in the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from switchyard.cli.explanation import Explanation, name_option
from switchyard.core.placement.cost_curve import Name, Segment, cost_at, trace_cost

# Okabe and Ito, "Color Universal Design": told apart by people with any common colour blindness; no yellow,
# which is too light on white. Dashes tell the lines apart without colour.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 2)))
_GREY = "#444444"
_MOST_LINES = len(_COLOURS)
_HIGHEST_COST_RATIO = 2.5  # of the dearest cheapest option in sight: what is far above goes out of the frame
SUFFIXES = (".png", ".svg")
_MARKERS = ("█", "o", "x", "+", "*", "#", "%")
_WIDEST_DRAWING, _DRAWING_HEIGHT = 120, 24


class PlotError(Exception):
    """The picture can't be drawn; the message says the way out."""


@dataclass(frozen=True, slots=True)
class Line:
    """One option: its points from left to right, gaps as separate runs."""

    name: Name
    label: str
    runs: tuple[tuple[tuple[float, float], ...], ...]
    is_chosen: bool
    ends_early: bool  # no room, or over budget, before the right edge


def draw_lines(explanation: Explanation) -> tuple[Line, ...]:
    """The options to show: the chosen, then by cost at today's demand; at most seven."""
    highest = explanation.highest_demand
    now = explanation.facts.mean_rate
    chosen = {each.name for each in explanation.rows if each.standing == "chosen"}
    replicas = {each.name: each.replicas for each in explanation.rows}
    priced = []
    for offer in explanation.offers:
        segments = trace_cost(offer, 0.0, highest)
        if not segments:
            continue
        cost = cost_at(offer, now)
        rank = (offer.name not in chosen, cost is None, cost if cost is not None else segments[0].cost_from)
        label = name_option(offer.name)
        if offer.name in chosen:
            label += f" (chosen, x{replicas[offer.name]})"
        priced.append(
            (
                rank,
                Line(
                    offer.name,
                    label,
                    _join(segments),
                    offer.name in chosen,
                    segments[-1].demand_to < highest * (1 - 1e-9),
                ),
            )
        )
    return tuple(line for _, line in sorted(priced, key=lambda each: (each[0], each[1].name))[:_MOST_LINES])


def save_plot(explanation: Explanation, path: Path) -> None:
    """Write the picture as the suffix says. Raises PlotError."""
    if path.suffix.lower() not in SUFFIXES:
        raise PlotError(f"--plot {path}: give a name that ends in .png or .svg, or - for the terminal")
    lines, top, dearer = _frame(_require_lines(explanation))
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotError(
            f"--plot {path}: pictures need matplotlib: pip install 'switchyard[plot]', or give --plot -"
        ) from None
    figure = Figure(figsize=(9.6, 5.4), layout="constrained")
    axes = figure.add_subplot()
    for number, line in enumerate(lines):
        _draw_line(axes, line, _COLOURS[number], _DASHES[number], explanation.facts.mean_rate)
    _mark_demand(axes, explanation, top)
    _label_axes(axes, explanation, top)
    _add_legend(axes, lines, dearer)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise PlotError(f"--plot {path}: can't be written: {error.strerror}") from None


def _draw_line(axes: Any, line: Line, colour: str, dash: Any, now: float) -> None:
    """The chosen line is thick and under the others: where two cost the same, both are seen."""
    for place, run in enumerate(line.runs):
        axes.plot(
            *zip(*run, strict=True),
            color=colour,
            linestyle=dash,
            linewidth=3.6 if line.is_chosen else 1.8,
            alpha=0.85,
            label=line.label if not place else None,
            zorder=2 if line.is_chosen else 3,
        )
    if line.ends_early:
        axes.plot(*line.runs[-1][-1], marker="x", markersize=8, markeredgewidth=2, color=colour)
    if line.is_chosen:
        axes.plot(*_point_at(line, now), marker="o", markersize=8, color="#222222", zorder=4)


def _mark_demand(axes: Any, explanation: Explanation, top: float) -> None:
    """Today's demand as a dashed line, and a tick at each demand where the cheapest option changes."""
    now = explanation.facts.mean_rate
    for turn in explanation.reigns[:-1]:
        axes.axvline(turn.demand_to, ymax=0.015, color=_GREY, linewidth=1.2, zorder=1)
    axes.axvline(now, color=_GREY, linestyle=(0, (2, 2)), linewidth=1.3, zorder=1)
    place = {"xytext": (5, -4), "textcoords": "offset points", "va": "top"}
    axes.annotate(f"now {now:g}/s", (now, top), color=_GREY, fontsize=9, **place)


def _label_axes(axes: Any, explanation: Explanation, top: float) -> None:
    namespace, name = explanation.key
    planned_ratio = explanation.planned_rate / explanation.facts.mean_rate
    axes.set_title(f"What {namespace}/{name} would cost by demand", loc="left", fontsize=13, weight="bold")
    axes.set_xlabel(f"Mean demand (requests/s); planned for {planned_ratio:.3g} times as many")
    axes.set_ylabel(f"Added to the bill ({_currency(explanation)} per hour)")
    axes.set_xlim(0, explanation.highest_demand)
    axes.set_ylim(0, top)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _add_legend(axes: Any, lines: Sequence[Line], dearer: Sequence[str]) -> None:
    if any(line.ends_early for line in lines):
        cross = {"marker": "x", "markeredgewidth": 2, "linestyle": "none", "color": _GREY}
        axes.plot([], [], label="no more room or budget", **cross)
    for label in dearer:
        axes.plot([], [], linestyle="none", label=f"{label}: dearer, above")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, title="Pool/variant", alignment="left"
    )


def format_plot(explanation: Explanation) -> str:
    """The picture for a terminal, in plain characters. Raises PlotError."""
    lines, top, dearer = _frame(_require_lines(explanation))
    import plotext

    figure = plotext.figure
    figure.clear()
    plotext.terminal.limit(False, False)
    figure.plot_size(min(_WIDEST_DRAWING, shutil.get_terminal_size().columns), _DRAWING_HEIGHT)
    figure.theme("colorless")  # the markers tell lines apart on any background, and in a pipe
    figure.line(explanation.facts.mean_rate, "vertical", relative=False, style="dotted")
    for number, line in reversed(list(enumerate(lines))):
        for run in line.runs:
            xs, ys = zip(*_cut(run, top), strict=True)
            figure.draw(figure.signal(xs, ys, marker=_MARKERS[number]).lines())
    figure.ruler("x").lim(0, explanation.highest_demand)
    figure.ruler("y").lim(0, top)
    namespace, name = explanation.key
    figure.title(f"What {namespace}/{name} would cost by demand, in {_currency(explanation)} per hour")
    figure.label(f"mean demand (requests/s); dotted: now, {explanation.facts.mean_rate:g}/s", "x")
    drawn: str = figure.build().string(colorless=True)
    legend = [f"     {_MARKERS[number] * 3} {line.label}" for number, line in enumerate(lines)]
    legend += [f"     dearer, above the frame: {', '.join(dearer)}"] if dearer else []
    return "\n".join([*(each.rstrip() for each in drawn.splitlines()), *legend])


def _cut(run: Sequence[tuple[float, float]], top: float) -> list[tuple[float, float]]:
    """The points of a run with those above the frame moved onto its edge."""
    return [(x, min(y, top)) for x, y in run]


def _require_lines(explanation: Explanation) -> tuple[Line, ...]:
    lines = draw_lines(explanation)
    if not lines:
        raise PlotError("--plot: no option can be had at any demand, so there is nothing to draw")
    return lines


def _join(segments: Sequence[Segment]) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Points of a curve; a gap between segments begins a new run."""
    runs: list[list[tuple[float, float]]] = []
    end = None
    for each in segments:
        if end is None or each.demand_from > end * (1 + 1e-12):
            runs.append([])
        runs[-1] += [(each.demand_from, each.cost_from), (each.demand_to, each.cost_to)]
        end = each.demand_to
    return tuple(tuple(run) for run in runs)


def _point_at(line: Line, demand: float) -> tuple[list[float], list[float]]:
    """The point of a line at a demand; none where it has none."""
    for run in line.runs:
        for (left, low), (right, high) in pairwise(run):
            if left < demand <= right:
                return [demand], [low + (high - low) * (demand - left) / (right - left)]
    return [], []


def _frame(lines: Sequence[Line]) -> tuple[tuple[Line, ...], float, tuple[str, ...]]:
    """The lines to draw, the upper edge, and the names of options that are all above it."""
    ends = {line.name: max(y for run in line.runs for _, y in run) for line in lines}
    reference = max([min(ends.values()), *(ends[line.name] for line in lines if line.is_chosen)])
    limit = reference * _HIGHEST_COST_RATIO or 1.0
    drawn = tuple(line for line in lines if min(y for run in line.runs for _, y in run) <= limit)
    top = 1.08 * min(limit, max(ends[line.name] for line in drawn)) or 1.0
    return drawn, top, tuple(line.label for line in lines if line not in drawn)


def _currency(explanation: Explanation) -> str:
    return explanation.planned.world.settings.currency
