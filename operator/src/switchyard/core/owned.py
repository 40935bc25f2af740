"""The metadata of what the operator makes for a workload: deleting the workload deletes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from switchyard.api import GROUP, VERSION


def build_owned_metadata(
    namespace: str, workload: str, uid: str, name: str, marks: Mapping[str, str]
) -> dict[str, Any]:
    """Metadata of the object `name` with these labels, controlled by the workload with that uid."""
    return {
        "name": name,
        "namespace": namespace,
        "labels": dict(marks),
        "ownerReferences": [
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "InferenceWorkload",
                "name": workload,
                "uid": uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
