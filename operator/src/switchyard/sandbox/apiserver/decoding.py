"""What a request says: its body as an object, and the form in which it wants its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import yaml

from switchyard.sandbox.apiserver.errors import ApiError, bad_request

Form = Literal["object", "table", "metadata"]
PROTOBUF = "application/vnd.kubernetes.protobuf"
_READABLE = "application/json,application/yaml,application/vnd.kubernetes.protobuf"
_YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The form an answer takes. `is_yaml` is for objects only: streams and tables are JSON."""

    form: Form = "object"
    is_yaml: bool = False


def negotiate(accept: str) -> Accepted:
    """The first form in an Accept header that this server can give. Raises 406."""
    if accept in ("", "*/*", "application/json"):
        return Accepted()
    for clause in accept.split(","):
        media, _, rest = clause.strip().partition(";")
        parameters = dict(part.strip().partition("=")[::2] for part in rest.split(";") if part)
        if media in ("application/json", "application/*", "*/*"):
            wanted = parameters.get("as")
            if wanted is None:
                return Accepted()
            if parameters.get("g") != "meta.k8s.io" or parameters.get("v") not in ("v1", "v1beta1"):
                continue
            if wanted == "Table":
                return Accepted("table")
            if wanted in ("PartialObjectMetadata", "PartialObjectMetadataList"):
                return Accepted("metadata")
        if media == "application/yaml" and "as" not in parameters:
            return Accepted(is_yaml=True)
    known = _READABLE.replace(",", ", ")
    raise ApiError(406, "NotAcceptable", f"only the following media types are accepted: {known}", {})


def decode_body(
    raw: bytes, content_type: str, decode_protobuf: Callable[[bytes], dict[str, Any]]
) -> dict[str, Any]:
    """The object in the body of a create, update or delete. Raises 400 or 415."""
    media = content_type.partition(";")[0].strip().lower() or "application/json"
    if media == PROTOBUF or raw[:4] == b"k8s\x00":
        try:
            return decode_protobuf(raw)
        except ValueError as error:
            raise bad_request(f"cannot decode the protobuf body: {error}") from error
    if media == "application/yaml":
        return decode_yaml(raw)
    if media != "application/json":
        raise ApiError(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            + _READABLE.replace(",", ", "),
        )
    return decode_json(raw)


def decode_json(raw: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises 400."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"couldn't parse the body as JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_request(f"json: cannot unmarshal {type(value).__name__} into Go value of type map")
    return value


def decode_yaml(raw: bytes) -> dict[str, Any]:
    """The YAML (or JSON) object in a body, with dates as text. Raises 400."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            loaded = yaml.load(raw, Loader=_YAML_LOADER)  # noqa: S506 the loader is one of the safe ones
            value = orjson.loads(orjson.dumps(loaded))
        except (yaml.YAMLError, TypeError) as error:
            raise bad_request(f"error decoding YAML: {error}") from error
    if not isinstance(value, dict):
        raise bad_request("error decoding YAML: the document is not a map")
    return value


def duplicate_fields(raw: bytes) -> list[str]:
    """The fields that a JSON body names twice, as strict validation tells them; empty for other formats."""
    try:
        document = json.loads(raw, object_pairs_hook=_Pairs)
    except ValueError:
        return []
    return list(_duplicates(document, ""))


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its members, those of the same name too."""


def _duplicates(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            here = f"{path}.{key}" if path else key
            if key in seen:
                yield f'duplicate field "{here}"'
            seen.add(key)
            yield from _duplicates(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _duplicates(item, f"{path}[{index}]")
