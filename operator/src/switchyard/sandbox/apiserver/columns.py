"""What a column of a Table is, and the columns that most kinds share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from switchyard.sandbox.apiserver.durations import age
from switchyard.sandbox.apiserver.resources import Json

_DOCS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
_NAMES = "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
_NAME_DESCRIPTION = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources "
    "may allow a client to request the generation of an appropriate name automatically. Name is primarily "
    f"intended for creation idempotence and configuration definition. Cannot be updated. More info: {_NAMES}"
)
CREATED_DESCRIPTION = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not "
    "guaranteed to be set in happens-before order across separate operations. Clients may not set this "
    "value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for "
    f"lists. More info: {_DOCS}"
)


@dataclass(frozen=True)
class Column:
    """A column: its header, and what an object's cell shows."""

    name: str
    cell: Callable[[Json], Any]
    description: str = ""
    type: str = "string"
    format: str = ""
    priority: int = 0

    def definition(self) -> Json:
        """The column as a Table declares it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def at(obj: Json, path: str, default: Any = None) -> Any:
    """The value at a dotted path of fields, or the default where any is missing."""
    value: Any = obj
    for name in path.split("."):
        if not isinstance(value, dict):
            return default
        value = value.get(name)
    return default if value is None else value


NAME = Column("Name", lambda obj: obj["metadata"]["name"], _NAME_DESCRIPTION, format="name")
AGE = Column("Age", lambda obj: age(obj["metadata"].get("creationTimestamp")), CREATED_DESCRIPTION)
CREATED = Column(
    "Created At", lambda obj: obj["metadata"].get("creationTimestamp"), CREATED_DESCRIPTION, type="date"
)
