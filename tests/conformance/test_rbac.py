"""Who may do what: rules grant exactly what they name, and nobody grants more than they have."""

from __future__ import annotations

import pytest
from e2e.providers import PlainHttp
from e2e.providers.plain_http import poll
from tests.conformance.widgets import GROUP, widget

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def _role(name: str, *rules: tuple[str, str, str], kind: str = "Role", names: tuple[str, ...] = ()) -> dict:
    listed = [
        {
            "apiGroups": [group],
            "resources": [resource],
            "verbs": verbs.split(),
            **({"resourceNames": list(names)} if names else {}),
        }
        for group, resource, verbs in rules
    ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "rules": listed,
    }


def _binding(
    name: str, role: str, namespace: str, *, kind: str = "RoleBinding", role_kind: str = "Role"
) -> dict:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "account", "namespace": namespace}],
    }


@pytest.fixture
def account(http, namespace) -> PlainHttp:
    """A service account without any rights, with a token from the API."""
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    http.post(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "account"}})
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    return http.as_user(http.post(f"{accounts}/account/token", request).body["status"]["token"])


def _grant(http, namespace: str, *rules: tuple[str, str, str], names: tuple[str, ...] = ()) -> None:
    base = f"{RBAC}/namespaces/{namespace}"
    assert http.post(f"{base}/roles", _role("granted", *rules, names=names)).code == 201
    assert http.post(f"{base}/rolebindings", _binding("granted", "granted", namespace)).code == 201


def _becomes(ask, code: int) -> None:
    """Authorizers learn of new rules a moment later."""
    assert poll(lambda: ask().code, lambda seen: seen == code, seconds=10) == code


def test_without_a_rule_everything_is_forbidden_with_a_message(account, widgets, namespace) -> None:
    answer = account.get(widgets)
    assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
    user = f"system:serviceaccount:{namespace}:account"
    assert f'User "{user}" cannot list resource "widgets" in API group "{GROUP}"' in answer.body["message"]


def test_a_token_that_nobody_issued_is_unauthorized(http) -> None:
    assert http.as_user("eyJhbGciOiJIUzI1NiJ9.e30.c2ln").get("/api/v1/namespaces").code == 401


def test_a_rule_grants_its_verbs_and_no_others(http, account, widgets, namespace) -> None:
    _grant(http, namespace, (GROUP, "widgets", "get create"))
    _becomes(lambda: account.get(f"{widgets}/none"), 404)
    assert account.post(widgets, widget("a")).code == 201
    assert account.get(widgets).code == 403
    assert account.get(widgets, watch="1", timeoutSeconds="1").code == 403
    assert account.patch(f"{widgets}/a", {"spec": {"size": 6}}).code == 403
    assert account.put(f"{widgets}/a", widget("a")).code == 403
    assert account.delete(f"{widgets}/a").code == 403
    assert account.delete(widgets).code == 403


def test_status_is_a_resource_of_its_own(http, account, widgets, namespace) -> None:
    http.post(widgets, widget("a"))
    _grant(http, namespace, (GROUP, "widgets/status", "patch"))
    _becomes(lambda: account.patch(f"{widgets}/a/status", {"status": {"phase": "Up"}}), 200)
    assert account.patch(f"{widgets}/a", {"spec": {"size": 6}}).code == 403


def test_server_side_apply_that_creates_needs_create_beside_patch(http, account, widgets, namespace) -> None:
    _grant(http, namespace, (GROUP, "widgets", "patch"))
    _becomes(lambda: account.patch(f"{widgets}/none", {"spec": {"size": 6}}), 404)
    assert account.apply(f"{widgets}/a", widget("a"), "one").code == 403
    http.post(widgets, widget("a"))
    assert account.apply(f"{widgets}/a", widget("a"), "one").code == 200


def test_resource_names_narrow_a_rule(http, account, namespace) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    _grant(http, namespace, ("", "configmaps", "get delete"), names=("mine",))
    _becomes(lambda: account.get(f"{maps}/mine"), 404)
    assert account.get(f"{maps}/other").code == 403
    assert account.delete(f"{maps}/other").code == 403


def test_a_role_ends_at_its_namespace(http, account, widgets, namespace) -> None:
    _grant(http, namespace, (GROUP, "widgets", "list"))
    _becomes(lambda: account.get(widgets), 200)
    assert account.get(widgets.replace(namespace, "default")).code == 403
    assert account.get(f"/apis/{GROUP}/v1/widgets").code == 403


def test_a_cluster_role_bound_clusterwide_grants_everywhere(http, account, widgets, namespace) -> None:
    name = f"suite-{namespace}"
    http.post(f"{RBAC}/clusterroles", _role(name, (GROUP, "widgets", "list"), kind="ClusterRole"))
    binding = _binding(name, name, namespace, kind="ClusterRoleBinding", role_kind="ClusterRole")
    http.post(f"{RBAC}/clusterrolebindings", binding)
    try:
        _becomes(lambda: account.get(f"/apis/{GROUP}/v1/widgets"), 200)
        assert account.get(widgets).code == 200
    finally:
        http.delete(f"{RBAC}/clusterrolebindings/{name}")
        http.delete(f"{RBAC}/clusterroles/{name}")


def test_rights_end_with_their_binding(http, account, widgets, namespace) -> None:
    _grant(http, namespace, (GROUP, "widgets", "list"))
    _becomes(lambda: account.get(widgets), 200)
    http.delete(f"{RBAC}/namespaces/{namespace}/rolebindings/granted")
    _becomes(lambda: account.get(widgets), 403)


def test_nobody_writes_a_role_with_rights_that_they_lack(http, account, namespace) -> None:
    rights = "get list create update"
    _grant(http, namespace, ("rbac.authorization.k8s.io", "roles", rights), ("", "configmaps", "get"))
    roles = f"{RBAC}/namespaces/{namespace}/roles"
    _becomes(lambda: account.get(roles), 200)
    assert account.post(roles, _role("same", ("", "configmaps", "get"))).code == 201
    answer = account.post(roles, _role("more", ("", "secrets", "get")))
    assert (answer.code, answer.body["reason"]) == (403, "Forbidden")
    assert "attempting to grant RBAC permissions not currently held" in answer.body["message"]


def test_nobody_binds_a_role_with_rights_that_they_lack(http, account, namespace) -> None:
    rights = "get list create"
    _grant(http, namespace, ("rbac.authorization.k8s.io", "rolebindings", rights))
    bindings = f"{RBAC}/namespaces/{namespace}/rolebindings"
    _becomes(lambda: account.get(bindings), 200)
    answer = account.post(bindings, _binding("grab", "cluster-admin", namespace, role_kind="ClusterRole"))
    assert answer.code == 403


def test_a_binding_keeps_its_role(http, namespace) -> None:
    _grant(http, namespace, ("", "configmaps", "get"))
    path = f"{RBAC}/namespaces/{namespace}/rolebindings/granted"
    assert http.patch(path, {"roleRef": {"name": "other"}}).code == 422


def test_reviews_say_what_requests_would_get(http, account, widgets, namespace) -> None:
    _grant(http, namespace, (GROUP, "widgets", "list"))
    _becomes(lambda: account.get(widgets), 200)

    def may(verb: str) -> bool:
        attributes = {"namespace": namespace, "group": GROUP, "resource": "widgets", "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = account.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return answer.body["status"]["allowed"]

    assert may("list")
    assert not may("delete")


def test_who_may_view_may_view_what_is_aggregated(http, account, widgets, namespace) -> None:
    """What the chart's roles for users rely on."""
    base = f"{RBAC}/namespaces/{namespace}/rolebindings"
    http.post(base, _binding("viewer", "view", namespace, role_kind="ClusterRole"))
    _becomes(lambda: account.get(f"/api/v1/namespaces/{namespace}/configmaps"), 200)
    assert account.get(widgets).code == 403
    name = f"suite-{namespace}"
    role = _role(name, (GROUP, "widgets", "list"), kind="ClusterRole")
    role["metadata"]["labels"] = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    http.post(f"{RBAC}/clusterroles", role)
    try:
        _becomes(lambda: account.get(widgets), 200)
        assert account.delete(f"{widgets}/none").code == 403
    finally:
        http.delete(f"{RBAC}/clusterroles/{name}")
    _becomes(lambda: account.get(widgets), 403)


def test_service_account_tokens_name_their_account_and_audience(http, account, namespace) -> None:
    del http
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    user = account.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review).body["status"][
        "userInfo"
    ]
    assert user["username"] == f"system:serviceaccount:{namespace}:account"
    assert set(user["groups"]) >= {"system:serviceaccounts", f"system:serviceaccounts:{namespace}"}
