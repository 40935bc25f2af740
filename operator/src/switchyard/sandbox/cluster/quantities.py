"""Kubernetes quantities as whole numbers that add up without rounding errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

Amounts = dict[str, int]  # resource -> milli-cores for cpu, bytes for memory, pieces for everything else

_SUFFIXES: tuple[tuple[str, Decimal], ...] = (
    ("Ki", Decimal(2**10)),
    ("Mi", Decimal(2**20)),
    ("Gi", Decimal(2**30)),
    ("Ti", Decimal(2**40)),
    ("Pi", Decimal(2**50)),
    ("Ei", Decimal(2**60)),
    ("n", Decimal("1e-9")),
    ("u", Decimal("1e-6")),
    ("m", Decimal("1e-3")),
    ("k", Decimal(10**3)),
    ("M", Decimal(10**6)),
    ("G", Decimal(10**9)),
    ("T", Decimal(10**12)),
    ("P", Decimal(10**15)),
    ("E", Decimal(10**18)),
)


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Decimal:
    """The number that a quantity such as `500m`, `16Gi` or `8` stands for. ValueError otherwise."""
    suffix, factor = next((entry for entry in _SUFFIXES if text.endswith(entry[0])), ("", Decimal(1)))
    number = text.removesuffix(suffix)
    try:
        return Decimal(number) * factor
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a quantity") from None


@lru_cache(maxsize=4096)
def _amount(resource: str, text: str) -> int:
    value = parse_quantity(text)
    if resource == "cpu":
        value *= 1000
    return int(value.to_integral_value(rounding="ROUND_CEILING"))


def read_amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """A resource list as whole amounts."""
    return {name: _amount(name, str(text)) for name, text in (quantities or {}).items()}


def sum_amounts(parts: Iterable[Mapping[str, int]]) -> Amounts:
    """The sum, resource by resource."""
    total: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0) + amount
    return total


def pod_requests(spec: Mapping[str, Any]) -> Amounts:
    """What a pod asks of a node: containers together, or the largest init container where that is more.

    Restartable init containers (sidecars) run beside the containers and count with them.
    """
    sidecars: list[Amounts] = []
    largest: Amounts = {}
    for container in spec.get("initContainers") or []:
        wants = _container_requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars.append(wants)
            wants = {}
        for name, amount in sum_amounts([wants, *sidecars]).items():
            largest[name] = max(largest.get(name, 0), amount)
    together = sum_amounts([*map(_container_requests, spec.get("containers") or []), *sidecars])
    total = {name: max(together.get(name, 0), largest.get(name, 0)) for name in {*together, *largest}}
    return sum_amounts([total, read_amounts(spec.get("overhead"))])


def _container_requests(container: Mapping[str, Any]) -> Amounts:
    resources = container.get("resources") or {}
    # The API server copies limits to missing requests; a foreign one may not have.
    return read_amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})
