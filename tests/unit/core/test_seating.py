"""Plans are seated as they were made: pods do not migrate, and what is promised has devices on a node."""

from __future__ import annotations

from decimal import Decimal

from switchyard.core.placement.optimise import Optimiser
from switchyard.core.placement.optimise.seating import Ask, seat_together
from switchyard.core.placement.problem import Candidate, Holding, Job, Problem, Solution, Supply


def devices_taken(problem: Problem, solution: Solution, pool: str) -> int:
    before = next(each.free_by_node for each in problem.supplies if each.name == pool)
    return sum(free for _, free in before) - sum(free for _, free in solution.free_by_node[pool])


def test_a_track_that_shrinks_leaves_the_node_that_a_large_replica_needs() -> None:
    small = Candidate("small", "p", 1, 1, 2.0)
    large = Candidate("large", "p", 2, 2, 2.0)
    problem = Problem(
        (
            Job(("a", "large"), 0, (large,), demand=4.0),
            Job(("a", "small"), 2, (), (Holding(small, (("n1", 1), ("n2", 1))),), demand=2.0),
        ),
        (Supply("p", (("n1", 4), ("n2", 1)), Decimal(1)),),
    )
    solution = Optimiser().solve(problem)
    assert {key[1]: each[0].replicas for key, each in solution.placements.items()} == {"large": 2, "small": 1}
    assert solution.used_devices == {"p": 5}
    assert devices_taken(problem, solution, "p") == 5


def test_a_mix_that_grows_moves_none_of_its_pods_to_make_room() -> None:
    small = Candidate("small", "p", 1, 3, 1.0)
    large = Candidate("large", "p", 4, 1, 1.0)
    problem = Problem(
        (
            Job(("a", "large"), 2, (large,), demand=1.0),
            Job(("a", "mix"), 0, (small,), (Holding(small, (("n1", 1),)),), demand=3.0, mode="mixed"),
        ),
        (Supply("p", (("n1", 4), ("n2", 3)), Decimal(1)),),
    )
    solution = Optimiser().solve(problem)
    assert {key[1]: each[0].replicas for key, each in solution.placements.items()} == {"mix": 3}
    assert dict(solution.free_by_node["p"])["n1"] < 4


def test_money_counts_what_a_mix_without_a_place_takes_away() -> None:
    held = Candidate("v", "gone", 1, 2, 1.0, remove_per_hour=Decimal("0.2"))
    job = Job(("a", "mix"), 0, (), (Holding(held, (("n1", 1),)),), is_bound=False, demand=2.0, mode="mixed")
    solution = Optimiser().solve(Problem((job,), (Supply("gone", (("n1", 0),)),)))
    assert solution.placements == {}
    assert solution.cost_per_hour == Decimal("0.2")


def test_sizes_that_do_not_divide_each_other_are_packed_together() -> None:
    seats = seat_together((("n1", 6), ("n2", 8)), [Ask(3, 2), Ask(2, 4)])
    assert seats is not None
    used = dict.fromkeys(("n1", "n2"), 0)
    for unit, taken in zip((3, 2), seats, strict=True):
        for node, count in taken.items():
            used[node] += unit * count
    assert used == {"n1": 6, "n2": 8}


def test_what_does_not_fit_has_no_seats() -> None:
    assert seat_together((("n1", 3),), [Ask(2, 2)]) is None
