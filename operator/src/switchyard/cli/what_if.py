"""Plans of files as they are, and with what-if settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from switchyard.catalog import load_catalog
from switchyard.cli.file_world import OURS, build_world, check_manifests
from switchyard.cli.manifests import BadInputError, Manifest, read_manifests
from switchyard.cli.overrides import override, read_namespace_labels
from switchyard.cli.planning import Planned, make_plan


def plan_files(
    sources: Sequence[str], settings: Sequence[str], namespace_labels: Sequence[str]
) -> tuple[Planned | None, Planned]:
    """The plan before the settings (None where there are none) and after. Raises BadInputError."""
    manifests = read_manifests(sources)
    notes = check_manifests(manifests)
    if not any(each.kind in OURS for each in manifests):
        raise BadInputError(
            [f"{', '.join(sources)}: no AcceleratorPool and no InferenceWorkload in there: nothing to plan"]
        )
    namespaces = sorted(
        {each.namespace or "default" for each in manifests if each.kind == "InferenceWorkload"}
    )
    labels = read_namespace_labels(namespace_labels, namespaces)
    if not settings:
        return None, _plan(manifests, {}, labels, notes)
    changed = override(manifests, settings)
    before = _plan(manifests, {}, labels, notes)
    return before, _plan(changed.manifests, changed.devices, labels, notes)


def _plan(
    manifests: Sequence[Manifest],
    devices: Mapping[str, int],
    labels: Mapping[str, Mapping[str, str]],
    notes: tuple[str, ...],
) -> Planned:
    catalog = load_catalog()
    built = build_world(manifests, catalog, now=datetime.now(UTC), devices=devices, namespace_labels=labels)
    return make_plan(built.world, catalog, notes=(*notes, *built.notes), unlimited=built.unlimited)
