"""The chart's life in a cluster, by real Helm: install, upgrade, rollback, uninstall, install again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import helm_python
import pytest
import yaml
from e2e.providers import Cluster, PlainHttp
from e2e.providers.fixtures import cluster_fixture
from e2e.providers.plain_http import poll

CHART = Path(__file__).parents[2] / "charts" / "switchyard"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMES = tuple(
    f"{plural}.switchyard.dev" for plural in ("acceleratorpools", "cutoverplans", "inferenceworkloads")
)

cluster = cluster_fixture(has_fleet=False, scope="module")


class Release:
    """One release in a namespace of its own, labelled as the strictest clusters label theirs."""

    name = "switchyard"

    def __init__(self, cluster: Cluster) -> None:
        self.namespace = f"helm-{uuid.uuid4().hex[:8]}"
        self.http: PlainHttp = cluster.http
        self.helm = helm_python.Config(kubeconfig_path=cluster.kubeconfig, namespace=self.namespace)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": self.namespace, "labels": labels}
        self.http.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def install(self, values: dict | None = None) -> dict:
        return self.helm.install(CHART, self.name, values, namespace=self.namespace)

    def upgrade(self, values: dict | None = None) -> dict:
        return self.helm.upgrade(CHART, self.name, values, namespace=self.namespace)

    def deployment(self) -> dict | None:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.name}"
        answer = self.http.get(path)
        return answer.body if answer.code == 200 else None

    def status(self) -> str:
        return self.helm.status(self.name)["status"]


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    made = Release(cluster)
    yield made
    made.helm.uninstall(made.name, ignore_not_found=True)
    made.helm.close()
    cluster.http.delete(f"/api/v1/namespaces/{made.namespace}")
    for name in NAMES:
        cluster.http.delete(f"{CRDS}/{name}")
        poll(lambda name=name: cluster.http.get(f"{CRDS}/{name}").code, lambda code: code == 404)


def _stored(http: PlainHttp, document: dict) -> int:
    """The status code of a rendered object's own path."""
    group, _, version = document["apiVersion"].rpartition("/")
    plurals = {"ClusterRole": "clusterroles", "NetworkPolicy": "networkpolicies"}
    plural = plurals.get(document["kind"], document["kind"].lower() + "s")
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    namespace = document["metadata"].get("namespace")
    middle = f"/namespaces/{namespace}" if namespace else ""
    return http.get(f"{root}{middle}/{plural}/{document['metadata']['name']}").code


def test_install_creates_everything_and_uninstall_keeps_only_the_definitions(release: Release) -> None:
    manifest = release.install()["manifest"]
    documents = [document for document in yaml.safe_load_all(manifest) if document]
    kinds = {document["kind"] for document in documents}
    assert kinds >= {"Deployment", "ServiceAccount", "ClusterRole", "Role", "Service", "ConfigMap"}
    assert {_stored(release.http, document) for document in documents} == {200}
    assert release.status() == "deployed"
    release.helm.uninstall(release.name)
    kept = {document["kind"] for document in documents if _stored(release.http, document) == 200}
    assert kept == {"CustomResourceDefinition"}


def test_definitions_are_established_and_kept_objects_survive_a_reinstall(release: Release) -> None:
    release.install()
    pool = {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "AcceleratorPool",
        "metadata": {"name": release.namespace},
        "spec": {
            "accelerator": "nvidia-l4",
            "nodeSelector": {"suite": "none"},
            "cost": {"devicePerHour": "0.80"},
        },
    }
    pools = "/apis/switchyard.dev/v1alpha1/acceleratorpools"
    made = poll(lambda: release.http.post(pools, pool), lambda answer: answer.code != 404)
    assert made.code == 201, made.text
    release.helm.uninstall(release.name)
    assert (
        release.http.get(f"{pools}/{release.namespace}").body["metadata"]["uid"]
        == made.body["metadata"]["uid"]
    )
    release.install()
    assert (
        release.http.get(f"{pools}/{release.namespace}").body["metadata"]["uid"]
        == made.body["metadata"]["uid"]
    )
    release.http.delete(f"{pools}/{release.namespace}")


def test_upgrade_changes_what_changed_and_rollback_takes_it_back(release: Release) -> None:
    release.install()
    first = release.deployment()
    release.upgrade({"replicaCount": 2, "settings": {"currency": "EUR"}})
    second = release.deployment()
    assert (first["spec"]["replicas"], second["spec"]["replicas"]) == (1, 2)
    checksum = "checksum/settings"
    template = second["spec"]["template"]["metadata"]["annotations"]
    assert template[checksum] != first["spec"]["template"]["metadata"]["annotations"][checksum]
    release.helm.rollback(release.name, version=1)
    assert release.deployment()["spec"] == first["spec"]
    assert [entry["revision"] for entry in release.helm.history(release.name)] == [1, 2, 3]


def test_an_upgrade_without_changes_changes_no_object(release: Release) -> None:
    release.install()
    before = release.deployment()
    release.upgrade()
    after = release.deployment()
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["spec"] == before["spec"]


def test_an_upgrade_keeps_the_definitions_in_place(release: Release) -> None:
    release.install()
    before = release.http.get(f"{CRDS}/{NAMES[0]}").body
    release.upgrade({"crds": {"keep": False}})
    after = release.http.get(f"{CRDS}/{NAMES[0]}").body
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]


def test_uninstall_takes_the_definitions_along_when_told_to(release: Release) -> None:
    release.install({"crds": {"keep": False}})
    release.helm.uninstall(release.name)
    gone = poll(lambda: release.http.get(f"{CRDS}/{NAMES[0]}").code, lambda code: code == 404)
    assert gone == 404


def test_a_second_release_of_the_definitions_is_refused_with_the_way_out(
    cluster: Cluster, release: Release
) -> None:
    release.install()
    other = Release(cluster)
    try:
        with pytest.raises(helm_python.HelmError, match=release.namespace):
            other.install()
        assert other.install({"crds": {"install": False}})["manifest"]
    finally:
        other.helm.uninstall(other.name, ignore_not_found=True)
        other.helm.close()
        cluster.http.delete(f"/api/v1/namespaces/{other.namespace}")


def test_the_operators_pod_is_created_in_a_restricted_namespace(release: Release) -> None:
    """Admission would refuse the ReplicaSet's pods, and the Deployment would say ReplicaFailure."""
    release.install()
    pods = f"/api/v1/namespaces/{release.namespace}/pods"
    made = poll(lambda: release.http.get(pods).body["items"], bool)
    assert [pod["spec"]["serviceAccountName"] for pod in made] == ["switchyard"]


def test_wrong_values_change_nothing(release: Release) -> None:
    with pytest.raises(helm_python.HelmError, match="replicaCount"):
        release.install({"replicaCount": "many"})
    assert release.deployment() is None
    assert release.helm.list() == []


def test_policies_for_routers_stand_in_the_namespaces_of_workloads_and_go_with_the_release(
    release: Release,
) -> None:
    guarded = {"enabled": True, "routers": {"namespaces": ["default"]}}
    documents = yaml.safe_load_all(release.install({"networkPolicy": guarded})["manifest"])
    policies = [document for document in documents if document and document["kind"] == "NetworkPolicy"]
    places = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in policies}
    assert places == {(release.namespace, "switchyard"), ("default", "switchyard-routers")}
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/switchyard-routers"
    stored = release.http.get(path).body["spec"]
    (declared,) = [each["spec"] for each in policies if each["metadata"]["namespace"] == "default"]
    assert stored == declared
    release.helm.uninstall(release.name)
    assert release.http.get(path).code == 404
