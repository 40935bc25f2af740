import pytest

from switchyard.sandbox.apiserver.cel import check_rules
from switchyard.sandbox.apiserver.cel_library import quantity
from switchyard.sandbox.apiserver.checking import check_custom
from switchyard.sandbox.apiserver.pruning import default, prune
from switchyard.sandbox.apiserver.resources import ResourceInfo
from switchyard.sandbox.apiserver.structural import check_schema


def spec_schema(**properties):
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def ruled(schema, *rules):
    return {**schema, "x-kubernetes-validations": [r if isinstance(r, dict) else {"rule": r} for r in rules]}


def errors_of(schema, spec, old=None):
    info = ResourceInfo(
        "e.com", "v1", "ts", "t", "T", "TList", namespaced=True, schema=schema, is_builtin=False
    )
    before = None if old is None else {"metadata": {"name": "t"}, "spec": old}
    found = check_custom(info, {"metadata": {"name": "t"}, "spec": spec}, before, "", [])
    return [(error.reason.removeprefix("FieldValue"), error.field) for error in found]


def test_unknown_fields_are_dropped_and_named_by_path():
    schema = spec_schema(
        known={"type": "string"},
        items={"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        free={
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"b": {"type": "object", "properties": {}}},
        },
        labels={
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"x": {"type": "string"}}},
        },
    )
    obj = {
        "metadata": {"name": "t", "surprise": 1},
        "extra": 1,
        "spec": {
            "known": "k",
            "unknown": {},
            "items": [{"a": "1", "b": "2"}],
            "free": {"any": {"thing": 1}, "b": {"c": 1}},
            "labels": {"one": {"x": "1", "y": "2"}},
        },
    }
    assert set(prune(obj, schema)) == {
        "metadata.surprise",
        "extra",
        "spec.unknown",
        "spec.items[0].b",
        "spec.free.b.c",
        "spec.labels.one.y",
    }
    assert obj["spec"] == {
        "known": "k",
        "items": [{"a": "1"}],
        "free": {"any": {"thing": 1}, "b": {}},
        "labels": {"one": {"x": "1"}},
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"mode": "Fast", "deep": {"level": 1}}),
        ({"mode": None}, {"mode": "Fast", "deep": {"level": 1}}),
        ({"deep": {}}, {"mode": "Fast", "deep": {"level": 1}}),
        ({"deep": {"level": 5}, "nullable": None}, {"mode": "Fast", "deep": {"level": 5}, "nullable": None}),
        (
            {"items": [{}, {"p": "UDP"}]},
            {"mode": "Fast", "deep": {"level": 1}, "items": [{"p": "TCP"}, {"p": "UDP"}]},
        ),
        ({"plain": None}, {"mode": "Fast", "deep": {"level": 1}}),
    ],
)
def test_defaults_fill_in_and_nulls_give_way_to_them(spec, expected):
    schema = spec_schema(
        mode={"type": "string", "default": "Fast"},
        deep={"type": "object", "default": {}, "properties": {"level": {"type": "integer", "default": 1}}},
        nullable={"type": "string", "nullable": True, "default": "x"},
        plain={"type": "string"},
        items={
            "type": "array",
            "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}},
        },
    )
    if "nullable" not in spec:
        expected = {**expected, "nullable": "x"}
    obj = {"spec": spec}
    default(obj, schema)
    assert obj["spec"] == expected


def test_a_default_is_a_copy_for_each_object():
    schema = spec_schema(deep={"type": "object", "default": {"list": [1]}})
    first, second = {"spec": {}}, {"spec": {}}
    default(first, schema)
    first["spec"]["deep"]["list"].append(2)
    default(second, schema)
    assert second["spec"]["deep"]["list"] == [1]


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "integer"}, 1.0, []),
        ({"type": "integer"}, True, [("TypeInvalid", "spec.v"), ("Invalid", "<nil>")]),
        (
            {"type": "integer", "format": "int32"},
            2**31,
            [("TypeInvalid", "spec.v"), ("Invalid", "<nil>"), ("Invalid", "<nil>")],
        ),
        ({"type": "number"}, 1, []),
        ({"type": "number", "multipleOf": 0.5}, 0.75, [("Invalid", "spec.v")]),
        ({"type": "number", "exclusiveMinimum": True, "minimum": 1}, 1, [("Invalid", "spec.v")]),
        ({"type": "string", "minLength": 2}, "a", [("Invalid", "spec.v")]),
        ({"type": "string", "maxLength": 2}, "ééé", [("TooLong", "spec.v"), ("Invalid", "<nil>")]),
        ({"type": "string", "pattern": "^a"}, "ba", [("Invalid", "spec.v")]),
        ({"type": "string", "format": "date-time"}, "yesterday", [("Invalid", "spec.v")]),
        ({"type": "string", "format": "date-time"}, "2026-01-02T03:04:05Z", []),
        ({"type": "string", "format": "duration"}, "5m30s", []),
        ({"type": "string", "format": "ipv4"}, "1.2.3", [("Invalid", "spec.v")]),
        ({"x-kubernetes-int-or-string": True}, "10%", []),
        ({"type": "array", "minItems": 1, "items": {"type": "string"}}, [], [("Invalid", "spec.v")]),
        (
            {"type": "array", "items": {"type": "string"}},
            ["a", 1],
            [("TypeInvalid", "spec.v[1]"), ("Invalid", "<nil>")],
        ),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            {"a": "b"},
            [("TypeInvalid", "spec.v.a"), ("Invalid", "<nil>")],
        ),
        ({"type": "string", "enum": ["a"]}, "b", [("NotSupported", "spec.v"), ("Invalid", "<nil>")]),
        (
            {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {"a": 1, "b": 1},
            [("Invalid", "spec.v")],
        ),
        ({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"b": 1}, []),
        ({"type": "object", "not": {"required": ["a"]}}, {"a": 1}, [("Invalid", "spec.v")]),
        ({"type": "string", "nullable": True}, None, []),
    ],
)
def test_values_are_held_to_their_schema(schema, value, expected):
    assert errors_of(spec_schema(v=schema), {"v": value}) == expected


def test_an_update_is_held_only_to_what_it_changes():
    schema = spec_schema(v={"type": "string", "maxLength": 2}, w={"type": "integer"})
    assert errors_of(schema, {"v": "long", "w": 2}, old={"v": "long", "w": 1}) == []
    assert errors_of(schema, {"v": "longer"}, old={"v": "long"})[0] == ("TooLong", "spec.v")


def test_a_pattern_cannot_hang_the_server():
    assert errors_of(spec_schema(v={"type": "string", "pattern": "^(a+)+$"}), {"v": "a" * 50 + "b"}) == [
        ("Invalid", "spec.v")
    ]


@pytest.mark.parametrize(
    ("rule", "spec", "is_kept"),
    [
        ("self.a <= self.b", {"a": 1, "b": 2}, True),
        ("self.a <= self.b", {"a": 3, "b": 2}, False),
        ("!has(self.c) || self.c.startsWith('x')", {"a": 1}, True),
        ("self.items.all(i, i.n > 0)", {"items": [{"n": 1}, {"n": 0}]}, False),
        ("self.items.exists_one(i, i.n == 1)", {"items": [{"n": 1}, {"n": 0}]}, True),
        ("self.labels.all(k, k.size() < 3 && self.labels[k] != '')", {"labels": {"ab": "x"}}, True),
        ("'ab' in self.labels", {"labels": {"ab": "x"}}, True),
        ("duration(self.c) > duration('1s')", {"c": "10m"}, True),
        ("quantity(self.c).isGreaterThan(quantity('1Gi'))", {"c": "2000Mi"}, True),
        ("quantity(self.c).compareTo(quantity('500m')) == 0", {"c": "0.5"}, True),
        ("self.when > timestamp('2026-01-01T00:00:00Z')", {"when": "2026-02-01T00:00:00Z"}, True),
        ("has(self.when) && self.when.getFullYear() == 2026", {"when": "2026-02-01T00:00:00Z"}, True),
        (
            "self.times.all(t, t < timestamp('2027-01-01T00:00:00Z'))",
            {"times": ["2026-02-01T00:00:00Z"]},
            True,
        ),
        ("self.day < timestamp('2027-01-01T00:00:00Z')", {"day": "2026-02-01"}, True),
        ("self.wait <= duration('5m')", {"wait": "1h"}, False),
        ("self.ratio < 1.5", {"ratio": 1}, True),
        ("self.__namespace__ == 'n'", {"namespace": "n"}, True),
        ("self.some__dash__name == 'n'", {"some-name": "n"}, True),
        ("self.c.split(',').size() == 2", {"c": "a,b"}, True),
        ("isURL(self.c) && url(self.c).getScheme() == 'https'", {"c": "https://x/y"}, True),
        ("ip(self.c).family() == 4 && cidr('10.0.0.0/8').containsIP(self.c)", {"c": "10.1.2.3"}, True),
        ("self.?c.orValue('d') == 'd'", {}, True),
        ("type(self.either) == int ? self.either > 1 : self.either == '10%'", {"either": "10%"}, True),
        ("self.c.matches('^[a-z]+$')", {"c": "abc"}, True),
        ("self.a / 0 == 1", {"a": 1}, False),
    ],
)
def test_rules_see_values_as_kubernetes_shows_them(rule, spec, is_kept):
    inner = {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "integer"},
            "c": {"type": "string"},
            "ratio": {"type": "number"},
            "when": {"type": "string", "format": "date-time"},
            "times": {"type": "array", "items": {"type": "string", "format": "date-time"}},
            "day": {"type": "string", "format": "date"},
            "wait": {"type": "string", "format": "duration"},
            "namespace": {"type": "string"},
            "some-name": {"type": "string"},
            "either": {"x-kubernetes-int-or-string": True},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "items": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        },
    }
    schema = {"type": "object", "properties": {"spec": ruled(inner, rule)}}
    found = check_rules(schema, {"metadata": {"name": "t"}, "spec": spec}, None)
    assert [error.field for error in found] == ([] if is_kept else ["spec"])


def transition(source):
    return {"type": "object", "properties": {"v": ruled({"type": "integer"}, source)}}


def test_a_transition_rule_runs_on_updates_only():
    schema = transition("self >= oldSelf")
    assert check_rules(schema, {"v": 1}, None) == []
    assert check_rules(schema, {"v": 2}, {"v": 1}) == []
    assert [error.field for error in check_rules(schema, {"v": 1}, {"v": 2})] == ["v"]


def test_a_rule_with_optional_old_self_runs_on_creation_too():
    schema = transition(
        {"rule": "oldSelf.hasValue() ? self >= oldSelf.value() : self == 0", "optionalOldSelf": True}
    )
    assert check_rules(schema, {"v": 0}, None) == []
    assert len(check_rules(schema, {"v": 1}, None)) == 1
    assert len(check_rules(schema, {"v": 1}, {"v": 2})) == 1
    assert check_rules(schema, {"v": 3}, {"v": 2}) == []


def test_items_of_a_list_map_are_compared_with_what_they_were():
    item = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "v": ruled({"type": "integer"}, "self == oldSelf")},
    }
    schema = {
        "type": "object",
        "properties": {
            "list": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": item,
            }
        },
    }
    old = {"list": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}
    new = {"list": [{"name": "b", "v": 2}, {"name": "a", "v": 5}, {"name": "c", "v": 9}]}
    assert [error.field for error in check_rules(schema, new, old)] == ["list[1].v"]


@pytest.mark.parametrize(
    ("source", "reason", "field", "message"),
    [
        ({"rule": "self.a > 1"}, "FieldValueInvalid", "spec", "Invalid value: failed rule: self.a > 1"),
        (
            {"rule": "self.a > 1", "message": "too small"},
            "FieldValueInvalid",
            "spec",
            "Invalid value: too small",
        ),
        (
            {"rule": "self.a > 1", "message": "m", "messageExpression": "'a is ' + string(self.a)"},
            "FieldValueInvalid",
            "spec",
            "Invalid value: a is 1",
        ),
        (
            {"rule": "self.a > 1", "message": "m", "messageExpression": "self.missing"},
            "FieldValueInvalid",
            "spec",
            "Invalid value: m",
        ),
        (
            {"rule": "self.a > 1", "message": "no", "reason": "FieldValueForbidden", "fieldPath": ".a"},
            "FieldValueForbidden",
            "spec.a",
            "Forbidden: no",
        ),
    ],
)
def test_a_broken_rule_is_told_in_its_own_words(source, reason, field, message):
    schema = {
        "type": "object",
        "properties": {"spec": ruled({"type": "object", "properties": {"a": {"type": "integer"}}}, source)},
    }
    (error,) = check_rules(schema, {"spec": {"a": 1}}, None)
    assert (error.reason, error.field, error.message) == (reason, field, message)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1", 1), ("1.5", 1.5), ("100m", 0.1), ("1Ki", 1024), ("2M", 2e6), ("1e3", 1000), ("-3Gi", -3 * 2**30)],
)
def test_quantities(text, amount):
    assert float(quantity(text)) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["", "lots", "1KI", "1 Gi", "--1"])
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError, match="quantit"):
        quantity(text)


def problems(schema):
    return [(error.field, error.message) for error in check_schema(schema, "s")]


@pytest.mark.parametrize(
    ("child", "field"),
    [
        ({}, "s.properties[v].type"),
        ({"type": "text"}, "s.properties[v].type"),
        ({"type": "array"}, "s.properties[v].items"),
        (
            {"type": "object", "properties": {}, "additionalProperties": {"type": "strange"}},
            "s.properties[v].additionalProperties.type",
        ),
        ({"type": "string", "pattern": "("}, "s.properties[v].pattern"),
        ({"$ref": "#/x", "type": "object"}, "s.properties[v].$ref"),
        ({"type": "object", "anyOf": [{"type": "string"}]}, "s.properties[v].anyOf[0].type"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "s.properties[v].uniqueItems"),
        (
            {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}},
            "s.properties[v].x-kubernetes-list-map-keys",
        ),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
            },
            "s.properties[v].items.properties[k].default",
        ),
    ],
)
def test_a_schema_that_is_not_structural_is_refused_where_it_is_wrong(child, field):
    assert field in [where for where, _ in problems({"type": "object", "properties": {"v": child}})]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("self.", "compilation failed"),
        ("self.missing == 1", "undefined field 'missing'"),
        ("self.list.all(x, x.missing)", "undefined field 'missing'"),
        ("unknown(self.a)", "undeclared reference"),
        ("self.a + 1", "must evaluate to a bool"),
        ("", "rule is not specified"),
        ("self.list.all(x, self.list.all(y, self.list.all(z, x.n + y.n + z.n != 'q')))", "more than 100x"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_the_definition(rule, told):
    item = {"type": "object", "properties": {"n": {"type": "string"}}}
    spec = ruled(
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "list": {"type": "array", "items": item}},
        },
        rule,
    )
    found = problems({"type": "object", "properties": {"spec": spec}})
    assert any(told in message for _, message in found), found


@pytest.mark.parametrize(
    ("rule", "is_known"),
    [("self.metadata.name.size() < 64", True), ("self.metadata.labels.size() < 9", False)],
)
def test_a_rule_of_the_whole_object_may_read_its_name_and_no_more_of_its_metadata(rule, is_known):
    text = {"type": "string"}
    root = {
        "type": "object",
        "properties": {"apiVersion": text, "kind": text, "metadata": {"type": "object"}},
    }
    told = [message for _, message in problems(ruled(root, rule))]
    assert any("undefined field 'labels'" in message for message in told) is not is_known
    assert is_known is (told == [])


def test_bounds_make_the_same_rule_cheap_enough():
    item = {"type": "object", "properties": {"n": {"type": "string", "maxLength": 10}}}
    rule = "self.list.all(x, self.list.all(y, x.n + y.n != 'q'))"
    spec = ruled(
        {"type": "object", "properties": {"list": {"type": "array", "maxItems": 16, "items": item}}}, rule
    )
    assert problems({"type": "object", "properties": {"spec": spec}}) == []


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"rule": "!has(self.a) || self.a == 'b'", "message": "a must be b"}, []),
        (
            {"rule": "self.a == 'b'", "message": "a must be b"},
            [
                (
                    "s.properties[it].default",
                    'Invalid value: "object": no such key: a evaluating rule: a must be b',
                )
            ],
        ),
        (
            {"rule": "has(self.a)", "message": "give a"},
            [("s.properties[it].default", 'Invalid value: "object": give a')],
        ),
    ],
)
def test_a_default_is_judged_by_the_rules_before_the_defaults_within_it_are_filled_in(rule, told):
    it = {"type": "object", "default": {}, "properties": {"a": {"type": "string", "default": "b"}}}
    assert problems({"type": "object", "properties": {"it": ruled(it, rule)}}) == told
