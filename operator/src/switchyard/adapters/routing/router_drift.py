"""What of a router's objects is not as the cutover side wrote it, and who changed it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from switchyard.adapters.routing.ownership import CUTOVER_MANAGER, find_writers, is_written_by
from switchyard.adapters.routing.route_drift import describe_plan, describe_shares
from switchyard.api.labels import TRAFFIC_HELD_BY
from switchyard.core.drift import APPLIED_HASH, differs
from switchyard.core.errors import RoutingDocumentError
from switchyard.core.holding import PLACEMENT, find_holder
from switchyard.core.placement.quantities import read_quantity
from switchyard.core.routing.document import RoutingDocument, parse_routing_document
from switchyard.core.routing.plan import Drift, Share, TrafficPlan
from switchyard.core.routing.router_objects import DOCUMENT_KEY, name_router, select_routers

_REMOVED = "somebody who removed it, of whom no record is kept"

Json = Mapping[str, Any]


def read_document(config_map: Json | None) -> RoutingDocument | None:
    """The document that routers are told to read; None where there is none that they could follow."""
    text = ((config_map or {}).get("data") or {}).get(DOCUMENT_KEY)
    try:
        return None if text is None else parse_routing_document(text)
    except RoutingDocumentError:
        return None


def is_document_ours(config_map: Json) -> bool:
    """True when nobody has changed the document since the cutover side wrote it."""
    return is_written_by(config_map, CUTOVER_MANAGER, "data", DOCUMENT_KEY)


def is_engaged(plan: TrafficPlan, stable: Json) -> bool:
    """True when the stable Service selects the routers."""
    return bool((stable.get("spec") or {}).get("selector") == select_routers(plan.workload))


def find_service_drift(plan: TrafficPlan, stable: Json) -> tuple[Drift, ...]:
    """Changes of where the stable Service sends callers, and of the mark that says who decides on it.

    Only for a workload whose traffic was taken over before.
    """
    name = f"Service {plan.namespace}/{plan.workload}"
    wanted = select_routers(plan.workload)
    drift = []
    is_ours = is_written_by(stable, CUTOVER_MANAGER, "spec", "selector")
    is_placed = is_written_by(stable, PLACEMENT, "spec", "selector")
    if not is_ours and (find_holder(stable) or not is_placed):
        by = _name_others(stable, "spec", "selector")
        found = _show_labels((stable.get("spec") or {}).get("selector"))
        drift.append(Drift(f"{name} spec.selector", by, found, _show_labels(wanted)))
    path = ("metadata", "annotations", TRAFFIC_HELD_BY)
    if is_engaged(plan, stable) and not is_written_by(stable, CUTOVER_MANAGER, *path):
        found = find_holder(stable) or "absent"
        drift.append(
            Drift(f"{name} annotation {TRAFFIC_HELD_BY}", _name_others(stable, *path), found, plan.holder)
        )
    return tuple(drift)


def find_document_drift(plan: TrafficPlan, config_map: Json | None) -> tuple[Drift, ...]:
    """Changes of the document that routers read."""
    name = f"ConfigMap {plan.namespace}/{name_router(plan.workload)}"
    if config_map is None:
        return (Drift(name, _REMOVED, "absent", describe_plan(plan)),)
    if is_document_ours(config_map):
        return ()
    document = read_document(config_map)
    found = "no routing document"
    if document is not None:
        shares = {s.name: Share(s.candidate_percent, s.shadow_percent) for s in document.segments}
        found = f"{describe_shares(shares)} (document {document.version})"
    by = _name_others(config_map, "data", DOCUMENT_KEY)
    return (Drift(f"{name} data.{DOCUMENT_KEY}", by, found, describe_plan(plan)),)


def find_deployment_drift(plan: TrafficPlan, wanted: Json, deployment: Json | None) -> tuple[Drift, ...]:
    """Changes of the router pods' Deployment since it was applied; none where `wanted` itself is new."""
    name = f"Deployment {plan.namespace}/{name_router(plan.workload)}"
    if deployment is None:
        return (Drift(name, _REMOVED, "absent", "present"),)
    if not differs(wanted, deployment) or _hash(wanted) != _hash(deployment):
        return ()
    return tuple(
        Drift(f"{name} {what}", _name_others(deployment, *path), str(found), str(asked))
        for what, path, found, asked in _find_changes(wanted["spec"], deployment["spec"], "spec", ("spec",))
    )


def _find_changes(
    wanted: Any, found: Any, what: str, path: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...], Any, Any]]:
    """Each field that is not as wanted: its name, the nearest path in managedFields, found and wanted."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            yield from _find_changes(value, found.get(key), f"{what}.{key}", (*path, key))
    elif _has_names(wanted) and _has_names(found):
        there = {each["name"]: each for each in found}
        for each in wanted:
            for name, _, now, asked in _find_changes(
                each, there.get(each["name"]), f"{what}[{each['name']}]", path
            ):
                yield name, path, now, asked
    elif not _is_equal(wanted, found):
        yield what, path, "absent" if found is None else found, wanted


def _has_names(items: Any) -> bool:
    return (
        isinstance(items, Sequence)
        and not isinstance(items, str)
        and bool(items)
        and all(isinstance(each, Mapping) and "name" in each for each in items)
    )


def _is_equal(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        is_list = isinstance(found, Sequence) and len(found) == len(wanted)
        return is_list and all(
            not [*_find_changes(one, other, "", ())] for one, other in zip(wanted, found, strict=True)
        )
    if wanted == found or (found is None and not wanted):  # the server leaves out what is empty
        return True
    one, other = read_quantity(wanted), read_quantity(found)
    return one is not None and one == other


def _name_others(body: Json, *path: str) -> str:
    others = [each for each in find_writers(body, *path) if not each.startswith(f"{CUTOVER_MANAGER} (")]
    return ", ".join(others) or _REMOVED


def _show_labels(selector: Any) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((selector or {}).items())) or "nothing"


def _hash(body: Json) -> str:
    return str((body["metadata"].get("annotations") or {}).get(APPLIED_HASH, ""))
