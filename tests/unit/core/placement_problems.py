"""Tiny problems that use every part of the contract, for checks against every plan there is."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import strategies as st

from switchyard.core.placement.problem import Candidate, Holding, Job, Problem, Quota, Supply

POOLS = ("p", "q", "r")
_cents = st.integers(0, 400).map(lambda cents: Decimal(cents) / 100)
_few = st.integers(0, 30).map(lambda cents: Decimal(cents) / 100)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Up to three jobs on up to three pools of up to two nodes."""
    pools = POOLS[: draw(st.integers(1, 3))]
    units = {pool: draw(st.sampled_from([(1,), (1,), (2,), (1, 2), (2, 3)])) for pool in pools}
    supplies = tuple(_supply(draw, pool) for pool in pools)
    jobs = tuple(_job(draw, index, pools, units, supplies) for index in range(draw(st.integers(1, 3))))
    quotas: tuple[Quota, ...] = ()
    if draw(st.integers(0, 3)) == 0:
        inside = tuple(pool for pool in pools if draw(st.booleans())) or pools[:1]
        quotas = (Quota("quota", "a", inside, draw(st.integers(0, 5))),)
    return Problem(jobs, supplies, quotas)


def _supply(draw: st.DrawFn, pool: str) -> Supply:
    nodes = tuple((f"{pool}{index}", draw(st.integers(0, 4))) for index in range(draw(st.integers(1, 2))))
    return Supply(
        name=pool,
        free_by_node=nodes,
        price_per_hour=draw(_cents),
        paid_devices=draw(st.sampled_from([0, 0, 1, 3])),
        used_devices=draw(st.sampled_from([0, 0, 2])),
        device_limit=draw(st.sampled_from([None, None, None, 1, 3])),
        growth_devices=draw(st.sampled_from([0, 0, 0, 2])),
        is_spot=draw(st.sampled_from([False, False, True])),
        zones=draw(st.sampled_from([(), ("z1",), ("z2",), ("z1", "z2")])),
    )


def _job(
    draw: st.DrawFn,
    index: int,
    pools: tuple[str, ...],
    units: dict[str, tuple[int, ...]],
    supplies: tuple[Supply, ...],
) -> Job:
    mode = draw(st.sampled_from(["single", "single", "mixed"]))
    demand = float(draw(st.integers(1, 6)))
    names = [(variant, pool) for variant in ("u", "v") for pool in pools]
    chosen = draw(st.lists(st.sampled_from(names), min_size=0, max_size=3, unique=True))
    candidates = tuple(_candidate(draw, name, units, demand, mode) for name in sorted(chosen))
    holdings: tuple[Holding, ...] = ()
    if draw(st.integers(0, 2)) == 0:
        holdings = _holdings(draw, candidates, units, supplies, demand)
    is_strict = draw(st.integers(0, 3)) == 0
    return Job(
        key=(draw(st.sampled_from(["a", "b"])), f"job{index}"),
        rank=draw(st.integers(0, 2)),
        candidates=candidates,
        holdings=holdings,
        is_bound=draw(st.booleans()),
        demand=demand,
        mode=mode,
        split=draw(st.sampled_from(["weighted", "even"])),
        is_divisible=mode == "single" and draw(st.integers(0, 3)) == 0,
        min_replicas=draw(st.sampled_from([1, 1, 2])) if mode == "mixed" else 1,
        max_replicas=draw(st.sampled_from([3, 4])),
        min_firm_replicas=draw(st.sampled_from([0, 1])) if is_strict else 0,
        spot_survival_ratio=draw(st.sampled_from([0.0, 0.5])) if is_strict else 0.0,
        max_pool_ratio=draw(st.sampled_from([1.0, 0.6])) if is_strict and mode == "mixed" else 1.0,
        max_zone_ratio=draw(st.sampled_from([1.0, 0.7])) if is_strict and mode == "mixed" else 1.0,
        budget_per_hour=draw(st.sampled_from([None, None, Decimal(3)])),
    )


def _candidate(
    draw: st.DrawFn, name: tuple[str, str], units: dict[str, tuple[int, ...]], demand: float, mode: str
) -> Candidate:
    replicas = draw(st.integers(1, 3))
    return Candidate(
        variant=name[0],
        pool=name[1],
        unit_devices=draw(st.sampled_from(units[name[1]])),
        replicas=replicas,
        rate=demand / replicas,
        energy_per_hour=draw(_few),
        risk_per_hour=draw(_few),
        add_per_hour=draw(st.sampled_from([Decimal(0), Decimal("0.25")])),
        remove_per_hour=draw(st.sampled_from([Decimal(0), Decimal("0.5")])),
        budget_per_hour=draw(_cents),
        degradation=draw(st.sampled_from([0, 0, 0, 1])),
        most_replicas=draw(st.sampled_from([None, None, 2])) if mode == "mixed" else None,
    )


def _holdings(
    draw: st.DrawFn,
    candidates: tuple[Candidate, ...],
    units: dict[str, tuple[int, ...]],
    supplies: tuple[Supply, ...],
    demand: float,
) -> tuple[Holding, ...]:
    """One track that runs: one of the candidates, or one that would not be admitted today."""
    known = [each for each in candidates if not each.degradation]
    held = draw(st.sampled_from(known)) if known and draw(st.booleans()) else None
    if held is None:
        held = replace(
            _candidate(draw, ("w", draw(st.sampled_from(supplies)).name), units, demand, "single"),
            degradation=0,
        )
    supply = next(each for each in supplies if each.name == held.pool)
    by_node = tuple(
        (node, count)
        for node, free in supply.free_by_node
        if (count := draw(st.integers(0, min(2, free // held.unit_devices))))
    )
    return (Holding(held, by_node, draw(st.sampled_from([0, 0, 1]))),)
