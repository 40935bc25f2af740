"""The solver alone, on problems without Kubernetes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.core.errors import LedgerError
from switchyard.core.placement.ledger import Ledger
from switchyard.core.placement.problem import Candidate, Holding, Job, Problem, Solution, Supply
from switchyard.core.placement.solve import RegretSolver


def supply(name: str, *nodes: int, price: str = "1", **changes: object) -> Supply:
    free = tuple((f"{name}-{index}", devices) for index, devices in enumerate(nodes))
    return Supply(name, free, Decimal(price), **changes)  # type: ignore[arg-type]


def candidate(pool: str, replicas: int = 1, unit: int = 1) -> Candidate:
    return Candidate("v", pool, unit, replicas)


def job(name: str, rank: int, *candidates: Candidate, holding: Holding | None = None) -> Job:
    return Job(("team", name), rank, candidates, holding)


def solve(jobs: list[Job], supplies: list[Supply]) -> Solution:
    return RegretSolver().solve(Problem(tuple(sorted(jobs, key=lambda each: each.key)), tuple(supplies)))


def places(solution: Solution) -> dict[str, tuple[str, int]]:
    return {
        key[1]: (placement.candidate.pool, placement.replicas)
        for key, placement in solution.placements.items()
    }


CASES = [
    (
        "the cheapest pool that fits is taken",
        [job("a", 1, candidate("cheap"), candidate("dear"))],
        [supply("cheap", 1), supply("dear", 1, price="2")],
        {"a": ("cheap", 1)},
    ),
    (
        "a replica must fit on one node, whatever the pool has in sum",
        [job("a", 1, candidate("split", unit=4), candidate("whole", unit=4))],
        [supply("split", 2, 2, 3), supply("whole", 4, price="9")],
        {"a": ("whole", 1)},
    ),
    (
        "who would lose most by waiting chooses first",
        [
            job("a", 1, candidate("cheap"), candidate("middle")),
            job("b", 1, candidate("cheap"), candidate("dear")),
        ],
        [supply("cheap", 1), supply("dear", 1, price="9"), supply("middle", 1, price="2")],
        {"a": ("middle", 1), "b": ("cheap", 1)},
    ),
    (
        "the higher tier gets the cheap pool, the other the next best",
        [
            job("a", 2, candidate("cheap"), candidate("dear")),
            job("b", 0, candidate("cheap"), candidate("dear")),
        ],
        [supply("cheap", 1), supply("dear", 1, price="9")],
        {"a": ("dear", 1), "b": ("cheap", 1)},
    ),
    (
        "a lower tier that serves gives up only as many replicas as a higher one needs",
        [
            job("low", 2, candidate("p", 4), holding=Holding(candidate("p", 4), (("p-0", 4),))),
            job("top", 0, candidate("p", 1)),
        ],
        [supply("p", 4)],
        {"low": ("p", 3), "top": ("p", 1)},
    ),
    (
        "the lowest tier gives way before the middle one",
        [
            job("low", 2, candidate("p", 2), holding=Holding(candidate("p", 2), (("p-0", 2),))),
            job("mid", 1, candidate("p", 2), holding=Holding(candidate("p", 2), (("p-0", 2),))),
            job("top", 0, candidate("p", 2)),
        ],
        [supply("p", 4)],
        {"mid": ("p", 2), "top": ("p", 2)},
    ),
    (
        "an equal tier that serves does not give way",
        [
            job("new", 1, candidate("p", 1)),
            job("old", 1, candidate("p", 2), holding=Holding(candidate("p", 2), (("p-0", 2),))),
        ],
        [supply("p", 2)],
        {"old": ("p", 2)},
    ),
    (
        "what serves stays although a cheaper pool is free",
        [
            job(
                "a",
                1,
                candidate("cheap"),
                candidate("dear"),
                holding=Holding(candidate("dear"), (("dear-0", 1),)),
            )
        ],
        [supply("cheap", 1), supply("dear", 1, price="9")],
        {"a": ("dear", 1)},
    ),
    (
        "a track whose pool shrank keeps what fits",
        [
            job(
                "a",
                1,
                candidate("p", 4),
                candidate("q", 4),
                holding=Holding(candidate("p", 4), (("p-0", 2),)),
            )
        ],
        [supply("p", 3), supply("q", 4)],
        {"a": ("p", 3)},
    ),
    (
        "a track that can't serve at all goes elsewhere",
        [job("a", 1, candidate("p", 2), candidate("q", 2), holding=Holding(candidate("p", 2), ()))],
        [supply("p"), supply("q", 2)],
        {"a": ("q", 2)},
    ),
    (
        "pods on a cordoned node serve on and take nothing from the pool",
        [
            job("a", 1, candidate("p", 2), holding=Holding(candidate("p", 2), (), elsewhere=2)),
            job("b", 1, candidate("p")),
        ],
        [supply("p", 1)],
        {"a": ("p", 2), "b": ("p", 1)},
    ),
    (
        "paid devices are free until they are full, then the price decides",
        [
            job("a", 1, candidate("paid", 1), candidate("spot", 1)),
            job("b", 1, candidate("paid", 1), candidate("spot", 1)),
        ],
        [supply("paid", 2, price="5", paid_devices=1), supply("spot", 2)],
        {"a": ("paid", 1), "b": ("spot", 1)},
    ),
    (
        "a capped pilot takes no more than its money allows",
        [job("a", 1, candidate("pilot", 2)), job("b", 1, candidate("pilot", 2))],
        [supply("pilot", 8, device_limit=3)],
        {"a": ("pilot", 2)},
    ),
    (
        "one of the same tier steps aside where that lets both in",
        [
            job("a", 1, candidate("p", 2), candidate("q", 2)),
            job("b", 1, candidate("p", 2), candidate("q", 2)),
            job("c", 1, candidate("p", 4)),
        ],
        [supply("p", 4), supply("q", 4, price="3")],
        {"a": ("q", 2), "b": ("q", 2), "c": ("p", 4)},
    ),
    (
        "demand that fits nowhere is left out and stops nobody",
        [job("a", 0, candidate("p", 9)), job("b", 2, candidate("p", 2))],
        [supply("p", 4)],
        {"b": ("p", 2)},
    ),
]


@pytest.mark.parametrize(
    ("jobs", "supplies", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_solution(jobs, supplies, expected):
    assert places(solve(jobs, supplies)) == expected


def test_taking_more_than_is_left_is_a_bug():
    ledger = Ledger(supply("p", 2, 2))
    with pytest.raises(LedgerError):
        ledger.take(3, 1)


POOLS = ("p0", "p1", "p2")


@st.composite
def problems(draw):
    supplies = [
        supply(
            name,
            *draw(st.lists(st.integers(0, 8), max_size=3)),
            price=str(draw(st.integers(1, 9))),
            paid_devices=draw(st.integers(0, 4)),
        )
        for name in POOLS
    ]
    jobs = []
    for index in range(draw(st.integers(1, 6))):
        options = draw(st.lists(st.sampled_from(POOLS), max_size=3, unique=True))
        chosen = tuple(
            candidate(name, draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 4])))
            for name in sorted(options)
        )
        holding = None
        if chosen and draw(st.booleans()):
            held = draw(st.sampled_from(chosen))
            nodes = next(each for each in supplies if each.name == held.pool).free_by_node
            running = tuple((node, draw(st.integers(0, 2))) for node, _ in nodes)
            holding = Holding(held, running)
        jobs.append(Job(("team", f"job{index}"), draw(st.integers(0, 2)), chosen, holding))
    return Problem(tuple(jobs), tuple(supplies))


@settings(max_examples=200, deadline=None)
@given(problems())
def test_no_plan_takes_more_than_a_pool_has(problem):
    solution = RegretSolver().solve(problem)
    for each in problem.supplies:
        taken = sum(
            placement.replicas * placement.candidate.unit_devices
            for placement in solution.placements.values()
            if placement.candidate.pool == each.name
        )
        left = solution.free_by_node[each.name]
        assert all(free >= 0 for _, free in left)
        assert taken == sum(free for _, free in each.free_by_node) - sum(free for _, free in left)


@settings(max_examples=200, deadline=None)
@given(problems(), st.randoms())
def test_the_order_of_the_input_changes_nothing(problem, shuffler):
    jobs, supplies = list(problem.jobs), list(problem.supplies)
    shuffler.shuffle(jobs)
    shuffler.shuffle(supplies)
    assert RegretSolver().solve(Problem(tuple(jobs), tuple(supplies))) == RegretSolver().solve(problem)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_no_tier_is_left_out_while_lower_ones_hold_what_it_needs(problem):
    solution = RegretSolver().solve(problem)
    for left_out in (each for each in problem.jobs if each.key not in solution.placements):
        for option in left_out.candidates:
            spare = dict(solution.free_by_node[option.pool])
            lower = [
                solution.placements[each.key]
                for each in problem.jobs
                if each.rank > left_out.rank
                and each.key in solution.placements
                and solution.placements[each.key].candidate.pool == option.pool
            ]
            devices = sum(spare.values()) + sum(each.replicas * each.candidate.unit_devices for each in lower)
            if option.unit_devices == 1:  # larger units depend on where on the nodes the lower tiers stand
                assert devices < option.replicas


def test_nearly_every_small_problem_is_solved_as_well_as_by_brute_force():
    """Of 300 random instances at least 95 percent have the optimal bill, and at most 1 percent leave more out."""
    source = random.Random(5)
    optimal = worse_service = 0
    for _ in range(300):
        problem = _draw(source)
        solution = RegretSolver().solve(problem)
        mine = (len(problem.jobs) - len(solution.placements), _bill(problem, solution.used_devices))
        best = _brute_force(problem)
        optimal += mine == best
        worse_service += mine[0] > best[0]
    assert optimal >= 285
    assert worse_service <= 3


def _draw(source: random.Random) -> Problem:
    supplies = tuple(
        supply(
            name,
            *(source.choice([2, 4, 8]) for _ in range(source.randint(0, 3))),
            price=str(source.randint(1, 9)),
            paid_devices=source.choice([0, 0, 2, 4]),
        )
        for name in POOLS
    )
    jobs = tuple(
        job(
            f"job{index}",
            0,
            *(
                candidate(name, source.randint(1, 4), source.choice([1, 1, 2, 4]))
                for name in POOLS
                if source.random() < 0.7
            ),
        )
        for index in range(source.randint(2, 5))
    )
    return Problem(jobs, supplies)


def _brute_force(problem: Problem) -> tuple[int, Decimal]:
    """The fewest jobs left out, and the least bill for that, over every choice."""
    outcomes = []
    for choice in product(*([*each.candidates, None] for each in problem.jobs)):
        ledgers = {each.name: Ledger(each) for each in problem.supplies}
        taken = [each for each in choice if each is not None]
        try:
            for option in sorted(taken, key=lambda each: -each.unit_devices):
                ledgers[option.pool].take(option.unit_devices, option.replicas)
        except LedgerError:
            continue
        used = {name: ledger.used_devices for name, ledger in ledgers.items()}
        outcomes.append((len(choice) - len(taken), _bill(problem, used)))
    return min(outcomes)


def _bill(problem: Problem, used: Mapping[str, int]) -> Decimal:
    billed = (max(0, used[each.name] - each.paid_devices) * each.price_per_hour for each in problem.supplies)
    return sum(billed, Decimal(0))
