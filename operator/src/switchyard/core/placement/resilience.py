"""What a workload asks against the loss of a pool, and whether a placement, alone or mixed, can give it.

spot survival   share of the demand still carried when any one spot pool is lost
firm floor      replicas in pools that are not spot
spread          most of the demand that may depend on one pool, or on one zone
"""

from __future__ import annotations

from collections.abc import Sequence

from switchyard.api import Reason
from switchyard.core.placement.case import Option, Verdict
from switchyard.core.placement.facts import PoolFacts, WorkloadFacts


def judge_alone(workload: WorkloadFacts, pool: PoolFacts, replicas: int) -> Verdict | None:
    """Why all replicas in this pool do not keep what is asked; None when they do."""
    is_spot = pool.capacity_type == "spot"
    if is_spot and workload.spot_survival_ratio > 0:
        message = (
            f"losing spot pool {pool.name} leaves 0% of the demand; constraints.spot.survivalPercent is "
            f"{_percent(workload.spot_survival_ratio)}"
        )
        return Verdict(Reason.SpotNotSurvivable, message, replicas)
    if is_spot and workload.min_firm_replicas > 0:
        message = (
            f"0 replicas would run outside spot pools; constraints.spot.minFirmReplicas is "
            f"{workload.min_firm_replicas}"
        )
        return Verdict(Reason.FirmFloorUnreachable, message, replicas)
    if workload.max_pool_ratio < 1:
        message = (
            f"100% of the demand would depend on pool {pool.name}; constraints.spread.maxPercentPerPool is "
            f"{_percent(workload.max_pool_ratio)}"
        )
        return Verdict(Reason.SpreadUnreachable, message, replicas)
    if workload.max_zone_ratio < 1 and len(pool.zones) == 1:
        message = (
            f"100% of the demand would depend on zone {pool.zones[0]}; constraints.spread.maxPercentPerZone "
            f"is {_percent(workload.max_zone_ratio)}"
        )
        return Verdict(Reason.SpreadUnreachable, message, replicas)
    return None


def judge_together(
    workload: WorkloadFacts, options: Sequence[Option], pools: Sequence[PoolFacts]
) -> Verdict | None:
    """Why no mix of these options keeps what is asked, however many devices there were; None when one does.

    `pools` are those of the options, each once.
    """
    if not options:
        return None
    names = ", ".join(pool.name for pool in pools)
    spot = [pool for pool in pools if pool.capacity_type == "spot"]
    if workload.spot_survival_ratio > 0 and len(pools) == len(spot) == 1:
        message = (
            f"the only pool that it may use is spot pool {names}, and losing it leaves 0% of the demand; "
            f"constraints.spot.survivalPercent is {_percent(workload.spot_survival_ratio)}"
        )
        return Verdict(Reason.SpotNotSurvivable, message)
    if workload.min_firm_replicas > 0 and len(spot) == len(pools):
        message = (
            f"all pools that it may use are spot ({names}); constraints.spot.minFirmReplicas is "
            f"{workload.min_firm_replicas}"
        )
        return Verdict(Reason.FirmFloorUnreachable, message)
    if len(pools) * workload.max_pool_ratio < 1:
        message = (
            f"{len(pools)} pool{'s' * (len(pools) != 1)} may be used ({names}), each for at most "
            f"{_percent(workload.max_pool_ratio)} of the demand (constraints.spread.maxPercentPerPool)"
        )
        return Verdict(Reason.SpreadUnreachable, message)
    zones = {pool.zones[0] for pool in pools if len(pool.zones) == 1}
    is_bound_to_zones = all(len(pool.zones) == 1 for pool in pools)
    if is_bound_to_zones and len(zones) * workload.max_zone_ratio < 1:
        message = (
            f"the pools that it may use are in {len(zones)} zone{'s' * (len(zones) != 1)} "
            f"({', '.join(sorted(zones))}), each for at most {_percent(workload.max_zone_ratio)} of the "
            "demand (constraints.spread.maxPercentPerZone)"
        )
        return Verdict(Reason.SpreadUnreachable, message)
    return None


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.4g}%"
