"""Requests of many sizes on several GPUs: against brute force and the published integer programme of Melange."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from tests.comparison.inferno import DATA

from switchyard.core.placement.optimise import Optimiser
from switchyard.core.placement.problem import Candidate, Job, Problem, Supply

Rates = dict[str, list[float]]  # requests/s of one GPU that serves only this size, by size
Prices = dict[str, float]

# the 2 x 2 example of the Melange paper's artefact, typed from its published figures
TOY_RATES: Rates = {"A10G": [2.0, 1.0, 5.0, 2.0], "A100": [20.0, 20.0, 40.0, 20.0]}
TOY_PRICES: Prices = {"A10G": 1.01, "A100": 3.67}
TOY_SHARES = [0.2, 0.1, 0.5, 0.2]


def plan(rates: Rates, prices: Prices, shares: list[float], demand: float) -> tuple[dict[str, int], Decimal]:
    """Replicas by GPU and what they cost, by the optimiser."""
    candidates = tuple(Candidate("v", gpu, 1, 1, rates_by_size=tuple(rates[gpu])) for gpu in sorted(rates))
    job = Job(("a", "b"), 0, candidates, demand=demand, size_shares=tuple(shares), mode="mixed")
    supplies = tuple(
        Supply(gpu, (("node", 10_000),), price_per_hour=Decimal(str(prices[gpu]))) for gpu in sorted(rates)
    )
    solution = Optimiser().solve(Problem((job,), supplies))
    assert solution.gap_ratio == 0.0
    return (
        {each.candidate.pool: each.replicas for each in solution.placements[job.key]},
        solution.cost_per_hour,
    )


def cheapest_by_trying(rates: Rates, prices: Prices, shares: list[float], demand: float) -> float:
    """The least cost over all counts, each checked by whether the shares can be spread over it."""
    gpus = sorted(rates)
    best = float("inf")
    alone = [demand * sum(shares) / max(0.01, *rates[gpu]) for gpu in gpus]
    limits = [int(4 * each) + 8 for each in alone]
    for counts in product(*(range(min(limit, 40) + 1) for limit in limits)):
        cost = sum(prices[gpu] * count for gpu, count in zip(gpus, counts, strict=True))
        if cost < best - 1e-9 and can_carry(rates, dict(zip(gpus, counts, strict=True)), shares, demand):
            best = cost
    return best


def can_carry(rates: Rates, counts: dict[str, int], shares: list[float], demand: float) -> bool:
    cells = [(size, gpu) for size in range(len(shares)) for gpu in counts if rates[gpu][size] > 0]
    if not cells:
        return False
    whole = np.array([[float(cell[0] == size) for cell in cells] for size in range(len(shares))])
    load = np.array(
        [
            [shares[size] * demand / rates[gpu][size] if gpu == name else 0.0 for size, gpu in cells]
            for name in counts
        ]
    )
    found = linprog(
        np.zeros(len(cells)),
        A_ub=load,
        b_ub=np.array(list(counts.values())) + 1e-9,
        A_eq=whole,
        b_eq=np.ones(len(shares)),
    )
    return bool(found.status == 0)


def melange(rates: Rates, prices: Prices, shares: list[float], demand: float, slices: int) -> float | None:
    """The published programme: each size in `slices` equal slices, each slice on one kind of GPU. None: too slow."""
    gpus, sizes = sorted(rates), range(len(shares))
    pieces = [(size, part) for size in sizes for part in range(slices)]
    columns = [(piece, gpu) for piece in pieces for gpu in gpus]
    count = len(columns) + len(gpus)
    cost = np.zeros(count)
    cost[len(columns) :] = [prices[gpu] for gpu in gpus]
    upper = np.array([float(rates[gpu][piece[0]] > 0) for piece, gpu in columns] + [1000.0] * len(gpus))
    once = np.zeros((len(pieces), count))
    load = np.zeros((len(gpus), count))
    for index, (piece, gpu) in enumerate(columns):
        once[pieces.index(piece), index] = 1
        if rates[gpu][piece[0]] > 0:
            load[gpus.index(gpu), index] = shares[piece[0]] * demand / slices / rates[gpu][piece[0]]
    for row in range(len(gpus)):
        load[row, len(columns) + row] = -1
    found = milp(
        cost,
        integrality=np.ones(count),
        bounds=Bounds(np.zeros(count), upper),
        constraints=[LinearConstraint(once, 1, 1), LinearConstraint(load, -np.inf, 1e-9)],
        options={"time_limit": 5.0, "mip_rel_gap": 0.0},
    )
    return float(found.fun) if found.status == 0 else None


def test_the_published_toy_costs_less_where_a_size_may_be_split() -> None:
    """Published: 3 A10G and 1 A100 for 6.70, each size whole on one GPU. Thirds of a size already do better."""
    assert melange(TOY_RATES, TOY_PRICES, TOY_SHARES, 30.0, 1) == pytest.approx(6.70)
    counts, cost = plan(TOY_RATES, TOY_PRICES, TOY_SHARES, 30.0)
    assert counts == {"A10G": 1, "A100": 1}
    assert float(cost) == pytest.approx(4.68)
    assert float(cost) == pytest.approx(cheapest_by_trying(TOY_RATES, TOY_PRICES, TOY_SHARES, 30.0))
    assert melange(TOY_RATES, TOY_PRICES, TOY_SHARES, 30.0, 3) == pytest.approx(float(cost))


@given(
    st.integers(2, 3).flatmap(
        lambda gpus: st.tuples(
            st.lists(
                st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5, 8.0]), min_size=4, max_size=4),
                min_size=gpus,
                max_size=gpus,
            ),
            st.lists(st.sampled_from([0.4, 1.0, 1.7, 4.0]), min_size=gpus, max_size=gpus),
        )
    ),
    st.sampled_from([1.0, 4.0, 12.0]),
)
@settings(max_examples=60, deadline=None)
def test_free_shares_never_cost_more_than_slices(
    drawn: tuple[list[list[float]], list[float]], demand: float
) -> None:
    table, prices = drawn
    rates = {f"g{index}": [8.0, *row[1:]] if index == 0 else row for index, row in enumerate(table)}
    rates["g0"] = [each or 0.5 for each in rates["g0"]]
    priced = {f"g{index}": price for index, price in enumerate(prices)}
    shares = [0.4, 0.3, 0.2, 0.1]
    _, cost = plan(rates, priced, shares, demand)
    sliced = melange(rates, priced, shares, demand, 4)
    if sliced is not None:
        assert float(cost) <= sliced + 1e-6


def _table(gpu: str, seconds: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DATA / f"prof-{gpu}-e2e{seconds}-p99.json").read_text())
    return document


@pytest.mark.parametrize("seconds", [2, 5])
@pytest.mark.parametrize("demand", [2.0, 10.0, 40.0])
def test_on_aibrix_profiles_no_fleet_is_cheaper(seconds: int, demand: float) -> None:
    """Requests drawn over outputs of 32-256 and inputs of 128-1024 tokens; what no GPU can do in time is left out."""
    tables = {gpu: _table(gpu, seconds) for gpu in ("a100", "a40")}
    cells = list(product(range(3, 7), range(4)))
    drawn = np.random.default_rng(3).dirichlet(np.ones(len(cells)))
    possible = [
        (cell, share)
        for cell, share in zip(cells, drawn, strict=True)
        if any(table["tputs"][cell[0]][cell[1]] > 0 for table in tables.values())
    ]
    total = sum(share for _, share in possible)
    shares = [float(share / total) for _, share in possible]
    rates = {
        gpu: [float(table["tputs"][row][column]) for (row, column), _ in possible]
        for gpu, table in tables.items()
    }
    prices = {gpu: float(table["cost"]) for gpu, table in tables.items()}
    counts, cost = plan(rates, prices, shares, demand)
    assert can_carry(rates, counts, shares, demand)
    assert float(cost) == pytest.approx(cheapest_by_trying(rates, prices, shares, demand), abs=1e-6)
    sliced = melange(rates, prices, shares, demand, 4)
    if sliced is not None:
        assert float(cost) <= sliced + 1e-6
