"""Objects that the API server must take, and objects that it must refuse, with the field to blame."""

from __future__ import annotations

from typing import Any


def pool(**spec: Any) -> dict[str, Any]:
    return _body("AcceleratorPool", {"accelerator": "nvidia-l4", **spec})


def workload(**spec: Any) -> dict[str, Any]:
    return _body("InferenceWorkload", {"demand": {"requestsPerSecond": "5"}, "variants": [variant()], **spec})


def _body(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    spec = {key: value for key, value in spec.items() if value is not None}
    return {"apiVersion": "switchyard.dev/v1alpha1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}


def variant(**fields: Any) -> dict[str, Any]:
    made = {"name": "gpu", "accelerators": ["nvidia-l4"], "container": {"image": "example.com/a:1"}, **fields}
    return {key: value for key, value in made.items() if value is not None}


def container(**fields: Any) -> dict[str, Any]:
    return workload(variants=[variant(container={"image": "example.com/a:1", **fields})])


def profile(**fields: Any) -> dict[str, Any]:
    return workload(variants=[variant(profile=fields)])


def signal(spec: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return workload(demand={"signal": fields}, **(spec or {}))


def by_gateway(**fields: Any) -> dict[str, Any]:
    return workload(exposure={"gateway": {"parentRefs": [{"name": "public"}], **fields}})


def by_istio(**fields: Any) -> dict[str, Any]:
    return workload(exposure={"istio": {"hosts": ["chat.example.com"], **fields}})


def auto(**terms: Any) -> dict[str, Any]:
    return workload(placement={"migration": "auto", "cutover": terms})


def capacity(**fields: Any) -> dict[str, Any]:
    return pool(capacity=fields)


_TERMS = "spec.placement.cutover"
ENGINE = {"iteration": "6ms", "perSequence": "60us", "perPrefillToken": "85us", "maxBatch": 256}
LINEAR = {
    "decodeAlpha": "20ms",
    "decodeBeta": "410us",
    "prefillGamma": "5ms",
    "prefillDelta": "100us",
    "maxBatch": 256,
}
SIZE = {"mean": "812", "cv": "0.9"}
FIGURES = {"p50": "1ms", "p95": "2ms", "p99": "3ms"}
CURVE = [{"rate": "1", **FIGURES}]
MODEL = {"slots": 4, "base": "20ms"}
BAD = {
    "a negative rate": (workload(demand={"requestsPerSecond": "-1"}), "spec.demand.requestsPerSecond"),
    "a peak below the mean": (
        workload(demand={"requestsPerSecond": "1", "peakFactor": "0.5"}),
        "spec.demand.peakFactor",
    ),
    "no demand": (workload(demand={}), "spec.demand"),
    "two demands": (workload(demand={"requestsPerSecond": "1", "requestsPerDay": 5}), "spec.demand"),
    "a deadline without a batch": (
        workload(demand={"requestsPerSecond": "1", "deadline": "1h"}),
        "spec.demand.deadline",
    ),
    "a deadline past a day": (
        workload(demand={"requestsPerDay": 5, "deadline": "25h"}),
        "spec.demand.deadline",
    ),
    "a deadline of nothing": (
        workload(demand={"requestsPerDay": 5, "deadline": "0s"}),
        "spec.demand.deadline",
    ),
    "10,000 replicas": (workload(scaling={"maxReplicas": 10_000}), "spec.scaling.maxReplicas"),
    "no replicas": (workload(scaling={"minReplicas": 0}), "spec.scaling.minReplicas"),
    "more at least than at most": (
        workload(scaling={"minReplicas": 3, "maxReplicas": 2}),
        "spec.scaling.minReplicas",
    ),
    "an unknown tier": (workload(tier="vip"), "spec.tier"),
    "no variants": (workload(variants=[]), "spec.variants"),
    "seventeen variants": (
        workload(variants=[variant(name=f"v{number}") for number in range(17)]),
        "spec.variants",
    ),
    "container and template": (
        workload(variants=[variant(podTemplateRef={"name": "t"})]),
        "spec.variants[0]",
    ),
    "neither container nor template": (workload(variants=[variant(container=None)]), "spec.variants[0]"),
    "an empty profile": (workload(variants=[variant(profile={})]), "spec.variants[0].profile"),
    "tokens and linear in one": (profile(tokens=ENGINE, linear=LINEAR), "spec.variants[0].profile"),
    "tokens without a batch": (
        profile(tokens={key: ENGINE[key] for key in ENGINE if key != "maxBatch"}),
        "spec.variants[0].profile.tokens.maxBatch",
    ),
    "a cache that holds every prompt": (
        profile(tokens={**ENGINE, "prefixHitRatio": "1"}),
        "spec.variants[0].profile.tokens.prefixHitRatio",
    ),
    "a learned thing of no known source": (
        profile(tokens=ENGINE, source="guess"),
        "spec.variants[0].profile.source",
    ),
    "half of the first token": (
        profile(points=[{**CURVE[0], "ttft": {"p50": "1ms"}}]),
        "spec.variants[0].profile.points[0].ttft",
    ),
    "a better answer than the best": (
        workload(variants=[variant(quality="1.2")]),
        "spec.variants[0].quality",
    ),
    "a plan per second and per day, and a signal": (
        workload(demand={"requestsPerDay": 5, "signal": {"preset": "vllm"}}),
        "spec.demand",
    ),
    "a window without a signal": (
        workload(demand={"requestsPerSecond": "1", "window": "5m"}),
        "spec.demand.window",
    ),
    "a window of seconds": (
        workload(demand={"signal": {"preset": "vllm"}, "window": "59s"}),
        "spec.demand.window",
    ),
    "a window past an hour": (
        workload(demand={"signal": {"preset": "vllm"}, "window": "61m"}),
        "spec.demand.window",
    ),
    "prompts without answers": (
        workload(demand={"requestsPerSecond": "1", "inputTokens": SIZE}),
        "spec.demand.inputTokens",
    ),
    "answers without prompts": (
        workload(demand={"requestsPerSecond": "1", "outputTokens": SIZE}),
        "spec.demand.inputTokens",
    ),
    "prompts of nothing": (
        workload(demand={"requestsPerSecond": "1", "inputTokens": {"mean": "0.5"}, "outputTokens": SIZE}),
        "spec.demand.inputTokens.mean",
    ),
    "a signal of nobody's metrics": (signal(), "spec.demand.signal"),
    "a signal of an unknown preset": (signal(preset="abacus"), "spec.demand.signal.preset"),
    "a preset and a template": (
        signal(preset="vllm", template="mine", source="main"),
        "spec.demand.signal.template",
    ),
    "a template without a source": (signal(template="mine"), "spec.demand.signal.template"),
    "a source by its address": (
        signal(preset="vllm", source="http://prometheus:9090"),
        "spec.demand.signal.source",
    ),
    "a proxy without a source": (signal(preset="nginx"), "spec.demand.signal"),
    "the signals' proxy without a source": (
        signal({"signals": {"preset": "istio", "learning": "off"}}),
        "spec.demand.signal",
    ),
    "learning from a proxy": (
        workload(signals={"preset": "istio", "source": "main", "learning": "use"}),
        "spec.signals.learning",
    ),
    "learning from no engine": (workload(signals={"source": "main"}), "spec.signals.preset"),
    "an objective of an unknown metric": (
        workload(objectives=[{"metric": "mood", "percentile": 95, "target": "1s"}]),
        "spec.objectives[0].metric",
    ),
    "a spread that one pool can't have": (
        workload(constraints={"spread": {"maxPercentPerPool": 60}}),
        "spec.constraints.spread.maxPercentPerPool",
    ),
    "a spread of nothing": (
        workload(constraints={"spread": {"maxPercentPerZone": 0}}),
        "spec.constraints.spread.maxPercentPerZone",
    ),
    "more than all after a loss": (
        workload(constraints={"spot": {"survivalPercent": 101}}),
        "spec.constraints.spot.survivalPercent",
    ),
    "more firm replicas than there may be": (
        workload(constraints={"spot": {"minFirmReplicas": 3}}, scaling={"maxReplicas": 2}),
        "spec.constraints.spot.minFirmReplicas",
    ),
    "fewer replicas only after days": (
        workload(scaling={"scaleDownDelay": "25h"}),
        "spec.scaling.scaleDownDelay",
    ),
    "a move by whim": (workload(placement={"migration": "always"}), "spec.placement.migration"),
    "a mix that moves by itself": (
        workload(placement={"migration": "auto", "mode": "mixed"}),
        "spec.placement.migration",
    ),
    "terms of plans that nobody makes": (
        workload(placement={"migration": "propose", "cutover": {"approvals": ["canary"]}}),
        "spec.placement.cutover",
    ),
    "a window of nothing": (auto(windows=[{"start": "09:00", "end": "09:00"}]), f"{_TERMS}.windows[0].end"),
    "a plan that must be done at once": (auto(budget={"deadline": "1s"}), f"{_TERMS}.budget.deadline"),
    "an approval of a segment": (auto(approvals=["segment:all"]), f"{_TERMS}.approvals[0]"),
    "a tolerance that goes with json": (
        auto(parity={"comparator": "text", "numericTolerance": "0.1"}),
        f"{_TERMS}.parity.comparator",
    ),
    "labels of texts": (auto(parity={"comparator": "text", "k": 3}), f"{_TERMS}.parity.k"),
    "a pointer into tokens": (
        auto(parity={"comparator": "tokens", "pointer": "/text"}),
        f"{_TERMS}.parity.pointer",
    ),
    "a placement that settles after days": (
        workload(placement={"stabilisation": "25h"}),
        "spec.placement.stabilisation",
    ),
    "a horizon of nothing": (workload(placement={"horizon": "0s"}), "spec.placement.horizon"),
    "a horizon of years": (workload(placement={"horizon": "8761h"}), "spec.placement.horizon"),
    "a fallback that is no variant": (workload(fallback=[{"variant": "cpu"}]), "spec.fallback"),
    "nothing but fallbacks": (workload(fallback=[{"variant": "gpu"}]), "spec.fallback"),
    "a fallback relaxed to nothing": (
        workload(fallback=[{"variant": "gpu", "objectives": []}]),
        "spec.fallback[0].objectives",
    ),
    "the same fallback twice": (
        workload(variants=[variant(), variant(name="b")], fallback=[{"variant": "b"}, {"variant": "b"}]),
        "spec.fallback[1]",
    ),
    "nine fallbacks": (
        workload(
            variants=[variant(name=f"v{number}") for number in range(10)],
            fallback=[{"variant": f"v{number}"} for number in range(9)],
        ),
        "spec.fallback",
    ),
    "an exposure by nothing": (workload(exposure={}), "spec.exposure"),
    "an exposure by two": (
        workload(exposure={"gateway": {"parentRefs": [{"name": "a"}]}, "istio": {"hosts": ["a"]}}),
        "spec.exposure",
    ),
    "an exposure by no Gateway": (by_gateway(parentRefs=[]), "spec.exposure.gateway.parentRefs"),
    "nine Gateways": (
        by_gateway(parentRefs=[{"name": f"g{number}"} for number in range(9)]),
        "spec.exposure.gateway.parentRefs",
    ),
    "the same Gateway twice": (
        by_gateway(parentRefs=[{"name": "a", "namespace": "n"}, {"name": "a", "namespace": "n"}]),
        "spec.exposure.gateway.parentRefs",
    ),
    "a Gateway and one of its listeners": (
        by_gateway(parentRefs=[{"name": "a"}, {"name": "a", "sectionName": "https"}]),
        "spec.exposure.gateway.parentRefs",
    ),
    "a Gateway in a namespace with dots": (
        by_gateway(parentRefs=[{"name": "a", "namespace": "a.b"}]),
        "spec.exposure.gateway.parentRefs[0].namespace",
    ),
    "a host with its port": (
        by_gateway(hostnames=["chat.example.com:443"]),
        "spec.exposure.gateway.hostnames[0]",
    ),
    "a host in capitals": (by_gateway(hostnames=["Chat.example.com"]), "spec.exposure.gateway.hostnames[0]"),
    "a wildcard in the middle": (
        by_gateway(hostnames=["chat.*.example.com"]),
        "spec.exposure.gateway.hostnames[0]",
    ),
    "the same host twice": (by_gateway(hostnames=["a", "a"]), "spec.exposure.gateway.hostnames[1]"),
    "seventeen hosts": (
        by_gateway(hostnames=[f"h{number}" for number in range(17)]),
        "spec.exposure.gateway.hostnames",
    ),
    "no paths": (by_gateway(paths=[]), "spec.exposure.gateway.paths"),
    "five paths": (by_gateway(paths=["/a", "/b", "/c", "/d", "/e"]), "spec.exposure.gateway.paths"),
    "a path without its slash": (by_gateway(paths=["v1"]), "spec.exposure.gateway.paths[0]"),
    "a path that ends in a slash": (by_gateway(paths=["/v1/"]), "spec.exposure.gateway.paths[0]"),
    "a path with an empty element": (by_gateway(paths=["/v1//a"]), "spec.exposure.gateway.paths[0]"),
    "a path that goes up": (by_gateway(paths=["/v1/../a"]), "spec.exposure.gateway.paths[0]"),
    "a path that stays": (by_gateway(paths=["/v1/."]), "spec.exposure.gateway.paths[0]"),
    "a path with a query": (by_gateway(paths=["/v1?a=b"]), "spec.exposure.gateway.paths[0]"),
    "an encoded path": (by_gateway(paths=["/v1%2fa"]), "spec.exposure.gateway.paths[0]"),
    "Istio without hosts": (by_istio(hosts=[]), "spec.exposure.istio.hosts"),
    "an Istio host with a scheme": (
        by_istio(hosts=["https://chat.example.com"]),
        "spec.exposure.istio.hosts[0]",
    ),
    "every host in the mesh": (by_istio(hosts=["*"]), "spec.exposure.istio.hosts"),
    "every host at a gateway and in the mesh": (
        by_istio(hosts=["*"], gateways=["infra/public", "mesh"]),
        "spec.exposure.istio.hosts",
    ),
    "an Istio gateway in a folder": (by_istio(gateways=["a/b/c"]), "spec.exposure.istio.gateways[0]"),
    "Istio by no gateway": (by_istio(gateways=[]), "spec.exposure.istio.gateways"),
    "interruptions of what stays": (pool(spot={"interruptionsPerDay": "1"}), "spec.spot"),
    "interruptions below none": (
        pool(capacityType="spot", spot={"interruptionsPerDay": "-1"}),
        "spec.spot.interruptionsPerDay",
    ),
    "a pool that grows without end": (capacity(mode="elastic"), "spec.capacity.maxDevices"),
    "a pool of nodes that grows": (capacity(maxDevices=8), "spec.capacity.maxDevices"),
    "nodes that need time to come": (
        capacity(provisioningTime="4m"),
        "spec.capacity.provisioningTime",
    ),
    "nodes that come after days": (
        capacity(mode="elastic", maxDevices=8, provisioningTime="25h"),
        "spec.capacity.provisioningTime",
    ),
    "more paid for than there may be": (
        capacity(mode="elastic", maxDevices=8, reservedDevices=9),
        "spec.capacity.reservedDevices",
    ),
    "two profiles in one": (
        workload(variants=[variant(profile={"points": CURVE, "concurrency": MODEL})]),
        "spec.variants[0].profile",
    ),
    "percentile 0": (
        workload(objectives=[{"percentile": 0, "target": "1s"}]),
        "spec.objectives[0].percentile",
    ),
    "a fractional percentile": (
        workload(objectives=[{"percentile": 99.9, "target": "1s"}]),
        "spec.objectives[0].percentile",
    ),
    "the same objective twice": (
        workload(
            objectives=[{"metric": "latency", "percentile": 95, "target": each} for each in ("1s", "2s")]
        ),
        "spec.objectives[1]",
    ),
    "an unknown family": (workload(constraints={"families": ["abacus"]}), "spec.constraints.families[0]"),
    "a probe of no kind": (
        container(readinessProbe={"periodSeconds": 1}),
        "spec.variants[0].container.readinessProbe",
    ),
    "a volume of two kinds": (
        container(volumes=[{"name": "a", "emptyDir": {}, "secret": {"secretName": "s"}}]),
        "spec.variants[0].container.volumes[0]",
    ),
    "a value and its source": (
        container(
            env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
        ),
        "spec.variants[0].container.env[0].valueFrom",
    ),
    "a value from nowhere": (
        container(env=[{"name": "A", "valueFrom": {}}]),
        "spec.variants[0].container.env[0].valueFrom",
    ),
    "memory that is no quantity": (
        container(resources={"requests": {"memory": "8 GB"}}),
        "spec.variants[0].container.resources.requests",
    ),
    "neither accelerator nor device": (pool(accelerator=None), "spec.accelerator"),
    "a device without a resource": (pool(accelerator=None, device={"family": "fpga"}), "spec.accelerator"),
    "no selector and no catalog": (
        pool(accelerator=None, device={"family": "fpga", "resourceName": "example.com/fpga"}),
        "spec.nodeSelector",
    ),
    "a selector of nothing": (pool(nodeSelector={}), "spec.nodeSelector"),
    "an unknown capacity type": (pool(capacityType="borrowed"), "spec.capacityType"),
    "a negative price": (pool(cost={"devicePerHour": "-1"}), "spec.cost.devicePerHour"),
    "rented and bought": (
        pool(cost={"devicePerHour": "1", "owned": {"purchasePrice": "1", "lifetimeMonths": 12}}),
        "spec.cost.owned",
    ),
    "a purchase without a life": (
        pool(cost={"owned": {"purchasePrice": "1"}}),
        "spec.cost.owned.lifetimeMonths",
    ),
    "a date that is none": (pool(cost={"asOf": "2026-13-01"}), "spec.cost.asOf"),
    "bounds of a pilot that is none": (pool(pilot={"maxPerHour": "1"}), "spec.pilot"),
    "an allocation of no devices": (pool(unitDevices=[0]), "spec.unitDevices[0]"),
    "an energy-saving site": (pool(cost={"energy": {"pue": "0.9"}}), "spec.cost.energy.pue"),
    "a network latency without unit": (
        pool(location={"networkLatency": "12"}),
        "spec.location.networkLatency",
    ),
}

GOOD = {
    "a workload that moves by itself": workload(placement={"migration": "auto"}),
    "one that does so within limits": auto(
        windows=[{"start": "22:00", "end": "05:00", "timeZone": "Europe/Berlin"}],
        budget={"maxDualRunCost": "20", "deadline": "48h"},
        approvals=["canary", "promote"],
        parity={"comparator": "json", "ignoredPaths": ["/id"]},
    ),
    "the smallest workload": workload(),
    "the smallest pool": pool(),
    "a daily batch": workload(demand={"requestsPerDay": 5, "deadline": "24h"}),
    "devices of a site's own": pool(
        accelerator=None,
        device={"family": "fpga", "resourceName": "example.com/fpga"},
        nodeSelector={"example.com/device": "fpga"},
    ),
    "numbers as quantities and ports": container(
        resources={"requests": {"cpu": 2, "memory": "8Gi"}},
        readinessProbe={"tcpSocket": {"port": 8080}},
        livenessProbe={"httpGet": {"port": "http"}},
    ),
    "a pool for every namespace": pool(allowedNamespaces={}),
    "a spot pool": pool(capacityType="spot", spot={"interruptionsPerDay": "0.5", "noticePeriod": "2m"}),
    "an elastic pool": capacity(mode="elastic", maxDevices=8, provisioningTime="24h", reservedDevices=8),
    "an engine's tokens": profile(tokens={**ENGINE, "prefixHitRatio": "0.999"}, source="learned"),
    "the form of other tools": profile(linear=LINEAR, source="vendor"),
    "a curve with first tokens": profile(points=[{**CURVE[0], "ttft": FIGURES, "tpot": FIGURES}]),
    "a signal of an engine": signal(preset="vllm"),
    "a signal with a plan and a window": workload(
        demand={"requestsPerSecond": "5", "signal": {"source": "main", "preset": "nginx"}, "window": "60m"}
    ),
    "a signal that the signals complete": signal({"signals": {"preset": "sglang", "source": "main"}}),
    "a proxy at the signals' source": signal({"signals": {"source": "main", "preset": "istio"}}),
    "a proxy before an engine that is learned from": signal(
        {"signals": {"preset": "vllm", "learning": "use"}}, preset="nginx", source="main"
    ),
    "a template at the signals' source": signal(
        {"signals": {"source": "main", "learning": "off"}}, template="mine"
    ),
    "sizes of requests": workload(
        demand={"requestsPerSecond": "5", "inputTokens": SIZE, "outputTokens": {"mean": "1"}}
    ),
    "three objectives at one percentile": workload(
        objectives=[
            {"metric": each, "percentile": 95, "target": "1s"} for each in ("latency", "ttft", "tpot")
        ]
    ),
    "an exposure by a Gateway": by_gateway(),
    "an exposure by all that a Gateway takes": by_gateway(
        parentRefs=[
            {"name": "public", "namespace": "infra", "sectionName": "https"},
            {"name": "public", "namespace": "infra", "sectionName": "http"},
            {"name": "public"},
            {"name": "inner.gate"},
        ],
        hostnames=["chat.example.com", "*.example.com", "localhost"],
        paths=["/", "/v1", "/v1/chat.completions", "/.well-known/a..b"],
    ),
    "an exposure by the mesh": by_istio(hosts=["chat", "*.example.com"]),
    "an exposure by gateways of Istio": by_istio(hosts=["*"], gateways=["infra/public", "own"]),
    "a spread over pools": workload(
        placement={"mode": "mixed"}, constraints={"spread": {"maxPercentPerPool": 1}}
    ),
    "a spread over zones in one pool": workload(constraints={"spread": {"maxPercentPerZone": 60}}),
    "as many firm replicas as there may be": workload(
        constraints={"spot": {"survivalPercent": 100, "minFirmReplicas": 2}}, scaling={"maxReplicas": 2}
    ),
    "changes at once": workload(
        scaling={"scaleDownDelay": "0s"}, placement={"stabilisation": "0s", "horizon": "1m"}
    ),
    "changes after a day": workload(
        scaling={"scaleDownDelay": "24h"}, placement={"stabilisation": "24h", "horizon": "8760h"}
    ),
    "a fallback of each kind": workload(
        variants=[variant(), variant(name="small")],
        fallback=[
            {"variant": "gpu", "objectives": [{"percentile": 95, "target": "2s"}]},
            {"variant": "small"},
        ],
    ),
}
