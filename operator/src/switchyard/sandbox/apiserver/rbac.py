"""Who may do what, by the Role and ClusterRole objects that are bound to them at this moment.

Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac and pkg/registry/rbac/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from switchyard.sandbox.apiserver.hooks import Attributes, Objects, User, Verdict
from switchyard.sandbox.apiserver.resources import Json, Registry, ResourceInfo

RBAC_GROUP = "rbac.authorization.k8s.io"
MASTERS = "system:masters"
_KINDS = ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
_MOST_CACHED = 4096


@dataclass(frozen=True, slots=True)
class Grant:
    """Rules that somebody holds, and the sentence that says through what."""

    rules: tuple[Json, ...]
    through: str


@dataclass
class RoleBasedAccess:
    """Rules of users, cached until a role or a binding changes."""

    registry: Registry
    objects: Objects
    _cache: dict[tuple[str, tuple[str, ...], str], tuple[Grant, ...]] = field(default_factory=dict)
    _seen: tuple[int, ...] = ()

    def authorize(self, user: User, attributes: Attributes) -> Verdict:
        """Whether some rule of the user's allows the request."""
        if MASTERS in user.groups:
            return Verdict(is_allowed=True)
        namespace = attributes.namespace if attributes.is_resource else ""
        for grant in self.grants(user, namespace):
            if any(allows(rule, attributes) for rule in grant.rules):
                return Verdict(is_allowed=True, reason=f"RBAC: allowed by {grant.through}")
        return Verdict(is_allowed=False)

    def rules(self, user: User, namespace: str) -> list[Json]:
        """All rules that the user holds in a namespace, those of the whole cluster first."""
        if MASTERS in user.groups:
            return [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]
        return [rule for grant in self.grants(user, namespace) for rule in grant.rules]

    def grants(self, user: User, namespace: str) -> tuple[Grant, ...]:
        """What is bound to a user: in the whole cluster, and in the namespace when one is given."""
        versions = tuple(self.objects.write_count(self._info(plural)) for plural in _KINDS)
        if versions != self._seen or len(self._cache) > _MOST_CACHED:
            self._cache.clear()
            self._seen = versions
        key = (user.name, user.groups, namespace)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = tuple(self._find_grants(user, namespace))
        return found

    def role_rules(self, reference: Json, namespace: str) -> list[Json]:
        """The rules of the role that a binding refers to; none without a role."""
        if reference.get("kind") == "ClusterRole":
            role = self.objects.get(self._info("clusterroles"), "", reference.get("name", ""))
        else:
            role = self.objects.get(self._info("roles"), namespace, reference.get("name", ""))
        return list((role or {}).get("rules") or ())

    def _find_grants(self, user: User, namespace: str) -> Iterator[Grant]:
        bindings = [(binding, "") for binding in self.objects.list(self._info("clusterrolebindings"))]
        if namespace:
            bindings += [(b, namespace) for b in self.objects.list(self._info("rolebindings"), namespace)]
        for binding, scope in bindings:
            subject = next((s for s in binding.get("subjects") or () if is_subject(s, user, scope)), None)
            if subject is None:
                continue
            rules = self.role_rules(binding["roleRef"], scope)
            yield Grant(tuple(rules), _through(binding, subject, scope))

    def _info(self, plural: str) -> ResourceInfo:
        info = self.registry.lookup(RBAC_GROUP, "v1", plural)
        if info is None:
            raise LookupError(plural)
        return info


def _through(binding: Json, subject: Json, scope: str) -> str:
    name = binding["metadata"]["name"]
    bound = f'RoleBinding "{name}/{scope}"' if scope else f'ClusterRoleBinding "{name}"'
    reference = binding["roleRef"]
    who = subject.get("name", "")
    if subject.get("kind") == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or scope}"
    return f'{bound} of {reference["kind"]} "{reference["name"]}" to {subject.get("kind")} "{who}"'


def is_subject(subject: Json, user: User, namespace: str) -> bool:
    """Whether a subject of a binding is the user; `namespace` is the binding's, for accounts without one."""
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind == "User":
        return bool(name == user.name)
    if kind == "Group":
        return name in user.groups
    if kind == "ServiceAccount":
        home = subject.get("namespace") or namespace
        return bool(home) and user.name == f"system:serviceaccount:{home}:{name}"
    return False


def allows(rule: Json, attributes: Attributes) -> bool:
    """Whether one rule allows a request."""
    if not _has(rule.get("verbs"), attributes.verb):
        return False
    if not attributes.is_resource:
        return any(_is_path(pattern, attributes.path) for pattern in rule.get("nonResourceURLs") or ())
    if not _has(rule.get("apiGroups"), attributes.group):
        return False
    if not _has_resource(rule.get("resources"), attributes.resource, attributes.subresource):
        return False
    names = rule.get("resourceNames")
    return not names or attributes.name in names


def _has(allowed: Iterable[str] | None, wanted: str) -> bool:
    return any(choice in ("*", wanted) for choice in allowed or ())


def _has_resource(allowed: Iterable[str] | None, resource: str, subresource: str) -> bool:
    wanted = f"{resource}/{subresource}" if subresource else resource
    return any(
        choice in ("*", wanted) or (bool(subresource) and choice == f"*/{subresource}")
        for choice in allowed or ()
    )


def _is_path(pattern: str, path: str) -> bool:
    if pattern in ("*", path):
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))
