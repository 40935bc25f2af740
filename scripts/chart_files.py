"""What the chart carries of the sources: the CRDs as they are, and the rights that the code declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from switchyard.adapters.rbac import CLUSTER_RULES, NAMESPACE_RULES, PolicyRule

FILES = Path("charts/switchyard/files")
HEADER = "# Generated from switchyard/adapters/rbac.py by `make generate`. Do not edit.\n"


def chart_files(crds: Mapping[str, str]) -> dict[Path, str]:
    """Text by path, relative to the repository; `crds` is text by file name."""
    return {
        FILES / "cluster-rules.yaml": HEADER + rules_text(CLUSTER_RULES),
        FILES / "namespace-rules.yaml": HEADER + rules_text(NAMESPACE_RULES),
        **{FILES / "crds" / name: text for name, text in crds.items()},
    }


def rules_text(rules: Iterable[PolicyRule]) -> str:
    """The rules as the items of a role, each with its reason above it."""
    return "".join(
        f"# {rule.why}\n"
        f"- apiGroups: {_flow(rule.api_groups)}\n"
        f"  resources: {_flow(rule.resources)}\n"
        + (f"  resourceNames: {_flow(rule.resource_names)}\n" if rule.resource_names else "")
        + f"  verbs: {_flow(rule.verbs)}\n"
        for rule in rules
    )


def _flow(words: tuple[str, ...]) -> str:
    return "[" + ", ".join(word or '""' for word in words) + "]"
