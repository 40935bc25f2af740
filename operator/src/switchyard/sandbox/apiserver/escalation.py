"""Whether somebody may grant permissions: only those that they hold, unless they may `escalate` or `bind`.

Source: k8s.io/kubernetes/pkg/registry/rbac (policybased storage) and component-helpers/auth/rbac/validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from switchyard.sandbox.apiserver.errors import ApiError, forbidden
from switchyard.sandbox.apiserver.hooks import Attributes, User
from switchyard.sandbox.apiserver.rbac import MASTERS, RBAC_GROUP, RoleBasedAccess
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo


def check_escalation(
    access: RoleBasedAccess, info: ResourceInfo, new: Json, old: Json | None, user: User
) -> None:
    """Raises 403 for a role or a binding that grants what its author does not hold."""
    if info.group != RBAC_GROUP or MASTERS in user.groups:
        return
    namespace = new["metadata"].get("namespace", "")
    if info.plural in ("roles", "clusterroles"):
        if old is not None and all(old.get(part) == new.get(part) for part in ("rules", "aggregationRule")):
            return
        name = new["metadata"].get("name", "")
        if _may(access, user, _right("escalate", info.plural, namespace, name)):
            return
        wanted = list(new.get("rules") or ())
        if new.get("aggregationRule"):
            wanted.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
    else:
        reference = new["roleRef"]
        if old is not None and (old["roleRef"], old.get("subjects")) == (reference, new.get("subjects")):
            return
        plural = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
        if _may(access, user, _right("bind", plural, namespace, reference.get("name", ""))):
            return
        wanted = access.role_rules(reference, namespace)
    missing = [rule for rule in wanted if not is_covered(rule, access.rules(user, namespace))]
    if missing:
        raise _refusal(info, new, user, missing)


def _may(access: RoleBasedAccess, user: User, right: Attributes) -> bool:
    return access.authorize(user, right).is_allowed


def _right(verb: str, resource: str, namespace: str, name: str) -> Attributes:
    return Attributes(
        verb=verb,
        path="",
        group=RBAC_GROUP,
        version="v1",
        resource=resource,
        namespace=namespace,
        name=name,
    )


def is_covered(rule: Json, held: list[Json]) -> bool:
    """Whether every single permission in a rule is among those held."""
    return all(any(_covers(owner, part) for owner in held) for part in _parts(rule))


def _parts(rule: Json) -> Iterator[Json]:
    for verb in rule.get("verbs") or ():
        for url in rule.get("nonResourceURLs") or ():
            yield {"verb": verb, "url": url}
        names = rule.get("resourceNames") or [None]
        for group, resource, name in product(rule.get("apiGroups") or (), rule.get("resources") or (), names):
            yield {"verb": verb, "group": group, "resource": resource, "name": name}


def _covers(owner: Json, part: Json) -> bool:
    if not {"*", part["verb"]} & set(owner.get("verbs") or ()):
        return False
    if "url" in part:
        return any(
            pattern in ("*", part["url"]) or (pattern.endswith("*") and part["url"].startswith(pattern[:-1]))
            for pattern in owner.get("nonResourceURLs") or ()
        )
    if not {"*", part["group"]} & set(owner.get("apiGroups") or ()):
        return False
    below = part["resource"].partition("/")[2]
    choices = {"*", part["resource"]} | ({f"*/{below}"} if below else set())
    if not choices & set(owner.get("resources") or ()):
        return False
    names = owner.get("resourceNames")
    return not names or part["name"] in names


def _refusal(info: ResourceInfo, new: Json, user: User, missing: list[Json]) -> ApiError:
    groups = ",".join(f'"{group}"' for group in user.groups)
    told = "\n".join(_shown(rule) for rule in missing)
    return forbidden(
        info,
        new["metadata"].get("name", ""),
        f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently '
        f"held:\n{told}",
    )


def _shown(rule: Json) -> str:
    fields = (
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("ResourceNames", "resourceNames"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("Verbs", "verbs"),
    )
    parts = [
        f"{label}:[{', '.join(f'{chr(34)}{value}{chr(34)}' for value in rule[name])}]"
        for label, name in fields
        if rule.get(name)
    ]
    return "{" + ", ".join(parts) + "}"
