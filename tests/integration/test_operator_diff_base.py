"""kopf keeps no picture of earlier states for us: it is costly, and nothing here would read it."""

from __future__ import annotations

import kopf
import pytest

from switchyard.adapters.kopf_handlers import build_registry
from switchyard.adapters.kopf_settings import build_settings
from switchyard.adapters.resources import ROUTES, WATCHED, Resource

BODY = kopf.Body({"metadata": {"name": "chat", "labels": {"a": "b"}}, "spec": {"port": 8080}})


@pytest.mark.parametrize("resource", [*WATCHED, *ROUTES], ids=lambda each: each.kind)
def test_no_handler_needs_to_know_what_changed(resource: Resource) -> None:
    registry = build_registry((*WATCHED, *ROUTES))
    selected = kopf.Resource(resource.group, resource.version, resource.plural)
    assert registry._watching.has_handlers(resource=selected)
    assert not registry._changing.has_handlers(resource=selected)
    assert not registry._spawning.has_handlers(resource=selected)


def test_an_event_costs_no_copy_of_its_object() -> None:
    storage = build_settings().persistence.diffbase_storage
    assert storage.build(body=BODY, extra_fields=()) == {}
    assert storage.fetch(body=BODY) is None


def test_no_earlier_state_is_ever_written_to_an_object() -> None:
    patch = kopf.Patch()
    build_settings().persistence.diffbase_storage.store(body=BODY, patch=patch, essence=kopf.BodyEssence())
    assert not patch
