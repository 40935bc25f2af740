"""The rules that a schema has, for tests that hold each of them to be broken by some bad input."""

from __future__ import annotations

from typing import Any


def rule_messages(schema: Any) -> list[str]:
    """The messages of all rules in a part of a schema."""
    if isinstance(schema, list):
        return [message for each in schema for message in rule_messages(each)]
    if not isinstance(schema, dict):
        return []
    own = [each["message"] for each in schema.get("x-kubernetes-validations", ())]
    return own + [message for each in schema.values() for message in rule_messages(each)]
