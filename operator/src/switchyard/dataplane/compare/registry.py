"""The comparators by type, and those that a routing document asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from switchyard.core.errors import RoutingDocumentError
from switchyard.core.routing.document import Comparator as ComparatorRequest
from switchyard.dataplane.compare.contents import ContentComparator
from switchyard.dataplane.compare.embedding import EmbeddingComparator
from switchyard.dataplane.compare.exact import ExactComparator
from switchyard.dataplane.compare.port import Comparator
from switchyard.dataplane.compare.structure import JsonComparator
from switchyard.dataplane.compare.text import TextComparator
from switchyard.dataplane.compare.tokens import TokensComparator
from switchyard.dataplane.compare.topk import TopkComparator

COMPARATORS: Mapping[str, type[ContentComparator[Any]]] = {
    "exact": ExactComparator,
    "json": JsonComparator,
    "text": TextComparator,
    "tokens": TokensComparator,
    "embedding": EmbeddingComparator,
    "topk": TopkComparator,
}

MAX_SHOWN_CHARS = 80


def build_comparators(requests: Sequence[ComparatorRequest]) -> tuple[Comparator, ...]:
    """The comparators asked for, in order. The second one of a type is named `type-2`, and so on.

    Raises RoutingDocumentError with one line per problem.
    """
    problems = check_comparators(requests)
    if problems:
        raise RoutingDocumentError("\n".join(problems))
    built: list[Comparator] = []
    for index, request in enumerate(requests):
        earlier = sum(other.type == request.type for other in requests[:index])
        kind = COMPARATORS[request.type]
        options = kind.options_type.model_validate_json(_encode(request.options))
        built.append(kind(f"{request.type}-{earlier + 1}" if earlier else request.type, options))
    return tuple(built)


def check_comparators(requests: Sequence[ComparatorRequest]) -> tuple[str, ...]:
    """What is wrong with the comparators asked for, one sentence each; empty when they can be built."""
    problems: list[str] = []
    for index, request in enumerate(requests):
        kind = COMPARATORS.get(request.type)
        if kind is None:
            known = ", ".join(COMPARATORS)
            problems.append(
                f"comparators[{index}].type: {_show(request.type)}: no such comparator; give {known}"
            )
            continue
        try:
            kind.options_type.model_validate_json(_encode(request.options))
        except ValidationError as error:
            place = f"comparators[{index}].options"
            problems += [_sentence(place, request.type, kind, problem) for problem in error.errors()]
    return tuple(problems)


def _sentence(place: str, name: str, kind: type[ContentComparator[Any]], problem: Any) -> str:
    steps = [step for step in problem["loc"] if step not in _BRANCHES]
    path = place + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    if problem["type"] == "extra_forbidden" and len(steps) == 1:
        known = ", ".join(
            field.alias or field_name for field_name, field in kind.options_type.model_fields.items()
        )
        return f"{path}: no such option; {name} takes {known}"
    if problem["type"] == "extra_forbidden":
        return f"{path}: no such field"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{path}: {_show(problem['input'])}: {message}"


# tags of options that take one of two forms, which pydantic puts into the path of a problem
_BRANCHES = frozenset({"both", "kinds", "all", "paths"})


def _encode(options: Mapping[str, Any]) -> str:
    return json.dumps(dict(options), default=str)


def _show(value: Any) -> str:
    return json.dumps(value, default=str)[:MAX_SHOWN_CHARS]
