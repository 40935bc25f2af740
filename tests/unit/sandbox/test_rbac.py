import pytest
from tests.unit.sandbox.fake_objects import FakeObjects, info_of, new_registry

from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.escalation import check_escalation, is_covered
from switchyard.sandbox.apiserver.hooks import ADMIN, Attributes, User
from switchyard.sandbox.apiserver.rbac import RBAC_GROUP, RoleBasedAccess
from switchyard.sandbox.apiserver.resources import Json

_ANN = User("ann", ("system:authenticated", "team"))
_BOT = User("system:serviceaccount:ns:bot", ("system:serviceaccounts",))


def _rule(verbs: str, group: str, resources: str, names: str = "") -> Json:
    rule = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return {**rule, "resourceNames": names.split()} if names else rule


@pytest.fixture
def objects() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
def access(objects: FakeObjects) -> RoleBasedAccess:
    return RoleBasedAccess(new_registry(), objects)


def _role(objects: FakeObjects, name: str, *rules: Json, namespace: str = "", **more: object) -> None:
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
    objects.put(info_of(kind, RBAC_GROUP), {"metadata": metadata, "rules": list(rules), **more})


def _bind(objects: FakeObjects, role: str, subject: Json, namespace: str = "", kind: str = "") -> None:
    name = "RoleBinding" if namespace else "ClusterRoleBinding"
    reference = {"kind": kind or ("Role" if namespace else "ClusterRole"), "name": role}
    metadata = {"name": f"b-{role}", **({"namespace": namespace} if namespace else {})}
    binding = {"metadata": metadata, "roleRef": reference, "subjects": [subject]}
    objects.put(info_of(name, RBAC_GROUP), binding)


def _asks(verb: str, resource: str = "pods", **more: str) -> Attributes:
    below = resource.partition("/")
    return Attributes(verb, "", version="v1", resource=below[0], subresource=below[2], **more)


_ANN_SUBJECT = {"kind": "User", "name": "ann"}


@pytest.mark.parametrize(
    ("rule", "asked", "is_allowed"),
    [
        (_rule("get list", "", "pods"), _asks("list"), True),
        (_rule("get list", "", "pods"), _asks("delete"), False),
        (_rule("*", "", "pods"), _asks("delete"), True),
        (_rule("get", "apps", "pods"), _asks("get"), False),
        (_rule("get", "*", "*"), _asks("get", group="apps"), True),
        (_rule("patch", "", "pods"), _asks("patch", "pods/status"), False),
        (_rule("patch", "", "pods/status"), _asks("patch", "pods/status"), True),
        (_rule("patch", "", "*/status"), _asks("patch", "pods/status"), True),
        (_rule("patch", "", "pods/status"), _asks("patch"), False),
        (_rule("get", "", "pods", "one"), _asks("get", name="one"), True),
        (_rule("get", "", "pods", "one"), _asks("get", name="two"), False),
        (_rule("list", "", "pods", "one"), _asks("list"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["/x/*"]}, Attributes("get", "/x/y", is_resource=False), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/x"]}, Attributes("get", "/x/y", is_resource=False), False),
    ],
)
def test_a_rule_allows_what_it_names(
    objects: FakeObjects, access: RoleBasedAccess, rule: Json, asked: Attributes, *, is_allowed: bool
) -> None:
    _role(objects, "r", rule)
    _bind(objects, "r", _ANN_SUBJECT)
    assert access.authorize(_ANN, asked).is_allowed is is_allowed


@pytest.mark.parametrize(
    ("subject", "user", "is_allowed"),
    [
        (_ANN_SUBJECT, _ANN, True),
        ({"kind": "User", "name": "bob"}, _ANN, False),
        ({"kind": "Group", "name": "team"}, _ANN, True),
        ({"kind": "ServiceAccount", "name": "bot", "namespace": "ns"}, _BOT, True),
        ({"kind": "ServiceAccount", "name": "bot", "namespace": "other"}, _BOT, False),
    ],
)
def test_a_binding_speaks_of_its_subjects(
    objects: FakeObjects, access: RoleBasedAccess, subject: Json, user: User, *, is_allowed: bool
) -> None:
    _role(objects, "r", _rule("get", "", "pods"))
    _bind(objects, "r", subject)
    assert access.authorize(user, _asks("get")).is_allowed is is_allowed


def test_a_role_binding_reaches_no_further_than_its_namespace(
    objects: FakeObjects, access: RoleBasedAccess
) -> None:
    _role(objects, "r", _rule("get", "", "pods"))
    _bind(objects, "r", _ANN_SUBJECT, namespace="ns", kind="ClusterRole")
    verdict = access.authorize(_ANN, _asks("get", namespace="ns"))
    assert verdict.reason == 'RBAC: allowed by RoleBinding "b-r/ns" of ClusterRole "r" to User "ann"'
    assert not access.authorize(_ANN, _asks("get", namespace="other")).is_allowed
    assert not access.authorize(_ANN, _asks("get")).is_allowed


def test_a_changed_role_counts_at_once(objects: FakeObjects, access: RoleBasedAccess) -> None:
    _role(objects, "r", _rule("get", "", "pods"))
    _bind(objects, "r", _ANN_SUBJECT)
    assert access.authorize(_ANN, _asks("get")).is_allowed
    _role(objects, "r", _rule("list", "", "pods"))
    assert not access.authorize(_ANN, _asks("get")).is_allowed
    assert access.authorize(_ANN, _asks("list")).is_allowed


def test_an_aggregating_role_grants_what_was_written_into_it_and_no_more(
    objects: FakeObjects, access: RoleBasedAccess
) -> None:
    selectors = [{"matchLabels": {"to-sum": "true"}}]
    _role(objects, "sum", _rule("get", "", "pods"), aggregationRule={"clusterRoleSelectors": selectors})
    _role(objects, "part", _rule("list", "", "pods"), metadata={"labels": {"to-sum": "true"}})
    _bind(objects, "sum", _ANN_SUBJECT)
    assert access.authorize(_ANN, _asks("get")).is_allowed
    assert not access.authorize(_ANN, _asks("list")).is_allowed


def test_masters_may_do_anything(access: RoleBasedAccess) -> None:
    assert access.authorize(ADMIN, _asks("delete", "nodes")).is_allowed


@pytest.mark.parametrize(
    ("wanted", "held", "is_held"),
    [
        (_rule("get", "", "pods"), [_rule("get list", "", "pods secrets")], True),
        (_rule("get delete", "", "pods"), [_rule("get", "", "pods"), _rule("delete", "", "*")], True),
        (_rule("get delete", "", "pods"), [_rule("get", "", "pods")], False),
        (_rule("get", "", "pods"), [_rule("get", "", "pods", "one")], False),
        (_rule("get", "", "pods", "one"), [_rule("get", "", "pods", "one two")], True),
        (_rule("*", "", "pods"), [_rule("get", "", "pods")], False),
        (_rule("get", "", "pods/log"), [_rule("get", "", "*/log")], True),
        ({"verbs": ["get"], "nonResourceURLs": ["/x"]}, [{"verbs": ["get"], "nonResourceURLs": ["*"]}], True),
        ({"verbs": ["get"], "nonResourceURLs": ["/x"]}, [_rule("*", "*", "*")], False),
    ],
)
def test_a_rule_is_covered_when_each_part_of_it_is_held(
    wanted: Json, held: list[Json], *, is_held: bool
) -> None:
    assert is_covered(wanted, held) is is_held


def test_nobody_grants_what_they_do_not_hold(objects: FakeObjects, access: RoleBasedAccess) -> None:
    role = {"metadata": {"name": "more", "namespace": "ns"}, "rules": [_rule("delete", "", "secrets")]}
    with pytest.raises(ApiError) as refusal:
        check_escalation(access, info_of("Role", RBAC_GROUP), role, None, _ANN)
    assert refusal.value.code == 403
    assert "attempting to grant RBAC permissions not currently held" in refusal.value.message
    assert 'Resources:["secrets"]' in refusal.value.message
    _role(objects, "escalator", _rule("escalate", RBAC_GROUP, "roles"))
    _bind(objects, "escalator", _ANN_SUBJECT)
    check_escalation(access, info_of("Role", RBAC_GROUP), role, None, _ANN)


def test_nobody_binds_a_role_beyond_their_own_rights_without_bind(
    objects: FakeObjects, access: RoleBasedAccess
) -> None:
    _role(objects, "strong", _rule("*", "*", "*"))
    binding = {
        "metadata": {"name": "b", "namespace": "ns"},
        "roleRef": {"kind": "ClusterRole", "name": "strong"},
        "subjects": [_ANN_SUBJECT],
    }
    info = info_of("RoleBinding", RBAC_GROUP)
    with pytest.raises(ApiError):
        check_escalation(access, info, binding, None, _ANN)
    _role(objects, "binder", _rule("bind", RBAC_GROUP, "clusterroles", "strong"))
    _bind(objects, "binder", _ANN_SUBJECT)
    check_escalation(access, info, binding, None, _ANN)
