"""Names and labels of children: deterministic, within Kubernetes' limits, and never silently ambiguous."""

from __future__ import annotations

import hashlib
import re

LONGEST_NAME = 63  # of a Service and of a label value
_HASH_LENGTH = 8


def track_name(workload: str, variant: str, pool: str) -> str:
    """`<workload>-<variant>-<pool>`, cut and marked with a hash where it is too long or not a DNS label."""
    return _fit(f"{workload}-{variant}-{pool}", f"{workload}/{variant}/{pool}")


def part_name(workload: str, part: str) -> str:
    """`<workload>-<part>`, for what a workload has beside its tracks; cut and marked like a track's name."""
    return _fit(f"{workload}-{part}", f"{workload}/{part}")


def label_value(name: str) -> str:
    """`name` as a label value: unchanged up to 63 characters, then cut and marked with a hash."""
    return name if len(name) <= LONGEST_NAME else _shorten(name, name)


def _fit(name: str, identity: str) -> str:
    plain = re.sub(r"[^a-z0-9-]", "-", name)
    if plain == name and len(name) <= LONGEST_NAME:
        return name
    return _shorten(plain, identity)


def _shorten(name: str, identity: str) -> str:
    digest = hashlib.sha256(identity.encode()).hexdigest()[:_HASH_LENGTH]
    kept = name[: LONGEST_NAME - _HASH_LENGTH - 1].rstrip("-._")
    return f"{kept}-{digest}"
