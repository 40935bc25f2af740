"""Kubernetes objects in files: several documents, lists of objects, and the line where each field stands."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FieldPath = tuple[str | int, ...]
_SUFFIXES = (".yaml", ".yml", ".json")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_FASTEST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BadInputError(Exception):
    """What was given can't be planned with; one line per problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object. `node` is its place in the YAML document, `source` the file's name (`-`: stdin)."""

    body: dict[str, Any]
    source: str
    node: Any = None

    @property
    def kind(self) -> str:
        """Kind as stated."""
        return str(self.body.get("kind") or "")

    @property
    def name(self) -> str:
        """Name, empty when it has none."""
        return str(_metadata(self.body).get("name") or "")

    @property
    def namespace(self) -> str:
        """Namespace as stated, empty when it states none."""
        return str(_metadata(self.body).get("namespace") or "")

    def place(self, path: FieldPath = ()) -> str:
        """`FILE:LINE` of a field, or of the nearest field around it."""
        return f"{self.source}:{self.line(path)}" if self.node is not None else self.source

    def line(self, path: FieldPath) -> int:
        """The line of a field, counted from 1; 0 where the object is in no file."""
        return _line(self.node, path) if self.node is not None else 0

    @property
    def title(self) -> str:
        """`Kind namespace/name`."""
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {name}".strip()


class _Loader(_FASTEST):  # type: ignore[misc]  # which base it has depends on libyaml
    """YAML as kubectl reads it: a date is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in _FASTEST.yaml_implicit_resolvers.items()
}


def read_manifests(sources: Sequence[str]) -> list[Manifest]:
    """All objects of files, of the YAML and JSON files of directories, and of standard input (`-`).

    Raises BadInputError.
    """
    found: list[Manifest] = []
    problems: list[str] = []
    for source in sources:
        for name, text in _texts(source, problems):
            try:
                found += _read(name, text)
            except BadInputError as error:
                problems += error.problems
    problems += _find_duplicates(found)
    if problems:
        raise BadInputError(problems)
    return found


def format_path(path: FieldPath) -> str:
    """`spec.variants[0].name`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _texts(source: str, problems: list[str]) -> Iterator[tuple[str, str]]:
    if source == "-":
        yield "-", sys.stdin.read()
        return
    path = Path(source)
    files = [path]
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES and each.is_file())
        if not files:
            problems.append(f"{source}: no .yaml, .yml or .json file in this directory")
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            problems.append(f"{file}: can't be read: {error.strerror}")
        except UnicodeDecodeError:
            problems.append(f"{file}: not text in UTF-8")
        else:
            yield str(file), text


def _read(source: str, text: str) -> list[Manifest]:
    loader = _Loader(text)
    found: list[Manifest] = []
    try:
        while loader.check_node():
            node = loader.get_node()
            problems = [f"{source}:{line}: {told}" for line, told in _find_repeated_keys(node)]
            if problems:
                raise BadInputError(problems)
            document = loader.construct_document(node)
            found += _split(document, source, node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        told = getattr(error, "problem", None) or "not YAML"
        raise BadInputError([f"{where}: not YAML: {told}"]) from error
    finally:
        loader.dispose()
    return found


def _split(document: Any, source: str, node: Any) -> list[Manifest]:
    """The objects of a document: itself, or the items of a list."""
    if document is None:
        return []
    if not isinstance(document, dict) or not document.get("kind"):
        raise BadInputError(
            [f"{source}:{node.start_mark.line + 1}: not a Kubernetes object: it states no kind"]
        )
    items = document.get("items")
    if not str(document["kind"]).endswith("List") or not isinstance(items, list):
        return [Manifest(document, source, node)]
    kind = str(document["kind"]).removesuffix("List")
    found = []
    for index, item in enumerate(items):
        place = _find(node, ("items", index)) or node
        if not isinstance(item, dict):
            raise BadInputError([f"{source}:{place.start_mark.line + 1}: items[{index}] is not an object"])
        stated = {"apiVersion": document.get("apiVersion"), "kind": kind} if kind else {}
        found += _split({**stated, **item}, source, place)
    return found


def _find_duplicates(manifests: Sequence[Manifest]) -> list[str]:
    seen: dict[tuple[str, str, str], Manifest] = {}
    problems = []
    for each in manifests:
        key = (each.kind, each.namespace, each.name)
        before = seen.setdefault(key, each)
        if before is not each and each.name:
            problems.append(f"{each.place()}: {each.title} is given already at {before.place()}: keep one")
    return problems


def _find_repeated_keys(node: Any) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen and key.value != "<<":
                yield key.start_mark.line + 1, f"key {key.value!r} is given twice: keep one"
            seen.add(str(key.value))
            yield from _find_repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _find_repeated_keys(item)


def _metadata(body: dict[str, Any]) -> dict[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _line(node: Any, path: FieldPath) -> int:
    """The line of a field; of the key where there is one."""
    line = node.start_mark.line + 1
    for step in path:
        key, node = _step(node, step)
        if node is None:
            break
        line = (key or node).start_mark.line + 1
    return int(line)


def _find(node: Any, path: FieldPath) -> Any:
    for step in path:
        if node is None:
            return None
        _, node = _step(node, step)
    return node


def _step(node: Any, step: str | int) -> tuple[Any, Any]:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(step)), (None, None))
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    return None, None
