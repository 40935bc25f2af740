"""Objects as the API server sends them, read into models.

ValueError
 └── ApiValueError    names the field, the value and the way out
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from switchyard.api.cutover import CutoverPlan
from switchyard.api.pool import AcceleratorPool
from switchyard.api.workload import InferenceWorkload

_Kind = TypeVar("_Kind", bound=BaseModel)
_LONGEST_VALUE = 80
_MOST_PROBLEMS = 5


class ApiValueError(ValueError):
    """What can't be read of an object, one sentence per field."""


def parse_pool(body: Mapping[str, Any]) -> AcceleratorPool:
    """The pool in an object of the API. Unknown fields are ignored. Raises ApiValueError."""
    return _parse(AcceleratorPool, body)


def parse_workload(body: Mapping[str, Any]) -> InferenceWorkload:
    """The workload in an object of the API. Unknown fields are ignored. Raises ApiValueError."""
    return _parse(InferenceWorkload, body)


def parse_plan(body: Mapping[str, Any]) -> CutoverPlan:
    """The cutover plan in an object of the API. Unknown fields are ignored. Raises ApiValueError."""
    return _parse(CutoverPlan, body)


def _parse(kind: type[_Kind], body: Mapping[str, Any]) -> _Kind:
    try:
        return kind.model_validate({"spec": body.get("spec") or {}, "status": body.get("status") or {}})
    except ValidationError as error:
        problems = _tell_once(error.errors(include_url=False))
        sentences = [_sentence(problem) for problem in problems[:_MOST_PROBLEMS]]
        if len(problems) > _MOST_PROBLEMS:
            sentences.append(f"and {len(problems) - _MOST_PROBLEMS} more")
        raise ApiValueError("; ".join(sentences)) from None


def _tell_once(problems: Sequence[Any]) -> list[Any]:
    """Without lists that are called too short only because an item has a problem of its own."""
    return [
        each
        for each in problems
        if each["type"] != "too_short"
        or not any(
            other is not each and other["loc"][: len(each["loc"])] == each["loc"] for other in problems
        )
    ]


def _sentence(problem: Any) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"]).lstrip(
        "."
    )
    if problem["type"] == "missing":
        return f"{path}: must be given"
    value = repr(problem["input"])
    if len(value) > _LONGEST_VALUE:
        value = value[:_LONGEST_VALUE] + "…"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{path}: {value}: {message[:1].lower()}{message[1:]}"
