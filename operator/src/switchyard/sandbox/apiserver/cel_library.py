"""The CEL environment of validation rules: what Kubernetes adds to the language, on Google's runtime.

Kubernetes' own libraries (lists, regex, URLs, IP addresses, CIDRs, quantities) are given as functions on
plain strings and lists: a quantity, an address or a URL stays its text, which its functions read. Source:
k8s.io/apiserver/pkg/cel/library.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import re2
from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

_T = cel.Type
_SUFFIXES: Mapping[str, Decimal] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]i?|Ki)?)")


def quantity(text: str) -> Decimal:
    """The amount that a quantity names. Raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"quantities must match the regular expression, not {text!r}")
    number, exponent, suffix = found.groups()
    try:
        return Decimal(number + (exponent or "")) * _SUFFIXES[suffix or ""]
    except (InvalidOperation, KeyError) as error:
        raise ValueError(f"no quantity: {text!r}") from error


def _does_parse(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def probe(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return probe


def _checked(parse: Callable[[str], Any]) -> Callable[[str], str]:
    """A conversion that keeps the text and refuses what cannot be read."""

    def convert(text: str) -> str:
        parse(text)
        return text

    return convert


def _url(text: str) -> Any:
    parts = urlsplit(text)
    if not parts.scheme and not text.startswith("/"):
        raise ValueError(f"invalid URI for request: {text!r}")
    return parts


def _plain(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


def _is_sorted(items: list[Any]) -> bool:
    return all(a <= b for a, b in pairwise(items))


def _index(items: list[Any], wanted: Any) -> int:
    return items.index(wanted) if wanted in items else -1


def _last_index(items: list[Any], wanted: Any) -> int:
    return len(items) - 1 - items[::-1].index(wanted) if wanted in items else -1


def _find(text: str, pattern: str) -> str:
    found = re2.search(pattern, text)
    return found.group(0) if found else ""


def _find_all(text: str, pattern: str) -> list[str]:
    return [found.group(0) for found in re2.finditer(pattern, text)]


def _contains_cidr(outer: str, inner: str) -> bool:
    network, other = ipaddress.ip_network(outer, strict=False), ipaddress.ip_network(inner, strict=False)
    return network.version == other.version and other.subnet_of(network)  # type: ignore[arg-type]


def _compare(left: Decimal, right: Decimal) -> int:
    return (left > right) - (left < right)


# name, parameters, result, implementation, whether it is a method of its first parameter
_FUNCTIONS: tuple[tuple[str, list[Any], Any, Callable[..., Any], bool], ...] = (
    ("isSorted", [_T.LIST], _T.BOOL, _is_sorted, True),
    ("sum", [_T.LIST], _T.DYN, sum, True),
    ("min", [_T.LIST], _T.DYN, min, True),
    ("max", [_T.LIST], _T.DYN, max, True),
    ("indexOf", [_T.LIST, _T.DYN], _T.INT, _index, True),
    ("lastIndexOf", [_T.LIST, _T.DYN], _T.INT, _last_index, True),
    ("find", [_T.STRING, _T.STRING], _T.STRING, _find, True),
    ("findAll", [_T.STRING, _T.STRING], _T.LIST, _find_all, True),
    ("isQuantity", [_T.STRING], _T.BOOL, _does_parse(quantity), False),
    ("quantity", [_T.STRING], _T.STRING, _checked(quantity), False),
    ("isInteger", [_T.STRING], _T.BOOL, lambda q: quantity(q) % 1 == 0, True),
    ("asInteger", [_T.STRING], _T.INT, lambda q: int(quantity(q)), True),
    ("asApproximateFloat", [_T.STRING], _T.DOUBLE, lambda q: float(quantity(q)), True),
    ("sign", [_T.STRING], _T.INT, lambda q: _compare(quantity(q), Decimal(0)), True),
    ("isGreaterThan", [_T.STRING, _T.STRING], _T.BOOL, lambda a, b: quantity(a) > quantity(b), True),
    ("isLessThan", [_T.STRING, _T.STRING], _T.BOOL, lambda a, b: quantity(a) < quantity(b), True),
    ("compareTo", [_T.STRING, _T.STRING], _T.INT, lambda a, b: _compare(quantity(a), quantity(b)), True),
    ("add", [_T.STRING, _T.STRING], _T.STRING, lambda a, b: _plain(quantity(a) + quantity(b)), True),
    ("sub", [_T.STRING, _T.STRING], _T.STRING, lambda a, b: _plain(quantity(a) - quantity(b)), True),
    ("isURL", [_T.STRING], _T.BOOL, _does_parse(_url), False),
    ("url", [_T.STRING], _T.STRING, _checked(_url), False),
    ("getScheme", [_T.STRING], _T.STRING, lambda u: _url(u).scheme, True),
    ("getHost", [_T.STRING], _T.STRING, lambda u: _url(u).netloc, True),
    ("getHostname", [_T.STRING], _T.STRING, lambda u: _url(u).hostname or "", True),
    ("getPort", [_T.STRING], _T.STRING, lambda u: str(_url(u).port or ""), True),
    ("getEscapedPath", [_T.STRING], _T.STRING, lambda u: _url(u).path, True),
    ("getQuery", [_T.STRING], _T.MAP, lambda u: parse_qs(_url(u).query), True),
    ("isIP", [_T.STRING], _T.BOOL, _does_parse(ipaddress.ip_address), False),
    ("ip", [_T.STRING], _T.STRING, _checked(ipaddress.ip_address), False),
    ("family", [_T.STRING], _T.INT, lambda a: ipaddress.ip_address(a).version, True),
    ("isLoopback", [_T.STRING], _T.BOOL, lambda a: ipaddress.ip_address(a).is_loopback, True),
    ("isUnspecified", [_T.STRING], _T.BOOL, lambda a: ipaddress.ip_address(a).is_unspecified, True),
    ("isCIDR", [_T.STRING], _T.BOOL, _does_parse(ipaddress.ip_network), False),
    ("cidr", [_T.STRING], _T.STRING, _checked(ipaddress.ip_network), False),
    ("prefixLength", [_T.STRING], _T.INT, lambda c: ipaddress.ip_network(c, strict=False).prefixlen, True),
    (
        "containsIP",
        [_T.STRING, _T.STRING],
        _T.BOOL,
        lambda c, a: ipaddress.ip_address(a) in ipaddress.ip_network(c, strict=False),
        True,
    ),
    ("containsCIDR", [_T.STRING, _T.STRING], _T.BOOL, _contains_cidr, True),
)


def _extension() -> Any:
    declarations = [
        cel.FunctionDecl(
            name,
            [
                cel.Overload(
                    f"kubernetes_{name}_{len(parameters)}",
                    return_type=result,
                    parameters=parameters,
                    is_member=is_member,
                    impl=implementation,
                )
            ],
        )
        for name, parameters, result, implementation, is_member in _FUNCTIONS
    ]
    return cel.CelExtension("kubernetes", declarations)


@lru_cache(maxsize=64)
def environment(self_type: str, *, has_old: bool = True) -> Any:
    """The environment for rules on a value of a CEL type, named as in `TYPES`."""
    declared = TYPES[self_type]
    variables = {"self": declared}
    if has_old:
        variables["oldSelf"] = declared
        variables["old_values"] = _T.LIST
    extensions = [
        ext_strings.ExtStrings(),
        ext_optional.ExtOptional(),
        ext_math.ExtMath(),
        ext_encoders.ExtEncoders(),
        ext_bindings.ExtBindings(),
        _extension(),
    ]
    return cel.NewEnv(variables=variables, extensions=extensions)


TYPES: Mapping[str, Any] = {
    "string": _T.STRING,
    "integer": _T.INT,
    "number": _T.DOUBLE,
    "boolean": _T.BOOL,
    "bytes": _T.BYTES,
    "timestamp": _T.TIMESTAMP,
    "duration": _T.DURATION,
    "list": _T.LIST,
    "map": _T.MAP,
    "dyn": _T.DYN,
}
