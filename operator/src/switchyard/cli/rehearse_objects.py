"""The stand-ins of a rehearsal: simulated servers for images, nodes for pools, callers for users. Pure."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.api.cutover_traffic import SegmentMatch
from switchyard.api.demand import Demand
from switchyard.api.pool import AcceleratorPoolSpec
from switchyard.api.workload import Variant
from switchyard.catalog import Catalog
from switchyard.cli.callers import Caller
from switchyard.cli.rehearse_faults import Faulty
from switchyard.cli.rehearse_input import Cast
from switchyard.core.cutover.types import PlanFacts
from switchyard.sandbox.modelserver.profile import ServiceProfile, choose_profile

MOST_REQUESTS_PER_SECOND = 40.0
LEAST_REQUESTS_PER_SECOND = 20.0
_DAY_SECONDS = 86_400.0
_POOL_LABEL = "rehearsal.switchyard.dev/pool"
_IMAGE = "switchyard:0.1.0"
_MOST_DEVICES = 256
_NODE_DEVICES = 16
_USED_DEMAND = ("inputTokens", "outputTokens")
_LEFT_OUT = ("exposure", "signals", "budget", "fallback")
_MOST_SLOTS = 1024
_CV2 = 0.1
_TOKENS = 256.0  # of a prompt or an answer whose length nobody states

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second: planned for, and in the rehearsal."""

    planned: float
    rehearsed: float


def find_rate(demand: Demand) -> Rate | None:
    """The workload's demand, and what of it is sent here; None where the author states none."""
    if demand.requests_per_second is not None:
        planned = float(demand.requests_per_second)
    elif demand.requests_per_day is not None:
        planned = demand.requests_per_day / _DAY_SECONDS
    else:
        return None
    return Rate(planned, min(MOST_REQUESTS_PER_SECOND, max(LEAST_REQUESTS_PER_SECOND, planned)))


# -- servers


def build_workload(cast: Cast, rate: Rate, faulty: Mapping[str, Faulty], variants: Sequence[str]) -> Json:
    """The workload with these of its variants, each a simulated server. `faulty`: by variant."""
    spec = copy.deepcopy(cast.workload["spec"])
    for field in _LEFT_OUT:
        spec.pop(field, None)
    stated = spec["demand"]
    spec["demand"] = {"requestsPerSecond": f"{rate.rehearsed:g}"} | {
        name: stated[name] for name in _USED_DEMAND if name in stated
    }
    placement = spec.get("placement", {})
    placement.pop("cutover", None)
    spec["placement"] = {**placement, "migration": "manual"}
    known = {each.name: each for each in cast.workload_spec.variants}
    spec["variants"] = [
        _build_variant(each, known[each["name"]], cast, faulty.get(each["name"], Faulty()))
        for each in spec["variants"]
        if each["name"] in variants
    ]
    return {
        "apiVersion": cast.workload["apiVersion"],
        "kind": "InferenceWorkload",
        "metadata": {"name": cast.workload_name, "namespace": cast.namespace},
        "spec": spec,
    }


def _build_variant(body: Json, variant: Variant, cast: Cast, faulty: Faulty) -> Json:
    profile = estimate_service(variant, cast.workload_spec.demand)
    base_ms = 1000 * profile.base_seconds * faulty.latency_factor
    slope_ms = 1000 * profile.slope_seconds * faulty.latency_factor
    port = cast.workload_spec.port
    container = {
        "image": _IMAGE,
        "command": ["switchyard", "model-server"],
        "args": [
            *(f"--model={cast.workload_name}", f"--port={port}", f"--slots={profile.slots}"),
            *(f"--base-ms={base_ms:g}", f"--slope-ms={slope_ms:g}", f"--cv2={profile.cv2:g}"),
            *faulty.arguments,
        ],
        "readinessProbe": {"httpGet": {"path": "/health", "port": port}, "periodSeconds": 1},
    }
    if faulty.memory_limit:
        container["resources"] = {"limits": {"memory": faulty.memory_limit}}
    made = {key: value for key, value in body.items() if key != "podTemplateRef"}
    return {**made, "container": container}


def estimate_service(variant: Variant, demand: Demand) -> ServiceProfile:
    """How a simulated replica behaves: by the variant's profile, about; without one, by its accelerator."""
    profile = variant.profile
    if profile is None:
        return choose_profile(variant.accelerators[0])
    if (simple := profile.concurrency) is not None:
        slope = simple.slope.seconds if simple.slope is not None else 0.0
        cv2 = float(simple.cv2) if simple.cv2 is not None else 1.0
        return ServiceProfile(simple.slots, simple.base.seconds, slope, cv2)
    read = float(demand.input_tokens.mean) if demand.input_tokens is not None else _TOKENS
    written = float(demand.output_tokens.mean) if demand.output_tokens is not None else _TOKENS
    if (tokens := profile.tokens) is not None:
        base = read * tokens.per_prefill_token.seconds + written * tokens.iteration.seconds
        return ServiceProfile(
            min(_MOST_SLOTS, tokens.max_batch), base, written * tokens.per_sequence.seconds, _CV2
        )
    if (linear := profile.linear) is not None:
        base = linear.prefill_gamma.seconds + read * linear.prefill_delta.seconds
        base += written * linear.decode_alpha.seconds
        return ServiceProfile(
            min(_MOST_SLOTS, linear.max_batch), base, written * linear.decode_beta.seconds, _CV2
        )
    points = profile.points or ()
    if not points:
        return choose_profile(variant.accelerators[0])
    base = points[0].p50.seconds
    slots = math.ceil(float(points[-1].rate) * points[-1].p50.seconds) + 1
    return ServiceProfile(min(_MOST_SLOTS, slots), base, 0.0, _CV2)


# -- pools and nodes


def build_pool(name: str, body: Json) -> Json:
    """The pool, on nodes of the rehearsal's own."""
    spec = copy.deepcopy(body["spec"])
    spec["nodeSelector"] = {_POOL_LABEL: name}
    reserved = spec.pop("capacity", {}).get("reservedDevices")
    if reserved is not None:
        spec["capacity"] = {"reservedDevices": reserved}
    return {
        "apiVersion": body["apiVersion"],
        "kind": "AcceleratorPool",
        "metadata": {"name": name},
        "spec": spec,
    }


def build_fleet(cast: Cast, rate: Rate, catalog: Catalog) -> Json:
    """Nodes for every pool, as a fleet file has them, and one for the router."""
    scale = max(1.0, rate.rehearsed / rate.planned) if rate.planned > 0 else 1.0
    pools: list[Json] = [{"name": "rehearsal", "cpu": "16", "memory": "64Gi"}]
    needs = [each.devices_per_replica for each in cast.workload_spec.variants]
    for name, (body, spec) in cast.pools.items():
        resource = find_resource_name(spec, catalog)
        known = _count_devices(body, spec)
        devices = _MOST_DEVICES if known is None else min(_MOST_DEVICES, math.ceil(known * scale))
        size = max(_NODE_DEVICES, *spec.unit_devices, *needs)
        labels = {_POOL_LABEL: name}
        if resource == "cpu":
            pools.append({"name": f"{name}-pool", "cpu": str(devices), "memory": "512Gi", "labels": labels})
        elif devices:
            pools.append(
                {
                    "name": f"{name}-pool",
                    "nodes": -(-devices // size),
                    "cpu": "64",
                    "memory": "512Gi",
                    "devices": {resource: min(size, devices)},
                    "labels": labels,
                }
            )
    return {"pools": pools}


def find_resource_name(spec: AcceleratorPoolSpec, catalog: Catalog) -> str:
    """The resource of a pool's devices: as it states, or as the catalog knows; cpu where they are cores."""
    if spec.device is not None and spec.device.resource_name is not None:
        return str(spec.device.resource_name)
    known = catalog.get(str(spec.accelerator))
    return (known.resource_name if known is not None else None) or "cpu"


def _count_devices(body: Json, spec: AcceleratorPoolSpec) -> int | None:
    """Devices of a pool, by its status or its limit; None where neither says."""
    told = (body.get("status") or {}).get("devices", {}).get("allocatable")
    if told is not None:
        return int(told)
    return spec.capacity.max_devices if spec.capacity is not None else None


# -- callers


def list_callers(facts: PlanFacts, matches: Mapping[str, SegmentMatch | None], rate: Rate) -> list[Caller]:
    """A caller for each segment of the plan, all alike. `matches`: of the rehearsed segments, by name."""
    path, body = _choose_question(facts)
    each_rate = rate.rehearsed / len(facts.segments)
    return [
        Caller(each.name, each_rate, path, body, dict(_list_headers(matches.get(each.name))))
        for each in facts.segments
    ]


def _list_headers(match: SegmentMatch | None) -> Iterator[tuple[str, str]]:
    if match is None:
        return
    for header in match.headers or ():
        yield header.name, header.value
    if match.tier is not None:
        yield "x-switchyard-tier", match.tier


def _choose_question(facts: PlanFacts) -> tuple[str, Any]:
    """What the gates need to be asked: streams for times of tokens, texts or vectors for comparators."""
    comparators = {gate.comparator.type for gate in facts.gates if gate.comparator is not None}
    is_stream = any(gate.kind == "latency" and gate.metric != "latency" for gate in facts.gates)
    if is_stream or comparators & {"text", "tokens"}:
        stream = {"stream": True} if is_stream else {}
        return (
            "/v1/completions",
            lambda number: {"prompt": f"question {number}", "max_tokens": 16, **stream},
        )
    if "embedding" in comparators:
        return "/v1/embeddings", lambda number: {"input": f"document {number}"}
    return "/predict", lambda number: {"instances": [[number]]}
