"""A CutoverPlan written from a few words, checked against the workload that it is to move. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.api import GROUP, VERSION
from switchyard.api.parsing import ApiValueError, parse_plan
from switchyard.cli.cutover_plan import CutoverError
from switchyard.cli.manifest_checks import suggest

SEGMENT_FORM = "NAME[=tier:T|path:/P|header:NAME:VALUE|stay|approval[,…]]"
_LONGEST_NAME = 63
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Wish:
    """What an author asks for on the command line; None and empty: the default of the kind."""

    workload: str
    variant: str
    pool: str | None = None
    name: str | None = None
    router: str | None = None
    shadow_percent: int | None = None
    weights: tuple[int, ...] = ()
    segments: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    scope: str | None = None


def read_target(text: str) -> tuple[str, str | None]:
    """Variant and pool of `VARIANT[@POOL]`. Raises CutoverError."""
    variant, at, pool = text.partition("@")
    if not variant or (at and not pool):
        raise CutoverError(f"--to {text!r}: give VARIANT, or VARIANT@POOL")
    return variant, pool or None


def read_weights(text: str) -> tuple[int, ...]:
    """Rising percents up to 100, from `5,25,50,100`. Raises CutoverError."""
    parts = [part.strip().removesuffix("%") for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,3}", part) for part in parts):
        raise CutoverError(f"--steps {text!r}: give whole percents, such as 5,25,50,100")
    weights = tuple(map(int, parts))
    rises = all(low < high for low, high in itertools.pairwise(weights))
    if not rises or weights[0] < 1 or weights[-1] != 100:
        raise CutoverError(f"--steps {text!r}: weights must rise from at least 1 to 100, as in 5,25,50,100")
    return weights


def build_manifest(
    wish: Wish, workload: Mapping[str, Any], pools: Sequence[str] | None, namespace: str
) -> dict[str, Any]:
    """The plan as an object of the API. Raises CutoverError for what the workload can't do, or nobody could.

    `pools`: names of those there are; None where that is not known.
    """
    _check_target(wish, workload, pools)
    spec: dict[str, Any] = {
        "workloadRef": {"name": wish.workload},
        "target": {"variant": wish.variant, **({"pool": wish.pool} if wish.pool else {})},
    }
    if wish.router:
        spec["traffic"] = {"router": wish.router}
    if wish.shadow_percent is not None:
        spec["shadow"] = {"percent": wish.shadow_percent}
    if wish.segments:
        spec["segments"] = _read_segments(wish.segments)
    if wish.weights:
        spec["steps"] = [{"weight": weight} for weight in wish.weights]
    if wish.scope:
        spec["rollback"] = {"scope": wish.scope}
    if wish.approvals:
        spec["approvals"] = list(dict.fromkeys(wish.approvals))
    _check_approvals(wish, spec)
    made = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "CutoverPlan",
        "metadata": {"name": _find_name(wish), "namespace": namespace},
        "spec": spec,
    }
    try:
        parse_plan(made)
    except ApiValueError as error:
        raise CutoverError(str(error)) from None
    return made


def _check_target(wish: Wish, workload: Mapping[str, Any], pools: Sequence[str] | None) -> None:
    variants = [each["name"] for each in workload["spec"].get("variants") or ()]
    if wish.variant not in variants:
        raise CutoverError(
            f"--to: workload {wish.workload} has no variant {wish.variant!r}"
            f"{suggest(wish.variant, variants)}; it has {', '.join(variants) or 'none'}"
        )
    if wish.pool and pools is not None and wish.pool not in pools:
        raise CutoverError(
            f"--to: there is no pool {wish.pool!r}{suggest(wish.pool, pools)}; "
            f"there are {', '.join(pools) or 'none'}"
        )
    placements = (workload.get("status") or {}).get("placements") or ()
    now = [(each["variant"], each["pool"]) for each in placements]
    if wish.pool and now == [(wish.variant, wish.pool)]:
        raise CutoverError(
            f"--to: workload {wish.workload} runs as {wish.variant} on {wish.pool} already; name "
            "another target"
        )


def _check_approvals(wish: Wish, spec: Mapping[str, Any]) -> None:
    movable = [f"segment:{each['name']}" for each in spec.get("segments") or () if not each.get("stay")]
    known = [*(() if wish.shadow_percent == 0 else ("shadow",)), "canary", *movable, "promote"]
    unknown = [each for each in wish.approvals if each not in known]
    if unknown:
        raise CutoverError(
            *(
                f"--approval {each!r}: this plan has no such stage; it has {', '.join(known)}"
                for each in unknown
            )
        )


def _read_segments(texts: Sequence[str]) -> list[dict[str, Any]]:
    segments = [_read_segment(text) for text in texts]
    names = [each["name"] for each in segments]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CutoverError(f"--segment {twice[0]!r}: given twice; names of segments must differ")
    for segment in segments[:-1]:
        if "match" not in segment:
            raise CutoverError(
                f"--segment {segment['name']!r}: says nothing of which requests it takes, so it takes all; "
                "only the last may"
            )
    if all(each.get("stay") for each in segments):
        raise CutoverError("--segment: every segment stays on the baseline, so nothing would move")
    return segments


def _read_segment(text: str) -> dict[str, Any]:
    name, equals, rest = text.partition("=")
    if not _NAME.fullmatch(name) or (equals and not rest):
        raise CutoverError(f"--segment {text!r}: give {SEGMENT_FORM}")
    segment: dict[str, Any] = {"name": name}
    match: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        kind, _, value = part.partition(":")
        if part in {"stay", "approval"}:
            segment[part] = True
        elif kind == "tier" and value:
            match["tier"] = value
        elif kind == "path" and value.startswith("/"):
            match["pathPrefix"] = value
        elif kind == "header" and ":" in value:
            field, _, wanted = value.partition(":")
            match.setdefault("headers", []).append({"name": field, "value": wanted})
        else:
            raise CutoverError(f"--segment {text!r}: {part!r} is not understood; give {SEGMENT_FORM}")
    return {"name": name, **({"match": match} if match else {}), **segment}


def _find_name(wish: Wish) -> str:
    if wish.name:
        return wish.name
    return f"{wish.workload}-to-{wish.variant}"[:_LONGEST_NAME].rstrip("-.")
