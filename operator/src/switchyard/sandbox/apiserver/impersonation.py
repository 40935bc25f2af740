"""Whom a request acts as: the `Impersonate-*` headers, for those who may.

Source: k8s.io/apiserver/pkg/endpoints/filters/impersonation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.hooks import Attributes, User, Verdict

_ACCOUNT = "system:serviceaccount:"


def impersonated(
    user: User, headers: Mapping[str, str], authorize: Callable[[User, Attributes], Verdict]
) -> User:
    """The user that the headers name, or the given one without headers. Raises 403."""
    name = headers.get("Impersonate-User", "")
    groups = _all(headers, "Impersonate-Group")
    if not name:
        if groups:
            raise ApiError(400, "BadRequest", "requested groups without impersonating a user")
        return user
    account = name.removeprefix(_ACCOUNT).split(":") if name.startswith(_ACCOUNT) else []
    if len(account) == 2:
        _require(user, authorize, "serviceaccounts", account[1], account[0])
        groups = groups or ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    else:
        _require(user, authorize, "users", name)
    for group in _all(headers, "Impersonate-Group"):
        _require(user, authorize, "groups", group)
    if name != "system:anonymous" and "system:authenticated" not in groups:
        groups = [*groups, "system:authenticated"]
    return User(name, tuple(groups), headers.get("Impersonate-Uid", ""))


def _all(headers: Mapping[str, str], name: str) -> list[str]:
    every = getattr(headers, "getall", None)
    if every is not None:
        return list(every(name, []))
    return [headers[name]] if name in headers else []


def _require(
    user: User,
    authorize: Callable[[User, Attributes], Verdict],
    resource: str,
    name: str,
    namespace: str = "",
) -> None:
    attributes = Attributes(
        verb="impersonate", path="", version="v1", resource=resource, namespace=namespace, name=name
    )
    if not authorize(user, attributes).is_allowed:
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        raise ApiError(
            403,
            "Forbidden",
            f'{resource} "{name}" is forbidden: User "{user.name}" cannot impersonate resource "{resource}" '
            f'in API group "" {where}',
            {"name": name, "kind": resource},
        )
