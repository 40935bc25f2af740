"""The faults of a rehearsal: what goes wrong on which side, as told on the command line. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from switchyard.cli.manifest_checks import suggest
from switchyard.cli.manifests import BadInputError

Side = Literal["baseline", "candidate"]
FORM = "errors=SHARE, slow=FACTOR, wrong=SHARE, crash or none, with @candidate (the default) or @baseline"
_KINDS = ("errors", "slow", "wrong", "crash", "none")
_SHARES = ("errors", "wrong")
_SIDES: tuple[Side, ...] = ("baseline", "candidate")
_SLOWEST = 1000.0
_RUNTIME_MEBIBYTES = 256  # what a simulated server holds before it leaks
_LIMIT_MEBIBYTES = 512
_REQUESTS_BEFORE_CRASH = 60
_WORST_RATIO = 0.9


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong. `amount`: a share of requests, or a factor; 0 for a crash."""

    kind: Literal["errors", "slow", "wrong", "crash"]
    amount: float
    side: Side

    def __str__(self) -> str:
        """As on the command line."""
        amount = f"={self.amount:g}" if self.kind != "crash" else ""
        return f"{self.kind}{amount}@{self.side}"


@dataclass(frozen=True, slots=True)
class Faulty:
    """How one side's servers are made: arguments, and how much slower they are."""

    arguments: tuple[str, ...] = ()
    latency_factor: float = 1.0
    memory_limit: str = ""


def parse_faults(texts: Sequence[str]) -> tuple[Fault, ...]:
    """The faults in these words. Raises BadInputError."""
    found: list[Fault] = []
    problems: list[str] = []
    for text in texts:
        try:
            fault = _parse(text)
        except ValueError as error:
            problems.append(f"--fault {text!r}: {error}")
            continue
        if fault is not None and any((fault.kind, fault.side) == (each.kind, each.side) for each in found):
            problems.append(f"--fault {text!r}: {fault.kind} of the {fault.side} is given twice: keep one")
        elif fault is not None:
            found.append(fault)
    if problems:
        raise BadInputError(problems)
    return tuple(found)


def _parse(text: str) -> Fault | None:
    """The fault, None for none. ValueError says what is wrong."""
    told, at, side_text = text.partition("@")
    side = next((each for each in _SIDES if each == side_text), None) if at else "candidate"
    if side is None:
        raise ValueError(
            f"{side_text!r} is no side{suggest(side_text, _SIDES)}; give @candidate or @baseline"
        )
    kind, equals, amount_text = told.partition("=")
    if kind not in _KINDS:
        raise ValueError(f"{kind!r} is no fault{suggest(kind, _KINDS)}; give {FORM}")
    if kind in {"crash", "none"}:
        if equals:
            raise ValueError(f"{kind} takes no amount; give {kind} alone")
        return None if kind == "none" else Fault("crash", 0.0, side)
    try:
        amount = float(amount_text)
    except ValueError:
        amount = math.nan
    if kind in _SHARES:
        if not 0 < amount <= 1:
            raise ValueError(
                f"{amount_text!r}: give a share of requests above 0 and at most 1, as {kind}=0.05"
            )
        return Fault("errors" if kind == "errors" else "wrong", amount, side)
    if not 1 < amount <= _SLOWEST:
        raise ValueError(f"{amount_text!r}: give a factor above 1 and at most {_SLOWEST:g}, as slow=2")
    return Fault("slow", amount, side)


def make_faulty(faults: Sequence[Fault], side: Side, magnified: dict[str, float]) -> Faulty:
    """How the servers of a side are made. `magnified`: by kind of fault, how much more often it strikes."""
    arguments: list[str] = []
    latency_factor, memory_limit = 1.0, ""
    for fault in faults:
        if fault.side != side:
            continue
        if fault.kind == "slow":
            latency_factor = fault.amount
        elif fault.kind == "crash":
            leak = (_LIMIT_MEBIBYTES - _RUNTIME_MEBIBYTES) * 1024 * 1024 // _REQUESTS_BEFORE_CRASH
            arguments.append(f"--leak-bytes-per-request={leak}")
            memory_limit = f"{_LIMIT_MEBIBYTES}Mi"
        else:
            often = fault.amount * magnified.get(fault.kind, 1.0)
            ratio = max(fault.amount, min(_WORST_RATIO, often))
            arguments.append(f"--{'error' if fault.kind == 'errors' else 'wrong'}-ratio={ratio:g}")
    return Faulty(tuple(arguments), latency_factor, memory_limit)
