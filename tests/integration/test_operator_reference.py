"""The page about the operator process names every flag and every setting."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from pydantic.alias_generators import to_camel

from switchyard.adapters.rbac import CLUSTER_RULES, NAMESPACE_RULES
from switchyard.cli.operator import command
from switchyard.engine.settings import MetricSource, OperatorSettings

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "operator.md").read_text()
FLAGS = [name for option in command.params if isinstance(option, click.Option) for name in option.opts]
FIELDS = [to_camel(name) for model in (OperatorSettings, MetricSource) for name in model.model_fields]


@pytest.mark.parametrize("name", [*FLAGS, *FIELDS])
def test_the_page_names(name: str) -> None:
    assert name in PAGE


@pytest.mark.parametrize(
    "rule", [*CLUSTER_RULES, *NAMESPACE_RULES], ids=lambda rule: "/".join(rule.resources)
)
def test_a_right_is_narrow_and_has_a_reason(rule: object) -> None:
    assert "*" not in (*rule.api_groups, *rule.resources, *rule.verbs)  # type: ignore[attr-defined]
    assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule.verbs)  # type: ignore[attr-defined]
    assert not {"pods/exec", "roles", "clusterroles"} & set(rule.resources)  # type: ignore[attr-defined]
    # one of our own: read by its name; a name can't be asked for when an object is made
    if "secrets" in rule.resources:  # type: ignore[attr-defined]
        assert rule in NAMESPACE_RULES
        assert rule.resource_names or rule.verbs == ("create",)  # type: ignore[attr-defined]
    assert rule.why  # type: ignore[attr-defined]
