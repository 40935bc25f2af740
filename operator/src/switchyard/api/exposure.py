"""How callers outside the cluster, or in a mesh, reach a workload: by a Gateway or by Istio."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import ATOMIC, SET, one_of, rule, rules
from switchyard.api.values import ObjectName, SubdomainName

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = rf"{_LABEL}(\.{_LABEL})*"
_ELEMENT = r"\.{0,2}[-A-Za-z0-9_~!$&'()*+,;=:@][-A-Za-z0-9_~!$&'()*+,;=:@.]*"  # never `.` or `..`

Hostname = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^(\*\.)?{_NAME}$")]
MeshHost = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^(\*|(\*\.)?{_NAME})$")]
ExposedPath = Annotated[str, Field(min_length=1, max_length=512, pattern=rf"^(/|(/{_ELEMENT})+)$")]
MeshGateway = Annotated[
    str, Field(min_length=1, max_length=317, pattern=rf"^({_LABEL}/)?{_LABEL}(\.{_LABEL})*$")
]

_SAME_PARENT = (
    "p.name == q.name && (has(p.__namespace__) ? p.__namespace__ : '') == "
    "(has(q.__namespace__) ? q.__namespace__ : '')"
)
_SECTION = "(has({0}.sectionName) ? {0}.sectionName : '')"


class ParentReference(ApiModel):
    """A Gateway, or one listener of it."""

    name: Annotated[SubdomainName, Field(min_length=1)] = Field(
        description="Name of the Gateway.", examples=["public"]
    )
    namespace: Annotated[ObjectName, Field(min_length=1)] | None = Field(
        default=None,
        description="Namespace of the Gateway; its listener must allow routes from the workload's "
        "(`allowedRoutes`). Default: the workload's.",
        examples=["infra"],
    )
    section_name: Annotated[SubdomainName, Field(min_length=1)] | None = Field(
        default=None,
        description="Name of the listener. Default: every listener that takes the hostnames.",
        examples=["https"],
    )


class GatewayExposure(ApiModel):
    """An HTTPRoute of the Gateway API, made and kept by the operator."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"self.parentRefs.all(p, self.parentRefs.exists_one(q, {_SAME_PARENT} && "
                f"{_SECTION.format('p')} == {_SECTION.format('q')}))",
                "two parentRefs are the same: leave one out",
                ".parentRefs",
            ),
            rule(
                f"self.parentRefs.all(p, has(p.sectionName) || "
                f"self.parentRefs.exists_one(q, {_SAME_PARENT}))",
                "a Gateway that is named twice needs sectionName in each of its parentRefs",
                ".parentRefs",
            ),
        )
    )

    parent_refs: Annotated[
        tuple[ParentReference, ...], Field(min_length=1, max_length=8, json_schema_extra=ATOMIC)
    ] = Field(
        description="Gateways that the workload is reached by.",
        examples=[[{"name": "public", "namespace": "infra", "sectionName": "https"}]],
    )
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16, json_schema_extra=SET)] = Field(
        default=(),
        description="Host names of requests, in lower case; the first label may be `*`. Default: those of "
        "the Gateway's listeners.",
        examples=[["chat.example.com"]],
    )
    paths: Annotated[tuple[ExposedPath, ...], Field(min_length=1, max_length=4, json_schema_extra=SET)] = (
        Field(
            default=("/",),
            description="Path prefixes of requests, element by element: `/v1` takes `/v1` and `/v1/chat`, "
            "not `/v10`; the path is passed on unchanged. Default: `/`, all.",
            examples=[["/v1"]],
            json_schema_extra={"default": ["/"]},
        )
    )


class IstioExposure(ApiModel):
    """A VirtualService of Istio, made and kept by the operator."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!('*' in self.hosts) || !('mesh' in self.gateways)",
                "the host `*` is not for the mesh: give gateways without mesh, or name hosts",
                ".hosts",
            ),
        )
    )

    hosts: Annotated[tuple[MeshHost, ...], Field(min_length=1, max_length=16, json_schema_extra=SET)] = Field(
        description="Host names of requests, in lower case; the first label may be `*`. A name without dots "
        "is a Service in the workload's namespace.",
        examples=[["chat.example.com"]],
    )
    gateways: Annotated[tuple[MeshGateway, ...], Field(min_length=1, max_length=8, json_schema_extra=SET)] = (
        Field(
            default=("mesh",),
            description="Istio Gateways as `name` or `namespace/name`; `mesh` stands for all sidecars. "
            "Default: `mesh`.",
            examples=[["infra/public"]],
            json_schema_extra={"default": ["mesh"]},
        )
    )


class Exposure(ApiModel):
    """One way by which callers reach the workload, beside its stable Service."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule(one_of("gateway", "istio"), "give exactly one of gateway and istio"))
    )

    gateway: GatewayExposure | None = Field(
        default=None,
        description="By Gateways of the Gateway API (gateway.networking.k8s.io/v1).",
        examples=[{"parentRefs": [{"name": "public", "namespace": "infra"}]}],
    )
    istio: IstioExposure | None = Field(
        default=None,
        description="By Istio (networking.istio.io/v1).",
        examples=[{"hosts": ["chat.example.com"], "gateways": ["infra/public"]}],
    )
