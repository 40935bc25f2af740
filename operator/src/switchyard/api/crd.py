"""The CustomResourceDefinitions, made from the models.

pydantic's JSON Schema is turned into the structural schema that Kubernetes takes: no references, no unions
with null, nothing that the API server would refuse, and descriptions that say default and example, so that
`kubectl explain` teaches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from switchyard.api import GROUP, VERSION
from switchyard.api.cutover import CutoverPlan
from switchyard.api.pool import AcceleratorPool
from switchyard.api.workload import InferenceWorkload

_NOT_KUBERNETES = ("title", "examples", "$defs", "propertyNames")
_STANDARD = {
    "apiVersion": f"Version of the schema of this object, `{GROUP}/{VERSION}`.",
    "kind": "Kind of this object.",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`. Priority 1 shows with `-o wide` only."""

    name: str
    json_path: str
    type: str
    description: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """What a definition says besides its schema."""

    name: str
    plural: str
    short_name: str
    is_namespaced: bool
    model: type[BaseModel]
    description: str
    columns: tuple[Column, ...]

    @property
    def file_name(self) -> str:
        """The file that carries the definition."""
        return f"{GROUP}_{self.plural}.yaml"


def _condition_column(kind: str, description: str, priority: int = 0) -> Column:
    path = f'.status.conditions[?(@.type=="{kind}")].status'
    name = "Objectives" if kind == "ObjectivesMet" else "Budget" if kind == "WithinBudget" else kind
    return Column(name, path, "string", description, priority)


_AGE = Column("Age", ".metadata.creationTimestamp", "date", "Time since it was created.")

CUTOVER_PLAN = Kind(
    "CutoverPlan",
    "cutoverplans",
    "cutover",
    is_namespaced=True,
    model=CutoverPlan,
    description="CutoverPlan moves a live InferenceWorkload to another variant and pool, with evidence, and "
    "back by itself when the evidence is against it.",
    columns=(
        Column("Workload", ".spec.workloadRef.name", "string", "The workload that moves."),
        Column("Target", ".status.summary.target", "string", "Variant and pool that it moves to."),
        Column("Phase", ".status.phase", "string", "Where the plan is."),
        Column("Segment", ".status.segment", "string", "Part of the traffic that moves."),
        Column("Weight", ".status.summary.weight", "string", "Share of it on the candidate."),
        Column("Verdict", ".status.summary.verdict", "string", "The worst verdict of the gates."),
        _AGE,
        Column("Router", ".status.router", "string", "What moves the traffic.", 1),
        Column("Cost", ".status.cost.dualRun", "string", "Spent on running both sides.", 1),
        Column("Message", ".status.message", "string", "What it waits for, or what came of it.", 1),
    ),
)

KINDS = (
    Kind(
        "AcceleratorPool",
        "acceleratorpools",
        "apool",
        is_namespaced=False,
        model=AcceleratorPool,
        description="AcceleratorPool is a set of nodes that are interchangeable for placement, with what "
        "they cost.",
        columns=(
            Column("Accelerator", ".spec.accelerator", "string", "Catalog entry of the devices."),
            Column("Type", ".spec.capacityType", "string", "How the devices are paid for."),
            Column("Devices", ".status.devices.total", "integer", "Devices of all nodes."),
            Column("Used", ".status.devices.used", "integer", "Devices in use."),
            Column("$/dev-h", ".status.cost.devicePerHour", "string", "Cost of a device per hour."),
            _condition_column("Ready", "Whether nodes take pods."),
            _AGE,
            Column("Nodes", ".status.nodes.ready", "integer", "Nodes that are ready.", 1),
            Column("Unhealthy", ".status.devices.unhealthy", "integer", "Devices reported as unhealthy.", 1),
            Column("Region", ".spec.location.region", "string", "Where the nodes stand.", 1),
            Column("Workloads", ".status.workloads", "integer", "Workloads placed here.", 1),
            Column("Waste/h", ".status.wastePerHour", "string", "Cost of paid devices that idle.", 1),
            Column("Back-Off", ".status.backOff.until", "string", "Until when it is believed short.", 1),
        ),
    ),
    Kind(
        "InferenceWorkload",
        "inferenceworkloads",
        "iw",
        is_namespaced=True,
        model=InferenceWorkload,
        description="InferenceWorkload is a model service with latency objectives, and the ways it can be "
        "served.",
        columns=(
            Column("Tier", ".spec.tier", "string", "Who is served first when devices are short."),
            Column("Placement", ".status.summary.placement", "string", "Pool and variant."),
            Column("Replicas", ".status.replicas", "integer", "Replicas wanted."),
            Column("$/h", ".status.costPerHour", "string", "Cost per hour."),
            Column("p95 (target)", ".status.summary.latency", "string", "Predicted latency, and its target."),
            _condition_column("ObjectivesMet", "Whether the latency objectives are met."),
            _condition_column("Ready", "Whether it serves."),
            _AGE,
            Column("Ready-Replicas", ".status.readyReplicas", "integer", "Replicas that are ready.", 1),
            _condition_column("WithinBudget", "Whether it costs no more than its budget.", 1),
            _condition_column("Degraded", "Whether it serves with less than it asked for.", 1),
            Column("Demand", ".status.demand.requestsPerSecond", "string", "Requests per second.", 1),
            Column("Source", ".status.demand.source", "string", "How the demand is known.", 1),
            Column(
                "Saving/h",
                ".status.recommendation.savingPerHour",
                "string",
                "What the recommended placement would save per hour.",
                1,
            ),
            Column(
                "Reason",
                '.status.conditions[?(@.type=="Placed")].reason',
                "string",
                "Why it is (not) placed.",
                1,
            ),
        ),
    ),
    CUTOVER_PLAN,
)


def build_definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.is_namespaced else "Cluster",
            "names": {
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "shortNames": [kind.short_name],
                "categories": ["switchyard"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(each) for each in kind.columns],
                    "schema": {"openAPIV3Schema": build_schema(kind)},
                }
            ],
        },
    }


def build_schema(kind: Kind) -> dict[str, Any]:
    """The structural schema of a kind."""
    source = kind.model.model_json_schema(by_alias=True, mode="validation")
    schema = _convert(source, source.get("$defs", {}))
    properties = schema["properties"]
    properties["status"]["default"] = {"observedGeneration": -1}
    schema["description"] = kind.description
    schema["required"] = ["spec"]
    schema["properties"] = {
        **{name: {"type": "string", "description": text} for name, text in _STANDARD.items()},
        "metadata": {"type": "object"},
        **properties,
    }
    return _ordered(schema)


def render_definition(kind: Kind) -> str:
    """The definition as YAML, with a note that it is generated."""
    text = yaml.safe_dump(build_definition(kind), sort_keys=False, width=110, allow_unicode=True)
    return f"# Generated from the models in switchyard/api by `make generate`. Do not edit.\n{text}"


def _column(column: Column) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
        "description": column.description,
    }
    return {**made, "priority": column.priority} if column.priority else made


def _convert(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without references, null, and words that Kubernetes does not know."""
    made = _resolve(schema, definitions)
    examples = made.get("examples")
    if "const" in made:
        made["enum"] = [made.pop("const")]
        made["type"] = "string"
    if made.get("type") == "object":
        _convert_object(made, definitions)
    elif made.get("type") == "array":
        made["items"] = _convert(made["items"], definitions)
    elif "x-kubernetes-int-or-string" in made:
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    elif made.get("format") == "date":
        made |= {"maxLength": 10, "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
    elif "enum" in made:
        made["maxLength"] = max(len(str(each)) for each in made["enum"])
    if made.get("default", ()) is None:
        del made["default"]
    if "description" in made:
        made["description"] = _describe(made["description"], made, examples)
    if made.get("type") == "array" and made.get("default") == []:
        del made["default"]  # an absent list reads the same, and stays out of what authors wrote
    return {key: value for key, value in made.items() if key not in _NOT_KUBERNETES}


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with references and `X or null` replaced by what they stand for; what is nearer wins."""
    made = dict(schema)
    while True:
        if "$ref" in made:
            target = definitions[made.pop("$ref").rsplit("/", 1)[-1]]
            made = {**target, **made}
        elif "anyOf" in made and "x-kubernetes-int-or-string" not in made:
            real = [each for each in made.pop("anyOf") if each.get("type") != "null"]
            if len(real) != 1:
                raise TypeError(f"a union that no structural schema can say: {json.dumps(real)}")
            made = {**real[0], **made}
        else:
            return made


def _convert_object(made: dict[str, Any], definitions: Mapping[str, Any]) -> None:
    if "properties" in made:
        made["properties"] = {name: _convert(each, definitions) for name, each in made["properties"].items()}
        made.pop("additionalProperties", None)
        return
    values = made.get("additionalProperties")
    if values is None:  # keys with a pattern: the API server knows values only
        (values,) = made.pop("patternProperties").values()
    made["additionalProperties"] = _convert(values, definitions)


def _describe(text: str, schema: Mapping[str, Any], examples: Any) -> str:
    """The description with the default and an example."""
    parts = [text]
    default = schema.get("default")
    if default is not None and default not in ([], {}) and "Default:" not in text:
        parts.append(f"Default: {_show(default)}.")
    if examples:
        parts.append(f"Example: {_show(examples[0])}.")
    return " ".join(part for part in parts if part)


def _show(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


_ORDER = ("description", "type", "format", "default", "enum", "required", "properties", "items")


def _ordered(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, its keys in one order at every level."""
    made = {}
    for key in (
        *(each for each in _ORDER if each in schema),
        *(each for each in schema if each not in _ORDER),
    ):
        value = schema[key]
        if key == "properties":
            value = {name: _ordered(each) for name, each in value.items()}
        elif key in {"items", "additionalProperties"} and isinstance(value, dict):
            value = _ordered(value)
        made[key] = value
    return made
