"""What a Gateway and what Istio would do with a route, read from their documentation, not from our builders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def pick_by_gateway(rules: Sequence[Mapping[str, Any]], path: str, headers: Mapping[str, str]) -> str:
    """The name of the rule that takes a request by the precedence of the Gateway API; empty when none does.

    Most characters in a matching prefix, then most header matches, then the first rule in the list.
    """
    ranked = []
    for index, rule in enumerate(rules):
        for match in rule["matches"]:
            prefix = match["path"]["value"]
            wanted = match.get("headers", [])
            elements = [each for each in prefix.split("/") if each]
            if [each for each in path.split("/") if each][: len(elements)] != elements:
                continue
            if all(headers.get(each["name"].lower()) == each["value"] for each in wanted):
                ranked.append((-len(prefix), -len(wanted), index))
    return str(rules[min(ranked)[2]]["name"]) if ranked else ""


def pick_by_istio(routes: Sequence[Mapping[str, Any]], path: str, headers: Mapping[str, str]) -> str:
    """The name of the first route with a match; a route without matches takes everything."""
    for route in routes:
        matches = route.get("match")
        if matches is None or any(_takes(match, path, headers) for match in matches):
            return str(route["name"])
    return ""


def _takes(match: Mapping[str, Any], path: str, headers: Mapping[str, str]) -> bool:
    uri = match.get("uri", {})
    if "exact" in uri and path != uri["exact"]:
        return False
    if "prefix" in uri and not path.startswith(uri["prefix"]):
        return False
    return all(headers.get(name) == value["exact"] for name, value in match.get("headers", {}).items())
