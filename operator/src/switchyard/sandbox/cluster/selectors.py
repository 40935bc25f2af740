"""Which labels a selector matches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Labels = Mapping[str, str]


def matches_labels(selector: Mapping[str, str] | None, labels: Labels) -> bool:
    """Whether an equality selector (of a Service, a nodeSelector) holds; an absent one matches nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in (selector or {}).items())


def matches_selector(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a LabelSelector holds: None matches nothing, an empty one everything."""
    if selector is None:
        return False
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(matches_expression(term, labels) for term in selector.get("matchExpressions") or ())


def matches_expression(term: Mapping[str, Any], labels: Labels) -> bool:
    """Whether one requirement (key, operator, values) holds, operators of node selectors included."""
    key, operator, values = term["key"], term["operator"], term.get("values") or []
    present = key in labels
    if operator == "In":
        return present and labels[key] in values
    if operator == "NotIn":
        return not present or labels[key] not in values
    if operator == "Exists":
        return present
    if operator == "DoesNotExist":
        return not present
    if operator in ("Gt", "Lt") and present and values:
        try:
            have, want = int(labels[key]), int(values[0])
        except ValueError:
            return False
        return have > want if operator == "Gt" else have < want
    return False
