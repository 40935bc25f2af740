import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sandbox.fake_objects import new_registry

from switchyard.sandbox.apiserver import discovery
from switchyard.sandbox.apiserver.resources import ALL_VERBS, Registry, ResourceInfo, Subresource


def _widgets(version: str) -> ResourceInfo:
    return ResourceInfo(
        group="w.example.com",
        version=version,
        plural="widgets",
        singular="widget",
        kind="Widget",
        list_kind="WidgetList",
        namespaced=True,
        short_names=("wd",),
        subresources=(Subresource("status", "Widget"),),
        is_builtin=False,
    )


@pytest.fixture
def registry() -> Registry:
    registry = new_registry()
    registry.add([_widgets("v1alpha1"), _widgets("v1")])
    return registry


def test_a_group_prefers_its_most_stable_version(registry: Registry) -> None:
    group = discovery.group_of(registry, "w.example.com")
    assert group is not None
    assert group["preferredVersion"]["version"] == "v1"
    assert [version["version"] for version in group["versions"]] == ["v1", "v1alpha1"]


def test_both_forms_of_discovery_tell_the_same(registry: Registry) -> None:
    old = {
        (group["name"], version["version"], resource["name"])
        for group in discovery.group_list(registry)["groups"]
        for version in group["versions"]
        for resource in (discovery.resource_list(registry, group["name"], version["version"]) or {})[
            "resources"
        ]
    }
    new = set()
    for item in discovery.aggregated_groups(registry, is_core=False)["items"]:
        for version in item["versions"]:
            for resource in version["resources"]:
                key = (item["metadata"]["name"], version["version"])
                new.add((*key, resource["resource"]))
                new |= {
                    (*key, f"{resource['resource']}/{sub['subresource']}")
                    for sub in resource.get("subresources", ())
                }
    assert old == new
    assert ("w.example.com", "v1", "widgets/status") in new


def test_what_is_unknown_is_not_listed(registry: Registry) -> None:
    assert discovery.group_of(registry, "nope.example.com") is None
    assert discovery.resource_list(registry, "apps", "v2") is None


@pytest.mark.parametrize(
    ("accept", "is_aggregated"),
    [
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", True),
        ("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_the_accept_header_chooses_the_form(accept: str, *, is_aggregated: bool) -> None:
    assert discovery.accepts_aggregated(accept) is is_aggregated


@given(st.permutations(["v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha1", "foo"]))
def test_versions_stand_in_the_order_of_kubernetes(versions: list[str]) -> None:
    ranked = sorted(versions, key=discovery.version_rank)
    assert ranked == ["v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha1", "foo"]


def test_every_stored_kind_can_be_read_and_watched(registry: Registry) -> None:
    for info in registry.all():
        if "list" in info.verbs:
            assert {"get", "watch"} <= set(info.verbs) <= set(ALL_VERBS)
            assert info.schema is not None or not info.is_builtin
