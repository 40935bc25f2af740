"""What is rehearsed: a plan, its workload and the pools, from files, or the last two from the cluster."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.parsing import ApiValueError, parse_plan, parse_pool, parse_workload
from switchyard.api.pool import AcceleratorPoolSpec
from switchyard.api.workload import InferenceWorkloadSpec
from switchyard.cli.manifest_checks import check_manifest, suggest
from switchyard.cli.manifests import BadInputError, Manifest, read_manifests

_PLAN, _WORKLOAD, _POOL = "CutoverPlan", "InferenceWorkload", "AcceleratorPool"
_DEFAULT_NAMESPACE = "default"
_TWIN = "-moved"
_LONGEST_NAME = 40

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a workload serves before the move; what is empty, the planner chooses."""

    variant: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Cast:
    """All that takes part: bodies as given, and what they say."""

    name: str
    namespace: str
    plan: CutoverPlanSpec
    workload: Json
    workload_spec: InferenceWorkloadSpec
    pools: Mapping[str, tuple[Json, AcceleratorPoolSpec]]
    serving: Serving
    is_twin: bool = False  # the target's variant is a copy of the one that serves, for another pool

    @property
    def workload_name(self) -> str:
        """Name of the workload."""
        return self.plan.workload_ref.name


def read_cast(
    sources: Sequence[str], plan_name: str | None, serves: str | None, read_cluster: Any = None
) -> Cast:
    """The plan and what it needs, checked. Raises BadInputError.

    `read_cluster(namespace, name)`: the workload and all pools of a cluster, for what the files lack.
    """
    manifests = [each for each in read_manifests(sources) if each.kind in {_PLAN, _WORKLOAD, _POOL}]
    problems = [problem for each in manifests for problem in check_manifest(each)]
    if problems:
        raise BadInputError(problems)
    plan = _choose_plan([each for each in manifests if each.kind == _PLAN], plan_name)
    namespace = plan.namespace or _DEFAULT_NAMESPACE
    spec = parse_plan(plan.body).spec
    wanted = spec.workload_ref.name
    workloads = {
        each.name: each.body
        for each in manifests
        if each.kind == _WORKLOAD and (each.namespace or _DEFAULT_NAMESPACE) == namespace
    }
    workload = workloads.get(wanted)
    pools = [each.body for each in manifests if each.kind == _POOL]
    if read_cluster is not None and (workload is None or not pools):
        found, there = read_cluster(namespace, wanted)
        workload, pools = workload or found, pools or there
    if workload is None:
        near = suggest(wanted, list(workloads))
        problems.append(
            f"{plan.place(('spec', 'workloadRef', 'name'))}: spec.workloadRef.name: {wanted!r}: no "
            f"InferenceWorkload {namespace}/{wanted} is given{near}; give its file with -f, or --from-cluster"
        )
    if not pools:
        problems.append(
            "no AcceleratorPool is given, so nothing could run: give their files with -f, or --from-cluster"
        )
    if problems or workload is None:
        raise BadInputError(problems)
    try:
        parsed = parse_workload(workload)
        by_name = {str(each["metadata"]["name"]): (each, parse_pool(each).spec) for each in pools}
    except ApiValueError as error:
        raise BadInputError([str(error)]) from None
    placements = parsed.status.placements
    serving = Serving(placements[0].variant, placements[0].pool) if placements else Serving()
    if serves is not None:
        serving = Serving(*serves.partition("@")[::2])
    cast = Cast(plan.name, namespace, spec, workload, parsed.spec, by_name, serving)
    _check_sides(cast, plan, is_stated=serves is not None)
    return _make_twin(cast) if _stays_variant(cast) else cast


def _stays_variant(cast: Cast) -> bool:
    """Whether one variant moves between pools."""
    target, serving = cast.plan.target.variant, cast.serving.variant
    return serving == target or (not serving and len(cast.workload_spec.variants) == 1)


def _make_twin(cast: Cast) -> Cast:
    """The cast with a variant of its own for the target, so that either side can have faults."""
    target = cast.plan.target
    name = f"{target.variant[: _LONGEST_NAME - len(_TWIN)]}{_TWIN}"
    spec = copy.deepcopy(cast.workload["spec"])
    original = next(each for each in spec["variants"] if each["name"] == target.variant)
    spec["variants"].append({**copy.deepcopy(original), "name": name})
    workload = {**cast.workload, "spec": spec}
    return replace(
        cast,
        plan=cast.plan.model_copy(update={"target": target.model_copy(update={"variant": name})}),
        workload=workload,
        workload_spec=parse_workload(workload).spec,
        serving=Serving(target.variant, cast.serving.pool),
        is_twin=True,
    )


def _choose_plan(plans: Sequence[Manifest], name: str | None) -> Manifest:
    names = [each.name for each in plans]
    if name is not None:
        found = next((each for each in plans if each.name == name), None)
        if found is None:
            told = ", ".join(names) or "none"
            raise BadInputError(
                [f"--plan {name!r}: not in the files{suggest(name, names)}; there are: {told}"]
            )
        return found
    if len(plans) == 1:
        return plans[0]
    if not plans:
        raise BadInputError(["no CutoverPlan is given: give its file with -f"])
    raise BadInputError([f"{len(plans)} plans are given: choose one with --plan: {', '.join(names)}"])


def _check_sides(cast: Cast, plan: Manifest, *, is_stated: bool) -> None:
    """Whether there is a place to begin and another to go to."""
    target, problems = cast.plan.target, []
    variants = [each.name for each in cast.workload_spec.variants]
    if target.variant not in variants:
        problems.append(
            f"{plan.place(('spec', 'target', 'variant'))}: spec.target.variant: {target.variant!r}: workload "
            f"{cast.workload_name} has no such variant{suggest(target.variant, variants)}; it has "
            f"{', '.join(variants)}"
        )
    if target.pool is not None and target.pool not in cast.pools:
        problems.append(
            f"{plan.place(('spec', 'target', 'pool'))}: spec.target.pool: {target.pool!r}: no such pool is "
            f"given{suggest(target.pool, list(cast.pools))}; there are {', '.join(cast.pools)}"
        )
    serving = cast.serving
    if is_stated and serving.variant not in variants:
        problems.append(
            f"--serves {serving.variant!r}: workload {cast.workload_name} has no such variant"
            f"{suggest(serving.variant, variants)}; it has {', '.join(variants)}"
        )
    if is_stated and serving.pool and serving.pool not in cast.pools:
        problems.append(
            f"--serves: pool {serving.pool!r} is not given{suggest(serving.pool, list(cast.pools))}; "
            f"there are {', '.join(cast.pools)}"
        )
    if not problems and _stays_variant(cast):
        if target.pool is None:
            problems.append(
                f"{plan.place(('spec', 'target'))}: spec.target.pool: must be given for a rehearsal, as "
                f"variant {target.variant} serves already and moves to another pool; or say with "
                "--serves what else serves"
            )
        elif target.pool == serving.pool:
            problems.append(
                f"the workload serves as {target.variant} on {serving.pool}, the plan's own target: say with "
                "--serves VARIANT[@POOL] what it moves from"
            )
        elif len(cast.pools) == 1:
            problems.append(
                f"pool {target.pool} alone is given, and variant {target.variant} moves there from another: "
                "give that pool too"
            )
    if problems:
        raise BadInputError(problems)
