"""What is wrong with the schema of a CustomResourceDefinition: it must be structural."""

from __future__ import annotations

from switchyard.sandbox.apiserver.errors import FieldError
from switchyard.sandbox.apiserver.resources import Json


def check_schema(schema: Json, field: str) -> list[FieldError]:
    """Stub."""
    return []
