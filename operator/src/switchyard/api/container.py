"""The server container of a variant: the part of core/v1 Container that placing a model needs.

Names and meaning are those of core/v1, so that a container can be moved here and back unchanged. Who needs
more refers to a PodTemplate.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from switchyard.api.base import ApiModel
from switchyard.api.schema_marks import ATOMIC, map_by, one_of, rule, rules
from switchyard.api.values import Line, ObjectName, Quantity, ResourceName, SubdomainName

ConfigKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Path = Annotated[str, Field(min_length=1, max_length=1024)]
Seconds = Annotated[int, Field(ge=0, le=86_400)]


class _IntOrString:
    """Marks a port that is a number or the name of one."""

    @staticmethod
    def parse(given: object) -> int | str:
        """The port. Raises ValueError when it is neither."""
        if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= 65_535:
            return given
        if isinstance(given, str) and 1 <= len(given) <= 15:
            return given
        raise ValueError("give a port of 1 to 65535, or the name of one")

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads it."""
        del source, handler
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema of an integer or a string."""
        del core, handler
        return {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "minimum": 1,
            "maximum": 65_535,
            "minLength": 1,
            "maxLength": 15,
        }


PortReference = Annotated[int | str, _IntOrString()]


class KeyReference(ApiModel):
    """One key of a ConfigMap or Secret in the workload's namespace."""

    name: SubdomainName = Field(description="Name of the object.", examples=["model-settings"])
    key: ConfigKey = Field(description="Key in it.", examples=["max-batch"])
    optional: bool | None = Field(
        default=None, description="Start without it when it is missing. Default: false.", examples=[True]
    )


class FieldReference(ApiModel):
    """A field of the pod itself."""

    field_path: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Path of the field.", examples=["metadata.name"]
    )


class EnvironmentSource(ApiModel):
    """Where a variable's value comes from; exactly one."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                one_of("configMapKeyRef", "secretKeyRef", "fieldRef"),
                "give exactly one of configMapKeyRef, secretKeyRef and fieldRef",
            )
        )
    )

    config_map_key_ref: KeyReference | None = Field(
        default=None, description="A key of a ConfigMap.", examples=[{"name": "settings", "key": "max-batch"}]
    )
    secret_key_ref: KeyReference | None = Field(
        default=None, description="A key of a Secret.", examples=[{"name": "hub", "key": "token"}]
    )
    field_ref: FieldReference | None = Field(
        default=None, description="A field of the pod.", examples=[{"fieldPath": "metadata.name"}]
    )


class EnvironmentVariable(ApiModel):
    """One environment variable."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.value) && has(self.valueFrom))",
                "give value or valueFrom, not both",
                ".valueFrom",
            )
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")] = (
        Field(description="Name of the variable.", examples=["MAX_BATCH"])
    )
    value: Annotated[str, Field(max_length=8192)] | None = Field(
        default=None, description="Its value. Default: empty.", examples=["16"]
    )
    value_from: EnvironmentSource | None = Field(
        default=None,
        description="Where its value comes from instead.",
        examples=[{"secretKeyRef": {"name": "hub", "key": "token"}}],
    )


class Resources(ApiModel):
    """CPU and memory of the server. The devices are added by the operator."""

    requests: Annotated[dict[ResourceName, Quantity], Field(max_length=16)] | None = Field(
        default=None, description="What the pod is sure to get.", examples=[{"cpu": "2", "memory": "8Gi"}]
    )
    limits: Annotated[dict[ResourceName, Quantity], Field(max_length=16)] | None = Field(
        default=None, description="What the pod may not exceed.", examples=[{"memory": "8Gi"}]
    )


class ContainerPort(ApiModel):
    """One port that the server listens on."""

    container_port: Annotated[int, Field(ge=1, le=65_535)] = Field(
        description="Port number.", examples=[8080]
    )
    name: (
        Annotated[str, Field(min_length=1, max_length=15, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] | None
    ) = Field(default=None, description="Name of the port. Default: none.", examples=["http"])
    protocol: Literal["TCP", "UDP", "SCTP"] = Field(default="TCP", description="Protocol.", examples=["TCP"])


class HttpGet(ApiModel):
    """A GET that must answer with 200 to 399."""

    path: Path = Field(default="/", description="Path.", examples=["/health"])
    port: PortReference = Field(description="Port, by number or name.", examples=[8080])
    scheme: Literal["HTTP", "HTTPS"] = Field(default="HTTP", description="Scheme.", examples=["HTTP"])


class TcpSocket(ApiModel):
    """A connection that must come about."""

    port: PortReference = Field(description="Port, by number or name.", examples=[8080])


class Exec(ApiModel):
    """A command in the container that must exit with 0."""

    command: Annotated[tuple[Path, ...], Field(max_length=32, json_schema_extra=ATOMIC)] = Field(
        description="The command and its arguments.", examples=[["cat", "/ready"]]
    )


class Probe(ApiModel):
    """How the kubelet finds out how the server is; exactly one way."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                one_of("httpGet", "tcpSocket", "exec"),
                "give exactly one of httpGet, tcpSocket and exec",
            )
        )
    )

    http_get: HttpGet | None = Field(
        default=None, description="Ask by HTTP.", examples=[{"path": "/health", "port": 8080}]
    )
    tcp_socket: TcpSocket | None = Field(default=None, description="Connect.", examples=[{"port": 8080}])
    exec: Exec | None = Field(default=None, description="Run a command.", examples=[{"command": ["true"]}])
    initial_delay_seconds: Seconds | None = Field(
        default=None, description="Seconds before the first probe. Default: 0.", examples=[5]
    )
    period_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = Field(
        default=None, description="Seconds between probes. Default: 10.", examples=[2]
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = Field(
        default=None, description="Seconds until a probe counts as failed. Default: 1.", examples=[2]
    )
    success_threshold: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Probes in a row that must succeed. Default: 1.", examples=[1]
    )
    failure_threshold: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Probes in a row that must fail. Default: 3.", examples=[30]
    )


class EmptyDirectory(ApiModel):
    """Scratch space that lives as long as the pod."""

    medium: Literal["", "Memory"] | None = Field(
        default=None, description="Where it lies: disk, or Memory. Default: disk.", examples=["Memory"]
    )
    size_limit: Quantity | None = Field(
        default=None, description="Most that it may hold, in bytes. Default: no limit.", examples=["2Gi"]
    )


class KeyToPath(ApiModel):
    """One key and the file that it becomes."""

    key: ConfigKey = Field(description="Key in the object.", examples=["config.json"])
    path: Path = Field(description="File, relative to the mount.", examples=["config.json"])


KeysToPaths = Annotated[tuple[KeyToPath, ...], Field(max_length=64, json_schema_extra=ATOMIC)]


class ConfigMapVolume(ApiModel):
    """Files of a ConfigMap."""

    name: SubdomainName = Field(description="Name of the ConfigMap.", examples=["model-settings"])
    items: KeysToPaths | None = Field(
        default=None,
        description="Which keys, as which files. Default: all, under their own names.",
        examples=[[{"key": "config.json", "path": "config.json"}]],
    )
    optional: bool | None = Field(
        default=None, description="Start without it when it is missing. Default: false.", examples=[True]
    )


class SecretVolume(ApiModel):
    """Files of a Secret."""

    secret_name: SubdomainName = Field(description="Name of the Secret.", examples=["hub-token"])
    items: KeysToPaths | None = Field(
        default=None,
        description="Which keys, as which files. Default: all, under their own names.",
        examples=[[{"key": "token", "path": "token"}]],
    )
    optional: bool | None = Field(
        default=None, description="Start without it when it is missing. Default: false.", examples=[True]
    )


class ClaimVolume(ApiModel):
    """A volume by its claim, for model weights."""

    claim_name: SubdomainName = Field(description="Name of the PersistentVolumeClaim.", examples=["weights"])
    read_only: bool | None = Field(
        default=None, description="Mount it without write access. Default: false.", examples=[True]
    )


class Volume(ApiModel):
    """A volume and where its content comes from; exactly one source."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                one_of("emptyDir", "configMap", "secret", "persistentVolumeClaim"),
                "give exactly one of emptyDir, configMap, secret and persistentVolumeClaim",
            )
        )
    )

    name: ObjectName = Field(description="Name for volumeMounts.", examples=["weights"])
    empty_dir: EmptyDirectory | None = Field(
        default=None, description="Scratch space.", examples=[{"sizeLimit": "2Gi"}]
    )
    config_map: ConfigMapVolume | None = Field(
        default=None, description="Files of a ConfigMap.", examples=[{"name": "model-settings"}]
    )
    secret: SecretVolume | None = Field(
        default=None, description="Files of a Secret.", examples=[{"secretName": "hub-token"}]
    )
    persistent_volume_claim: ClaimVolume | None = Field(
        default=None,
        description="A volume by its claim.",
        examples=[{"claimName": "weights", "readOnly": True}],
    )


class VolumeMount(ApiModel):
    """Where a volume appears in the container."""

    name: ObjectName = Field(description="Name of the volume.", examples=["weights"])
    mount_path: Path = Field(description="Directory in the container.", examples=["/models"])
    sub_path: Path | None = Field(
        default=None, description="Directory in the volume. Default: its root.", examples=["llama"]
    )
    read_only: bool | None = Field(
        default=None, description="Without write access. Default: false.", examples=[True]
    )


class Container(ApiModel):
    """The server of a variant."""

    image: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Image.", examples=["ghcr.io/example/llm-server:1.4"]
    )
    command: Annotated[tuple[Line, ...], Field(max_length=32, json_schema_extra=ATOMIC)] | None = Field(
        default=None, description="Entry point. Default: of the image.", examples=[["python", "-m", "server"]]
    )
    args: (
        Annotated[
            tuple[Annotated[str, Field(max_length=4096)], ...],
            Field(max_length=128, json_schema_extra=ATOMIC),
        ]
        | None
    ) = Field(default=None, description="Arguments. Default: of the image.", examples=[["--model=chat"]])
    env: (
        Annotated[tuple[EnvironmentVariable, ...], Field(max_length=128, json_schema_extra=map_by("name"))]
        | None
    ) = Field(
        default=None,
        description="Environment variables. The operator adds SWITCHYARD_ACCELERATOR, SWITCHYARD_POOL, "
        "SWITCHYARD_VARIANT and SWITCHYARD_WORKLOAD. Default: none.",
        examples=[[{"name": "MAX_BATCH", "value": "16"}]],
    )
    resources: Resources | None = Field(
        default=None,
        description="CPU and memory. The operator adds the devices. Default: none asked for.",
        examples=[{"requests": {"cpu": "2", "memory": "8Gi"}}],
    )
    ports: (
        Annotated[
            tuple[ContainerPort, ...],
            Field(max_length=16, json_schema_extra=map_by("containerPort", "protocol")),
        ]
        | None
    ) = Field(
        default=None,
        description="Ports. Default: spec.port, named http.",
        examples=[[{"name": "http", "containerPort": 8080}]],
    )
    startup_probe: Probe | None = Field(
        default=None,
        description="Until this succeeds, the other probes wait. Default: none.",
        examples=[{"httpGet": {"path": "/health", "port": 8080}, "failureThreshold": 60}],
    )
    readiness_probe: Probe | None = Field(
        default=None,
        description="While this succeeds, requests come. Default: a connection to spec.port every 2 s.",
        examples=[{"httpGet": {"path": "/health", "port": 8080}}],
    )
    liveness_probe: Probe | None = Field(
        default=None,
        description="When this fails, the container is started anew. Default: none.",
        examples=[{"httpGet": {"path": "/health", "port": 8080}}],
    )
    volumes: Annotated[tuple[Volume, ...], Field(max_length=16, json_schema_extra=map_by("name"))] | None = (
        Field(
            default=None,
            description="Volumes of the pod. Default: none.",
            examples=[[{"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}]],
        )
    )
    volume_mounts: (
        Annotated[tuple[VolumeMount, ...], Field(max_length=32, json_schema_extra=map_by("mountPath"))] | None
    ) = Field(
        default=None,
        description="Where volumes appear. Default: nowhere.",
        examples=[[{"name": "weights", "mountPath": "/models"}]],
    )
