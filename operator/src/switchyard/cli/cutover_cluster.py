"""The API server as the `cutover` commands need it: a small port, and its one real side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from switchyard.adapters.connection import Answer, Connection, NoCluster, connect
from switchyard.adapters.resources import EVENTS, PLANS, POOLS, WORKLOADS, Resource
from switchyard.cli.cutover_plan import CutoverError
from switchyard.engine.ports import Failed

FIELD_MANAGER = "kubectl-switchyard"
_JSON_PATCH = "application/json-patch+json"
_PAGE = 500

Body = dict[str, Any]


class Unreachable(CutoverError):  # noqa: N818 - reads as what is wrong
    """The API server gave no answer, or says that it can't now; asking again may help."""


class Outdated(CutoverError):  # noqa: N818 - reads as what is wrong
    """The object was not changed, perhaps because somebody else changed it in between."""


class Cluster(Protocol):
    """Objects read and written with the rights of whoever asks. All raise CutoverError."""

    @property
    def default_namespace(self) -> str:
        """The namespace of the context."""

    def read(self, resource: Resource, namespace: str, name: str) -> Body | None:
        """The object; None when there is none."""

    def list_all(
        self, resource: Resource, namespace: str, query: Mapping[str, str] | None = None
    ) -> list[Body]:
        """All objects of a kind, in one namespace or (when empty) in all."""

    def create(self, resource: Resource, namespace: str, body: Body) -> Body:
        """The object as it was stored."""

    def patch(self, resource: Resource, namespace: str, name: str, patch: list[Body]) -> Body:
        """The object after a JSON patch. Raises Outdated when it was refused as it is."""


class ApiServer:
    """Cluster, over a connection."""

    def __init__(self, connection: Connection, runner: asyncio.Runner) -> None:
        self._connection = connection
        self._runner = runner

    @property
    def default_namespace(self) -> str:
        return self._connection.default_namespace

    def read(self, resource: Resource, namespace: str, name: str) -> Body | None:
        answer = self._ask("GET", resource.path(namespace, name))
        if answer.status == 404:
            if not _is_object_missing(answer):
                raise CutoverError(_unknown_kind(resource))
            return None
        return self._body(answer, f"{resource.kind} {name}: can't be read")

    def list_all(
        self, resource: Resource, namespace: str, query: Mapping[str, str] | None = None
    ) -> list[Body]:
        items: list[Body] = []
        asked = {"limit": str(_PAGE), **(query or {})}
        while True:
            answer = self._ask("GET", resource.path(namespace), query=asked)
            if answer.status == 404:
                raise CutoverError(_unknown_kind(resource))
            body = self._body(answer, f"{resource.plural} can't be listed")
            items += body.get("items") or []
            token = (body.get("metadata") or {}).get("continue")
            if not token:
                return items
            asked["continue"] = token

    def create(self, resource: Resource, namespace: str, body: Body) -> Body:
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        answer = self._ask("POST", resource.path(namespace), query=query, body=body)
        if answer.status == 404 and not _is_object_missing(answer):
            raise CutoverError(_unknown_kind(resource))
        return self._body(answer, f"{resource.kind} {body['metadata']['name']}: not created")

    def patch(self, resource: Resource, namespace: str, name: str, patch: list[Body]) -> Body:
        answer = self._ask(
            "PATCH",
            resource.path(namespace, name),
            query={"fieldManager": FIELD_MANAGER},
            body=patch,
            content_type=_JSON_PATCH,
        )
        told = f"{resource.kind} {name}: not changed"
        if answer.status in {409, 422}:
            raise Outdated(f"{told}: {answer.message}")
        return self._body(answer, told)

    def _ask(self, method: str, path: str, **options: Any) -> Answer:
        answer = self._runner.run(self._connection.request(method, path, **options))
        if isinstance(answer, Failed):
            raise Unreachable(f"the API server does not answer: {answer.message}")
        return answer

    @staticmethod
    def _body(answer: Answer, told: str) -> Body:
        if answer.is_success:
            return dict(answer.body)
        if answer.status == 429 or answer.status >= 500:
            raise Unreachable(f"{told} now: {answer.message}")
        raise CutoverError(f"{told}: {answer.message}")


@contextmanager
def reach_cluster(kubeconfig: str | None, context: str | None) -> Iterator[Cluster]:
    """The cluster that the kubeconfig names. Raises CutoverError."""
    with asyncio.Runner() as runner:
        try:
            connection = runner.run(connect(kubeconfig, context))
        except NoCluster as error:
            raise CutoverError(str(error)) from None
        try:
            yield ApiServer(connection, runner)
        finally:
            runner.run(connection.close())


def find_plan(cluster: Cluster, namespace: str, name: str) -> Body:
    """The plan. Raises CutoverError that names those there are."""
    body = cluster.read(PLANS, namespace, name)
    if body is not None:
        return body
    raise _missing(cluster, PLANS, namespace, name, "none yet: `kubectl switchyard cutover create`")


def find_workload(cluster: Cluster, namespace: str, name: str) -> Body:
    """The workload. Raises CutoverError that names those there are."""
    body = cluster.read(WORKLOADS, namespace, name)
    if body is not None:
        return body
    raise _missing(cluster, WORKLOADS, namespace, name, "none at all")


def list_pools(cluster: Cluster) -> list[str] | None:
    """Names of all pools; None without the right to list them."""
    try:
        return sorted(each["metadata"]["name"] for each in cluster.list_all(POOLS, ""))
    except Unreachable:
        raise
    except CutoverError:
        return None


def list_events(cluster: Cluster, namespace: str, uid: str) -> list[Body]:
    """Events about the object with that uid, oldest first."""
    found = cluster.list_all(EVENTS, namespace, {"fieldSelector": f"involvedObject.uid={uid}"})
    ours = [each for each in found if (each.get("involvedObject") or {}).get("uid") == uid]
    return sorted(ours, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""))


def _missing(cluster: Cluster, resource: Resource, namespace: str, name: str, none: str) -> CutoverError:
    from switchyard.cli.manifest_checks import suggest

    told = f"{resource.kind} {name!r} is not in namespace {namespace}"
    try:
        names = sorted(each["metadata"]["name"] for each in cluster.list_all(resource, namespace))
    except CutoverError as error:
        return CutoverError(f"{told}; which there are is not known: {error}")
    return CutoverError(f"{told}{suggest(name, names)}; there are: {', '.join(names) or none}")


def _unknown_kind(resource: Resource) -> str:
    return f"the cluster knows no {resource.plural}: install Switchyard's CRDs first"


def _is_object_missing(answer: Answer) -> bool:
    """True when the object (or its namespace) is missing, not the whole kind: then details name it."""
    return bool((answer.body.get("details") or {}).get("name"))
