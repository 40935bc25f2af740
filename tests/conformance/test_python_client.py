"""The official Python client: typed and dynamic, lists, watches and leases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e.providers import Cluster
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from tests.conformance.widgets import GROUP, widget


@pytest.fixture
def api(cluster: Cluster) -> Iterator[client.ApiClient]:
    configuration = client.Configuration()
    config.load_kube_config(str(cluster.kubeconfig), client_configuration=configuration)
    configuration.proxy = None
    with client.ApiClient(configuration) as made:
        yield made


@pytest.fixture
def custom(api) -> client.CustomObjectsApi:
    return client.CustomObjectsApi(api)


def _key(namespace: str) -> dict[str, str]:
    return {"group": GROUP, "version": "v1", "namespace": namespace, "plural": "widgets"}


def test_typed_objects_come_back_as_they_were_sent(api, namespace) -> None:
    core = client.CoreV1Api(api)
    service = client.V1Service(
        metadata=client.V1ObjectMeta(name="s", labels={"a": "b"}),
        spec=client.V1ServiceSpec(selector={"app": "x"}, ports=[client.V1ServicePort(port=80)]),
    )
    made = core.create_namespaced_service(namespace, service)
    assert made.spec.cluster_ip
    assert made.spec.ports[0].target_port == 80
    assert core.read_namespaced_service("s", namespace).metadata.uid == made.metadata.uid


def test_errors_carry_the_status_of_the_server(custom, widgets, namespace) -> None:
    del widgets
    with pytest.raises(ApiException) as raised:
        custom.get_namespaced_custom_object(**_key(namespace), name="nope")
    assert raised.value.status == 404
    assert '"reason":"NotFound"' in raised.value.body.replace(": ", ":").replace("\\", "")


def test_custom_objects_are_created_patched_and_listed(custom, widgets, namespace) -> None:
    del widgets
    custom.create_namespaced_custom_object(**_key(namespace), body=widget("a"))
    custom.patch_namespaced_custom_object(**_key(namespace), name="a", body={"spec": {"size": 6}})
    custom.patch_namespaced_custom_object_status(
        **_key(namespace), name="a", body={"status": {"phase": "Up"}}
    )
    (item,) = custom.list_namespaced_custom_object(**_key(namespace))["items"]
    assert (item["spec"]["size"], item["status"]["phase"]) == (6, "Up")


def test_the_watch_helper_streams_and_resumes(custom, widgets, namespace) -> None:
    del widgets
    for name in ("a", "b"):
        custom.create_namespaced_custom_object(**_key(namespace), body=widget(name))
    stream = watch.Watch()
    seen = []
    for event in stream.stream(custom.list_namespaced_custom_object, **_key(namespace), timeout_seconds=10):
        seen.append((event["type"], event["object"]["metadata"]["name"]))
        if len(seen) == 2:
            stream.stop()
    assert sorted(seen) == [("ADDED", "a"), ("ADDED", "b")]


def test_the_dynamic_client_discovers_and_applies(api, widgets, namespace) -> None:
    del widgets
    kinds = dynamic.DynamicClient(api).resources.get(api_version=f"{GROUP}/v1", kind="Widget")
    kinds.server_side_apply(body=widget("a"), namespace=namespace, field_manager="suite")
    assert kinds.get(name="a", namespace=namespace).spec.colour == "red"


def test_a_lease_is_renewed_with_the_version_read(api, namespace) -> None:
    leases = client.CoordinationV1Api(api)
    spec = client.V1LeaseSpec(holder_identity="me", lease_duration_seconds=15)
    made = leases.create_namespaced_lease(
        namespace, client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=spec)
    )
    made.spec.holder_identity = "you"
    assert leases.replace_namespaced_lease("l", namespace, made).spec.holder_identity == "you"
    with pytest.raises(ApiException) as raised:
        leases.replace_namespaced_lease("l", namespace, made)
    assert raised.value.status == 409
