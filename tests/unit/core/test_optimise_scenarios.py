"""What the optimiser does in situations that people ask about."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from tests.unit.core.placement_problems import problems

from switchyard.core.errors import LedgerError
from switchyard.core.placement.ledger import Ledger
from switchyard.core.placement.optimise import Optimiser
from switchyard.core.placement.problem import Candidate, Holding, Job, Problem, Solution, Supply


def supply(name: str, *nodes: int, price: str = "1", **changes: object) -> Supply:
    free = tuple((f"{name}-{index}", devices) for index, devices in enumerate(nodes))
    return Supply(name, free, Decimal(price), **changes)  # type: ignore[arg-type]


def candidate(pool: str, replicas: int = 1, unit: int = 1) -> Candidate:
    return Candidate("v", pool, unit, replicas)


def job(name: str, rank: int, *candidates: Candidate, holding: Holding | None = None) -> Job:
    return Job(("team", name), rank, candidates, (holding,) if holding else ())


def solve(jobs: list[Job], supplies: list[Supply]) -> Solution:
    return Optimiser().solve(Problem(tuple(sorted(jobs, key=lambda each: each.key)), tuple(supplies)))


def places(solution: Solution) -> dict[str, tuple[str, int]]:
    return {
        key[1]: (placement.candidate.pool, placement.replicas)
        for key, (placement,) in solution.placements.items()
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


@given(problems())
@settings(max_examples=200, deadline=None)
def test_no_plan_takes_more_than_a_pool_has(problem):
    solution = Optimiser().solve(problem)
    for each in problem.supplies:
        taken = sum(
            placement.replicas * placement.candidate.unit_devices
            for placed in solution.placements.values()
            for placement in placed
            if placement.candidate.pool == each.name
        )
        elsewhere = sum(
            holding.elsewhere * holding.candidate.unit_devices
            for job in problem.jobs
            for holding in job.holdings
            if holding.candidate.pool == each.name
        )
        left = solution.free_by_node[each.name]
        room = sum(free for _, free in each.free_by_node) + each.growth_devices
        assert all(free >= 0 for _, free in left)
        assert taken <= room + elsewhere


@given(problems())
@settings(max_examples=200, deadline=None)
def test_who_lost_devices_lost_them_to_a_higher_tier(problem):
    ranks = {each.key: each.rank for each in problem.jobs}
    for loser, winner in Optimiser().solve(problem).displaced.items():
        assert ranks[winner] < ranks[loser]
