"""How the lists and maps of built-in kinds merge, and which strings are quantities or precise times.

The facts are in `merge_rules.txt`: the client library does not carry them. A list that is not named there is
atomic, a map that is not named is granular. Source: x-kubernetes-list-type, -list-map-keys, -map-type,
-patch-strategy and -patch-merge-key of the published OpenAPI documents (kubernetes/api/openapi-spec).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

# Defaults of fields that are keys of associative lists: items are told apart by them first of all.
KEY_DEFAULTS = {("V1ContainerPort", "protocol"): "TCP", ("V1ServicePort", "protocol"): "TCP"}


@dataclass(frozen=True)
class MergeRule:
    """How one field merges: `list_type` for server-side apply, `strategy` and `merge_key` for patches."""

    list_type: str = ""
    keys: tuple[str, ...] = ()
    strategy: str = ""
    merge_key: str = ""
    is_atomic_map: bool = False
    is_quantity: bool = False
    is_micro_time: bool = False


def _parse(words: list[str]) -> MergeRule:
    values = dict(word.partition("=")[::2] for word in words)
    strategy, _, merge_key = values.get("patch", "").partition(":")
    return MergeRule(
        list_type="map" if "map" in values else "set" if "set" in values else "",
        keys=tuple(values["map"].split(",")) if "map" in values else (),
        strategy=strategy,
        merge_key=merge_key,
        is_atomic_map="atomic" in values,
        is_quantity="quantity" in values,
        is_micro_time="micro-time" in values,
    )


def _read() -> dict[tuple[str, str], MergeRule]:
    text = resources.files(__package__).joinpath("merge_rules.txt").read_text()
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {(model, field): _parse(words) for model, field, *words in rows}


MERGE_RULES = _read()
