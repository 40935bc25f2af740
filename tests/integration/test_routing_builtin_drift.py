"""Who changed what of a router's objects: named with what was found and wanted, and put right again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from switchyard.adapters.resources import DEPLOYMENTS, SERVICES, Resource
from switchyard.adapters.routing.objects_access import CONFIG_MAPS
from switchyard.core.routing.plan import Share
from switchyard.core.routing.router_objects import DOCUMENT_KEY
from switchyard.engine.routing import Applied

from .builtin_rig import HOLDER, ROUTER, Rig, rest, with_rig

Json = dict[str, Any]


def _point_elsewhere(body: Json) -> None:
    body["spec"]["selector"] = {"app": "mine"}


def _take_mark_off(body: Json) -> None:
    del body["metadata"]["annotations"]["switchyard.dev/traffic-held-by"]


def _write_weight(body: Json, *, version_steps: int = 1) -> None:
    document = json.loads(body["data"][DOCUMENT_KEY])
    document["segments"][0]["candidatePercent"] = 80.0
    document["version"] += version_steps
    body["data"][DOCUMENT_KEY] = json.dumps(document)


def _jump_versions(body: Json) -> None:
    _write_weight(body, version_steps=10**9)


def _write_nonsense(body: Json) -> None:
    body["data"][DOCUMENT_KEY] = "weights: 50"


def _remove_document(body: Json) -> None:
    body["data"] = {"other": "file"}


def _scale(body: Json) -> None:
    body["spec"]["replicas"] = 1


def _change_image(body: Json) -> None:
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "switchyard:mine"


@dataclass(frozen=True)
class Edit:
    """A change and how it is told. `change` None: the object is deleted."""

    resource: Resource
    change: Callable[[Json], None] | None
    field: str
    found: str
    wanted: str
    keeps_in_force: bool = False

    @property
    def name(self) -> str:
        return "chat" if self.resource is SERVICES else ROUTER

    @property
    def what(self) -> str:
        return f"{self.resource.kind} shop/{self.name} {self.field}".strip()


SELECTOR = "app.kubernetes.io/component=router,switchyard.dev/workload=chat"
MARK = "annotation switchyard.dev/traffic-held-by"
DOCUMENT = "data.router.json"
IMAGE = "spec.template.spec.containers[router].image"

CHANGES = {
    "selector": Edit(SERVICES, _point_elsewhere, "spec.selector", "app=mine", SELECTOR),
    "weight": Edit(CONFIG_MAPS, _write_weight, DOCUMENT, "default 80 % (document 1025)", "default 10 %"),
    "far number": Edit(
        CONFIG_MAPS, _jump_versions, DOCUMENT, "default 80 % (document 1000001024)", "default 10 %"
    ),
    "nonsense": Edit(CONFIG_MAPS, _write_nonsense, DOCUMENT, "no routing document", "default 10 %", True),
    "replicas": Edit(DEPLOYMENTS, _scale, "spec.replicas", "1", "2", True),
    "image": Edit(DEPLOYMENTS, _change_image, IMAGE, "switchyard:mine", "switchyard:test", True),
}
REMOVALS = {
    "mark": Edit(SERVICES, _take_mark_off, MARK, "absent", HOLDER),
    "document": Edit(CONFIG_MAPS, _remove_document, DOCUMENT, "no routing document", "default 10 %"),
    "ConfigMap": Edit(CONFIG_MAPS, None, "", "absent", "default 10 %"),
    "Deployment": Edit(DEPLOYMENTS, None, "", "absent", "present"),
}


async def make_edit(rig: Rig, edit: Edit) -> None:
    if edit.change is None:
        await rig.delete(edit.resource, edit.name)
    else:
        await rig.edit(edit.resource, edit.name, edit.change)


@pytest.mark.parametrize("edit", CHANGES.values(), ids=CHANGES)
def test_a_change_by_somebody_else_is_named_and_put_right(edit: Edit) -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(10))
        adapter = await rig.engage(plan)
        await make_edit(rig, edit)
        await rig.read_files()
        state = await adapter.observe(plan)
        (drift,) = state.drift
        assert (drift.what, drift.found, drift.wanted) == (edit.what, edit.found, edit.wanted)
        assert drift.by.startswith("kubectl-edit (Update at ")
        assert state.version == (1 if edit.keeps_in_force else None)
        await rig.drive(lambda: adapter.apply(plan))
        state = await adapter.observe(plan)
        assert (state.drift, state.waiting_for, state.problem) == ((), "", "")
        assert (state.version, state.shares) == (1, {"default": Share(10, 0)})
        # what somebody else did to the numbers stands in no later plan's way
        assert await adapter.apply(rig.plan(2, rest(20))) == Applied()
        assert (await adapter.observe(rig.plan(2, rest(20)))).version == 2
        await adapter.close()

    with_rig(scenario)


@pytest.mark.parametrize("edit", REMOVALS.values(), ids=REMOVALS)
def test_what_somebody_removed_is_named_and_put_back(edit: Edit) -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(10))
        adapter = await rig.engage(plan)
        await make_edit(rig, edit)
        (drift,) = (await adapter.observe(plan)).drift
        assert (drift.what, drift.found, drift.wanted) == (edit.what, edit.found, edit.wanted)
        assert drift.by == "somebody who removed it, of whom no record is kept"
        await rig.drive(lambda: adapter.apply(plan))
        state = await adapter.observe(plan)
        assert (state.drift, state.waiting_for, state.version) == ((), "", 1)
        await adapter.close()

    with_rig(scenario)


def test_an_apply_of_the_same_weights_by_another_manager_takes_nothing_away() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(10))
        adapter = await rig.engage(plan)
        body = await rig.get(CONFIG_MAPS, ROUTER)
        metadata = {"name": ROUTER, "namespace": "shop"}
        same = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": body["data"]}
        await rig.apply(same, manager="argocd-controller")
        assert (await adapter.observe(plan)).drift == ()
        await adapter.close()

    with_rig(scenario)


def test_kubectl_scale_is_named_though_it_writes_a_subresource() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(10))
        adapter = await rig.engage(plan)
        await rig.sandbox.client.request(
            "PATCH",
            DEPLOYMENTS.path("shop", ROUTER, "scale"),
            params={"fieldManager": "kubectl"},
            body={"spec": {"replicas": 5}},
            content_type="application/merge-patch+json",
        )
        (drift,) = (await adapter.observe(plan)).drift
        assert (drift.found, drift.wanted) == ("5", "2")
        assert drift.by.startswith("kubectl (Update at ")
        await adapter.close()

    with_rig(scenario)


def test_what_others_add_beside_ours_is_no_drift() -> None:
    async def scenario(rig: Rig) -> None:
        plan = rig.plan(1, rest(10))
        adapter = await rig.engage(plan)

        def annotate(body: Json) -> None:
            body["metadata"].setdefault("annotations", {})["team"] = "search"
            body["metadata"]["labels"]["team"] = "search"

        for resource, name in ((SERVICES, "chat"), (CONFIG_MAPS, ROUTER), (DEPLOYMENTS, ROUTER)):
            await rig.edit(resource, name, annotate)
        state = await adapter.observe(plan)
        assert (state.drift, state.waiting_for, state.version) == ((), "", 1)
        await adapter.close()

    with_rig(scenario)
