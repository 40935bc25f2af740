"""The second track of a workload that is cut over: a job of its own in the placement problem, pinned.

    host    the workload's own job, confined to the side that serves
    guest   so many replicas of one variant in one pool, of the same rank, under the same quotas

A guest has no choice and no demand: how many replicas it has is said by the plan. It is a ballot like any
other, so what it holds and what it starts has its seats like any other's.
"""

from __future__ import annotations

from dataclasses import replace

from switchyard.api import Reason
from switchyard.core.placement.ballot import Ballot, Held, Pair, Surroundings, Track, draw_up
from switchyard.core.placement.case import Option, Verdict
from switchyard.core.placement.latency import describe_gap, measure_load
from switchyard.core.placement.pool_view import PoolView
from switchyard.core.placement.problem import JobKey

_MARK = "\0candidate"  # no name of an object has such a character


def name_guest(host: JobKey) -> JobKey:
    """The key of the guest's job."""
    return host[0], f"{host[1]}{_MARK}"


def find_host(key: JobKey) -> JobKey:
    """The workload of a job, whether its own or its guest's."""
    return key[0], key[1].removesuffix(_MARK)


def confine(ballot: Ballot, pair: Pair, why: str) -> Ballot:
    """The ballot with nothing to choose from but that variant in that pool."""
    options = {key: option for key, option in ballot.options.items() if option.name == pair}
    others = {
        option.name: Verdict(Reason.Sticky, why, option.replicas, option.allocated_per_hour)
        for key, option in sorted(ballot.options.items(), reverse=True)
        if option.name != pair
    }
    return replace(ballot, options=options, rejections={**others, **ballot.rejections})


def find_option(ballot: Ballot, pair: Pair) -> Option | None:
    """The best option of that variant in that pool; None where the checks refuse it."""
    found = [option for option in ballot.options.values() if option.name == pair]
    return min(found, key=lambda each: each.degradation, default=None)


def find_held(host: Ballot, around: Surroundings, pair: Pair, track: Track | None) -> Held | None:
    """The guest's track as large as the whole demand would need it; None without one that counts as begun."""
    variants = tuple(each for each in host.facts.variants if each.name == pair[0])
    if track is None or not variants or pair[1] not in around.pools:
        return None
    alone = replace(around, pools={pair[1]: around.pools[pair[1]]})
    facts = replace(host.facts, variants=variants)
    return next(iter(draw_up(facts, alone, tracks=(track,)).held), None)


def invite(host: Ballot, around: Surroundings, pair: Pair, replicas: int, track: Track | None) -> Ballot:
    """The ballot of a guest. `track`: its own, if there is one; that stays even where it would be refused."""
    facts = replace(
        host.facts,
        name=name_guest(host.facts.key)[1],
        min_replicas=1,
        min_firm_replicas=0,
        max_replicas=max(replicas, host.facts.max_replicas),
        peak_rate=0.0,
    )
    option, held = find_option(host, pair), find_held(host, around, pair, track)
    options = {}
    if option is not None:
        options[*pair, option.degradation] = resize(option, host, around.pools[pair[1]], replicas)
    if held is not None:
        resized = resize(held.option, host, around.pools[pair[1]], replicas)
        held = Held(resized, replace(held.track, replicas=min(replicas, held.track.replicas)), held.objection)
    return Ballot(facts, options, {}, (held,) if held is not None else ())


def resize(option: Option, host: Ballot, view: PoolView, replicas: int) -> Option:
    """The option with so many replicas, each as busy as one of those that would carry the whole demand."""
    utilisation = load_at(option, host, host.facts.mean_rate / max(1, option.replicas))
    utilisation = option.utilisation_ratio if utilisation is None else utilisation
    cost = view.device_hour.allocated(utilisation) * option.unit_devices * replicas
    return replace(option, replicas=replicas, utilisation_ratio=utilisation, allocated_per_hour=cost)


def load_at(option: Option, host: Ballot, rate: float) -> float | None:
    """The share of a replica's capacity in use at that rate; None where nobody knows."""
    profile = option.evidence.profile
    if profile is None or describe_gap(profile, (), host.facts.traffic):
        return None
    return min(1.0, measure_load(profile, rate, host.facts.traffic)[0])
