"""Which rules a ClusterRole gathers from others."""

from __future__ import annotations

import pytest
from tests.unit.sandbox.fake_objects import new_registry

from switchyard.sandbox.apiserver.bootstrap import bootstrap_objects
from switchyard.sandbox.cluster.aggregation import gather_rules


def _rule(verb: str) -> dict:
    return {"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}


def _part(name: str, *verbs: str, **labels: str) -> dict:
    return {"metadata": {"name": name, "labels": labels}, "rules": [_rule(verb) for verb in verbs]}


_PARTS = (
    _part("b", "list", "get", team="one"),
    _part("a", "get", "watch", "get", team="one"),
    _part("c", "delete", team="two"),
    {"metadata": {"name": "bare", "labels": {"team": "one"}}, "rules": None},
)


@pytest.mark.parametrize(
    ("selectors", "verbs"),
    [
        ([{"matchLabels": {"team": "one"}}], ["get", "watch", "list"]),
        (
            [{"matchLabels": {"team": "two"}}, {"matchLabels": {"team": "one"}}],
            ["delete", "get", "watch", "list"],
        ),
        ([{"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["one"]}]}], ["delete"]),
        ([{"matchLabels": {"team": "three"}}], []),
        ([{}], ["get", "watch", "list", "delete"]),
        ([], []),
        (None, []),
    ],
)
def test_rules_come_selector_by_selector_then_by_name_and_each_once(
    selectors: list | None, verbs: list[str]
) -> None:
    rule = {} if selectors is None else {"clusterRoleSelectors": selectors}
    role = {"metadata": {"name": "sum"}, "aggregationRule": rule}
    assert gather_rules(role, [*_PARTS, role]) == [_rule(verb) for verb in verbs]


def test_a_role_that_selects_itself_keeps_nothing_of_its_own() -> None:
    own = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"team": "one"}}]}}
    role = {**_part("sum", "create", team="one"), **own}
    assert _rule("create") not in gather_rules(role, [*_PARTS, role])


@pytest.mark.parametrize("name", ["view", "edit", "admin"])
def test_the_built_in_roles_hold_from_the_start_what_they_gather(name: str) -> None:
    roles = [body for info, body in bootstrap_objects(new_registry()) if info.kind == "ClusterRole"]
    role = next(body for body in roles if body["metadata"]["name"] == name)
    assert role["rules"] == gather_rules(role, roles) != []
