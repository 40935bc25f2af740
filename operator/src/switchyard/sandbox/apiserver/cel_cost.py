"""How much a rule may cost at worst, and which fields it names that its schema does not have.

Costs follow cel-go's estimator and Kubernetes' sizes: what a schema does not bound may fill a request of 3
MiB. An estimate can be lower than a real server's, which knows more functions; it is meant to find the
rules that are far off, such as loops in loops over lists without maxItems. Source: cel-go checker/cost.go;
k8s.io/apiserver/pkg/cel/limits.go and common/schemas.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from switchyard.sandbox.apiserver.cel_names import READ_BY, escaped
from switchyard.sandbox.apiserver.cel_syntax import Node
from switchyard.sandbox.apiserver.resources import Json

RULE_LIMIT = 10_000_000
SCHEMA_LIMIT = 100_000_000
_REQUEST_BYTES = 3 * 1024 * 1024
_PER_CHARACTER = 0.1
_REGEX_PER_CHARACTER = 0.25
# What rules may read of metadata, whatever the schema says of it.
_OBJECT_NAMES: Json = {
    "type": "object",
    "properties": {name: {"type": "string", "maxLength": 253} for name in ("name", "generateName")},
}
_LIST_CREATION, _MAP_CREATION = 10.0, 30.0
_TRAVERSING = {
    "contains",
    "startsWith",
    "endsWith",
    "split",
    "replace",
    "lowerAscii",
    "upperAscii",
    "trim",
    "substring",
    "join",
    "isURL",
    "url",
    "quantity",
    "isQuantity",
    "ip",
    "isIP",
    "cidr",
    "isCIDR",
    "sum",
    "min",
    "max",
    "isSorted",
    "indexOf",
    "lastIndexOf",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a value: its schema (None: anything) and how large it may be."""

    schema: Json | None = None
    size: float = 1.0
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class UndefinedField:
    """A field that a rule names and its schema does not have."""

    name: str
    node: int


class Estimate:
    """One pass over an expression: its worst cost, and the undefined fields on the way."""

    def __init__(self, schema: Json) -> None:
        self.undefined: list[UndefinedField] = []
        self.formatted: list[tuple[Node, str]] = []  # values kept as text, and what reads them
        self._scope: dict[str, Shape] = {"self": shape_of(schema), "oldSelf": shape_of(schema)}

    def cost(self, node: Node) -> float:
        """The worst cost of an expression."""
        return self._visit(node)[1]

    def _visit(self, node: Node) -> tuple[Shape, float]:
        match node.kind:
            case "const":
                size = len(node.value) if isinstance(node.value, str | bytes) else 1
                return Shape({"type": "string"} if isinstance(node.value, str) else None, size), 0.0
            case "ident":
                shape = self._scope.get(node.name, Shape())
                return shape if node.name in ("self", "oldSelf") else self._formatted(node, shape), 1.0
            case "select":
                return self._select(node)
            case "list" | "map":
                base = _LIST_CREATION if node.kind == "list" else _MAP_CREATION
                return Shape(None, len(node.arguments)), base + sum(self._visit(a)[1] for a in node.arguments)
            case "fold":
                return self._fold(node)
        return self._call(node)

    def _select(self, node: Node) -> tuple[Shape, float]:
        assert node.operand is not None  # noqa: S101 a select always has one
        shape, cost = self._visit(node.operand)
        schema = shape.schema
        if schema is None or schema.get("x-kubernetes-preserve-unknown-fields"):
            return Shape(), cost + 1
        properties = {escaped(name): child for name, child in (schema.get("properties") or {}).items()}
        if node.name == "metadata" and (
            schema.get("x-kubernetes-embedded-resource") or "apiVersion" in properties
        ):
            return shape_of(_OBJECT_NAMES), cost + 1
        if node.name in properties:
            return self._formatted(node, shape_of(properties[node.name])), cost + 1
        rest = schema.get("additionalProperties")
        if isinstance(rest, dict):
            return self._formatted(node, shape_of(rest)), cost + 1
        if schema.get("type") == "object" and rest is None:
            embeds = schema.get("x-kubernetes-embedded-resource") or "apiVersion" in properties
            if not (embeds and node.name in ("apiVersion", "kind")):
                self.undefined.append(UndefinedField(node.name, node.number))
        return Shape(), cost + 1

    def _formatted(self, node: Node, shape: Shape) -> Shape:
        """Notes a time or duration, which the runtime takes as text inside of objects."""
        form = (shape.schema or {}).get("format", "")
        if form in READ_BY and (shape.schema or {}).get("type") == "string" and not node.is_test:
            self.formatted.append((node, READ_BY[form]))
        return shape

    def _fold(self, node: Node) -> tuple[Shape, float]:
        assert node.operand is not None  # noqa: S101 a fold always has a range
        ranged, cost = self._visit(node.operand)
        initial, condition, step, result = node.arguments
        kept = dict(self._scope)
        schema = ranged.schema or {}
        if schema.get("type") == "array":
            item = shape_of(schema.get("items") or {})
        else:
            item = Shape({"type": "string"} if schema.get("type") == "object" else None, 1, is_key=True)
        cost += self._visit(initial)[1]
        for name in node.variables[:-1]:
            self._scope[name] = item
        self._scope[node.variables[-1]] = Shape(None, 0)
        each = self._visit(condition)[1] + self._visit(step)[1]
        cost += ranged.size * each + self._visit(result)[1]
        self._scope = kept
        return Shape(None, ranged.size), cost

    def _call(self, node: Node) -> tuple[Shape, float]:
        parts = [node.operand, *node.arguments] if node.operand is not None else list(node.arguments)
        seen = [self._visit(part) for part in parts if part is not None]
        shapes, costs = [shape for shape, _ in seen], [cost for _, cost in seen]
        total = sum(costs)
        name = node.name
        if name == "_?_:_":
            return shapes[1], costs[0] + max(costs[1:])
        if name in ("_&&_", "_||_", "@not_strictly_false", "!_"):
            return Shape(), total
        if name in ("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"):
            return Shape(), total + max(1.0, min(shape.size for shape in shapes) * _PER_CHARACTER)
        if name == "_+_":
            size = sum(shape.size for shape in shapes)
            is_text = any((shape.schema or {}).get("type") == "string" for shape in shapes)
            schema = {"type": "string"} if is_text else shapes[0].schema
            return Shape(schema, size), total + (max(1.0, size * _PER_CHARACTER) if is_text else 1.0)
        if name in ("@in", "_in_"):
            container = shapes[-1]
            is_list = (container.schema or {}).get("type") == "array"
            return Shape(), total + (container.size if is_list else 1.0)
        if name == "_[_]":
            return self._indexed(shapes[0]), total + 1
        if name in ("matches", "find", "findAll") and len(shapes) > 1:
            text, pattern = shapes[0].size + 1, shapes[1].size
            return Shape({"type": "string"}, shapes[0].size), total + text * _PER_CHARACTER * max(
                1.0, pattern * _REGEX_PER_CHARACTER
            )
        if name in _TRAVERSING and shapes:
            return Shape(None, shapes[0].size), total + max(1.0, shapes[0].size * _PER_CHARACTER)
        return Shape(), total + 1

    @staticmethod
    def _indexed(container: Shape) -> Shape:
        schema = container.schema or {}
        inner = schema.get("items") if schema.get("type") == "array" else schema.get("additionalProperties")
        return shape_of(inner) if isinstance(inner, dict) else Shape()


def shape_of(schema: Json) -> Shape:
    """What a schema says about a value."""
    return Shape(schema, max_size(schema))


def max_size(schema: Json) -> float:
    """How many characters, items or entries a value may have."""
    kind = schema.get("type")
    if kind == "string":
        if schema.get("enum"):
            return float(max(len(str(choice)) for choice in schema["enum"]))
        if "maxLength" in schema:
            return float(schema["maxLength"]) * 4
        return {"date-time": 25.0, "date": 10.0}.get(schema.get("format", ""), _REQUEST_BYTES - 2.0)
    if kind == "array":
        return float(
            schema.get("maxItems", (_REQUEST_BYTES - 2) // (_min_bytes(schema.get("items") or {}) + 1))
        )
    if kind == "object":
        rest = schema.get("additionalProperties")
        if isinstance(rest, dict):
            return float(schema.get("maxProperties", (_REQUEST_BYTES - 2) // (_min_bytes(rest) + 6)))
        return 1.0
    return 1.0


def _min_bytes(schema: Json) -> int:
    """How little room a value takes as JSON."""
    kind: Any = schema.get("type")
    if kind == "object":
        properties = schema.get("properties") or {}
        required = [
            name for name in schema.get("required") or () if "default" not in properties.get(name, {})
        ]
        return 2 + sum(len(name) + 4 + _min_bytes(properties.get(name, {})) for name in required)
    return {"string": 2, "array": 2, "boolean": 4, "integer": 1, "number": 1}.get(kind, 1)
