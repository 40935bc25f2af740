"""A kind made for this suite: it has one field for each thing that a schema can do."""

from __future__ import annotations

from typing import Any

GROUP = "suite.example.com"
GROUP_PATH = f"/apis/{GROUP}/v1"
CRDS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRD_PATH = f"{CRDS_PATH}/widgets.{GROUP}"

_SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 100},
        "colour": {"type": "string", "enum": ["red", "green"], "default": "red"},
        "owner": {
            "type": "string",
            "maxLength": 20,
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "owner is immutable"}],
        },
        "limit": {"x-kubernetes-int-or-string": True},
        "replicas": {"type": "integer", "default": 1},
        "tags": {
            "type": "array",
            "maxItems": 4,
            "items": {"type": "string", "maxLength": 10},
            "x-kubernetes-list-type": "set",
        },
        "parts": {
            "type": "array",
            "maxItems": 8,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 20},
                    "weight": {"type": "integer", "default": 1},
                },
            },
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "nested": {
            "type": "object",
            "default": {},
            "properties": {"depth": {"type": "integer", "default": 3}},
        },
    },
    "x-kubernetes-validations": [
        {
            "rule": "!has(self.tags) || size(self.tags) <= self.size",
            "message": "no more tags than size",
            "fieldPath": ".tags",
        },
        {"rule": "self.size >= oldSelf.size", "message": "a widget never shrinks"},
    ],
}
_STATUS: dict[str, Any] = {
    "type": "object",
    "default": {"observedGeneration": -1},
    "properties": {
        "observedGeneration": {"type": "integer"},
        "phase": {"type": "string"},
        "replicas": {"type": "integer"},
        "conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status"],
                "properties": {"type": {"type": "string"}, "status": {"type": "string"}},
            },
        },
    },
}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["suite"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {
                        "name": "Ready",
                        "type": "string",
                        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                    },
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "priority": 1},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {"spec": _SPEC, "status": _STATUS},
                    }
                },
            }
        ],
    },
}


def widget(name: str, labels: dict[str, str] | None = None, /, **spec: Any) -> dict[str, Any]:
    """A widget of size 5 unless told otherwise."""
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 5, **spec}}


def causes(status: Any) -> list[tuple[str, str]]:
    """Field and message of each cause of a refusal."""
    return [
        (cause.get("field", ""), cause.get("message", "")) for cause in status["details"].get("causes", [])
    ]
