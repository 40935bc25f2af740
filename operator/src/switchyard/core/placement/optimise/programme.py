"""A mixed-integer programme as arrays, and its answer by HiGHS (or by scipy's copy of it).

    minimise cost . x   subject to   row_lower <= A x <= row_upper,  lower <= x <= upper,  some x integer

HiGHS runs on one thread with a fixed seed and is bounded by nodes, so equal programmes give equal answers on
any machine; the limit in seconds is a net that should never hold. It lets other threads run while it solves.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SEED = 20261121


@dataclass(slots=True)
class Programme:
    """Columns and rows as they are added."""

    cost: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    is_integer: list[bool] = field(default_factory=list)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    indices: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add_column(
        self, cost: float, *, upper: float = math.inf, lower: float = 0.0, is_integer: bool = False
    ) -> int:
        """The index of a new variable."""
        self.cost.append(cost)
        self.lower.append(lower)
        self.upper.append(upper)
        self.is_integer.append(is_integer)
        return len(self.cost) - 1

    def add_row(
        self, terms: Iterable[tuple[int, float]], *, lower: float = -math.inf, upper: float = math.inf
    ) -> int:
        """The index of a new constraint over (column, coefficient) pairs; a column may come twice."""
        joined: dict[int, float] = {}
        for index, value in terms:
            joined[index] = joined.get(index, 0.0) + value
        self.indices.extend(joined)
        self.values.extend(joined.values())
        self.starts.append(len(self.indices))
        self.row_lower.append(lower)
        self.row_upper.append(upper)
        return len(self.row_lower) - 1

    def take_rows(self, count: int) -> None:
        """Forget all rows after the first `count`."""
        del self.row_lower[count:], self.row_upper[count:], self.starts[count + 1 :]
        del self.indices[self.starts[-1] :], self.values[self.starts[-1] :]


@dataclass(frozen=True, slots=True)
class Answer:
    """`values` is None when nothing feasible was found. `bound`: no answer can cost less.

    `reduced_costs`: of the relaxed programme, per column; None for an integer one.
    """

    values: Floats | None
    objective: float
    bound: float
    is_proven: bool  # optimal, or proven to be infeasible
    reduced_costs: Floats | None = None


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try. Nodes bound the work the same way everywhere; seconds are a net."""

    nodes: int = 20_000
    seconds: float = 30.0
    gap_ratio: float = 0.0


def solve(
    programme: Programme,
    effort: Effort,
    *,
    cost: Sequence[float] | None = None,
    is_relaxed: bool = False,
    start: Floats | None = None,
) -> Answer:
    """The best answer found. `cost` stands in for the programme's own; `start` is a feasible answer."""
    chosen = np.asarray(programme.cost if cost is None else cost, dtype=np.float64)
    if not programme.cost:
        return Answer(np.zeros(0), 0.0, 0.0, is_proven=True)
    if has_highs():
        return _solve_by_highs(programme, effort, chosen, is_relaxed=is_relaxed, start=start)
    return _solve_by_scipy(programme, effort, chosen, is_relaxed=is_relaxed)


@cache
def has_highs() -> bool:
    """True when highspy can be imported."""
    return importlib.util.find_spec("highspy") is not None


def _solve_by_highs(
    programme: Programme, effort: Effort, cost: Floats, *, is_relaxed: bool, start: Floats | None
) -> Answer:
    import highspy  # noqa: PLC0415  (heavy: a fleet without workloads never needs it)

    highs = highspy.Highs()
    options: dict[str, Any] = {
        "output_flag": False,
        "threads": 1,
        "random_seed": _SEED,
        "time_limit": effort.seconds,
        "mip_max_nodes": effort.nodes,
        "mip_rel_gap": effort.gap_ratio,
        "mip_abs_gap": 1e-9,
        "mip_feasibility_tolerance": 1e-7,
        "dual_feasibility_tolerance": 1e-9,
    }
    for name, value in options.items():
        highs.setOptionValue(name, value)
    columns, rows = len(programme.cost), len(programme.row_lower)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = columns, rows
    model.col_cost_ = cost
    model.col_lower_ = np.asarray(programme.lower, dtype=np.float64)
    model.col_upper_ = np.asarray(programme.upper, dtype=np.float64)
    model.row_lower_ = np.asarray(programme.row_lower, dtype=np.float64)
    model.row_upper_ = np.asarray(programme.row_upper, dtype=np.float64)
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = np.asarray(programme.starts, dtype=np.int32)
    model.a_matrix_.index_ = np.asarray(programme.indices, dtype=np.int32)
    model.a_matrix_.value_ = np.asarray(programme.values, dtype=np.float64)
    has_integers = any(programme.is_integer) and not is_relaxed
    if has_integers:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[each] for each in programme.is_integer]
    highs.passModel(model)
    if start is not None and has_integers:
        given = highspy.HighsSolution()
        given.col_value = list(start)
        highs.setSolution(given)
    highs.run()
    status = highs.getModelStatus()
    info = highs.getInfo()
    is_optimal = status == highspy.HighsModelStatus.kOptimal
    is_infeasible = status == highspy.HighsModelStatus.kInfeasible
    if is_infeasible or info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        bound = math.inf if is_infeasible else -math.inf
        return Answer(None, math.inf, bound, is_proven=is_infeasible)
    solution = highs.getSolution()
    values = np.asarray(solution.col_value, dtype=np.float64)
    objective = float(info.objective_function_value)
    bound = float(info.mip_dual_bound) if has_integers else objective if is_optimal else -math.inf
    reduced = None if has_integers else np.asarray(solution.col_dual, dtype=np.float64)
    return Answer(values, objective, min(bound, objective), is_proven=is_optimal, reduced_costs=reduced)


def _solve_by_scipy(programme: Programme, effort: Effort, cost: Floats, *, is_relaxed: bool) -> Answer:
    """The same without a start and without reduced costs."""
    from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415  (a fallback, seldom needed)
    from scipy.sparse import csr_array  # noqa: PLC0415  (see above)

    shape = (len(programme.row_lower), len(programme.cost))
    matrix = csr_array(
        (
            np.asarray(programme.values),
            np.asarray(programme.indices, dtype=np.int32),
            np.asarray(programme.starts, dtype=np.int32),
        ),
        shape=shape,
    )
    limits = LinearConstraint(matrix, np.asarray(programme.row_lower), np.asarray(programme.row_upper))
    found = milp(
        cost,
        integrality=np.zeros(shape[1]) if is_relaxed else np.asarray(programme.is_integer, dtype=np.int8),
        bounds=Bounds(np.asarray(programme.lower), np.asarray(programme.upper)),
        constraints=[limits] if shape[0] else [],
        options={
            "time_limit": effort.seconds,
            "node_limit": effort.nodes,
            "mip_rel_gap": effort.gap_ratio,
            "disp": False,
        },
    )
    if found.x is None:
        is_infeasible = found.status == 2
        return Answer(None, math.inf, math.inf if is_infeasible else -math.inf, is_proven=is_infeasible)
    objective = float(found.fun)
    bound = objective if is_relaxed else float(found.mip_dual_bound)
    return Answer(np.asarray(found.x), objective, min(bound, objective), is_proven=found.status == 0)
