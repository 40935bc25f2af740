"""Which labels a selector matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from switchyard.sandbox.cluster.informer import Informer, Key

Json = dict[str, Any]
Labels = Mapping[str, str]


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


class SelectorIndex:
    """Which of many selectors match an object, without trying them all.

    A selector is filed under one of its equality terms; only those under the object's own labels are tried.
    """

    def __init__(self) -> None:
        self._filed: dict[str, dict[Key, Mapping[str, Any]]] = {}
        self._places: dict[Key, str] = {}

    def put(self, key: Key, selector: Mapping[str, Any]) -> None:
        """File the LabelSelector of `key`, in place of an earlier one."""
        self.discard(key)
        terms = sorted((selector.get("matchLabels") or {}).items())
        place = label_entry(key[0], *terms[0]) if terms else key[0]
        self._filed.setdefault(place, {})[key] = selector
        self._places[key] = place

    def discard(self, key: Key) -> None:
        """Forget the selector of `key`."""
        place = self._places.pop(key, None)
        if place is not None:
            del self._filed[place][key]
            if not self._filed[place]:
                del self._filed[place]

    def matching(self, body: Json) -> Iterator[Key]:
        """The keys whose selectors match an object of the same namespace."""
        labels = body["metadata"].get("labels") or {}
        namespace = body["metadata"]["namespace"]
        for place in (namespace, *(label_entry(namespace, k, v) for k, v in labels.items())):
            for key, selector in self._filed.get(place, {}).items():
                if matches_selector(selector, labels):
                    yield key


def index_labels(informer: Informer) -> None:
    """Keep an index `label` that `select` reads."""
    informer.add_index(
        "label",
        lambda body: [
            body["metadata"]["namespace"],
            *(
                label_entry(body["metadata"]["namespace"], key, value)
                for key, value in (body["metadata"].get("labels") or {}).items()
            ),
        ],
    )


def select(informer: Informer, namespace: str, selector: Mapping[str, Any]) -> list[Json]:
    """The objects of a namespace that a LabelSelector matches."""
    terms = sorted((selector.get("matchLabels") or {}).items())
    entry = label_entry(namespace, *terms[0]) if terms else namespace
    return [
        body
        for body in informer.indexed("label", entry)
        if matches_selector(selector, body["metadata"].get("labels") or {})
    ]


def label_entry(namespace: str, key: str, value: str) -> str:
    """The index entry of one label."""
    return f"{namespace}|{key}={value}"
