"""What pods can do beyond being stored: be bound to a node, be evicted, show their log."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import aiohttp
import orjson
from aiohttp import web

from switchyard.sandbox.apiserver import deletion
from switchyard.sandbox.apiserver.backend import Backend, Place, WriteOptions
from switchyard.sandbox.apiserver.decoding import decode_body
from switchyard.sandbox.apiserver.errors import (
    ApiError,
    FieldError,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    not_found,
    too_many_requests,
)
from switchyard.sandbox.apiserver.paths import Target
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.selectors import from_label_selector
from switchyard.sandbox.apiserver.writes import update

SUBRESOURCES = frozenset({"binding", "eviction", "log"})
_LOG_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)


async def handle(
    backend: Backend, request: web.Request, info: ResourceInfo, target: Target
) -> web.StreamResponse:
    """The answer for a pod's binding, eviction or log. Raises ApiError."""
    place = Place(info, target.namespace, target.name, target.subresource)
    if target.subresource == "log":
        if request.method != "GET":
            raise method_not_allowed(info)
        return await _log(backend, request, place)
    if request.method != "POST":
        raise method_not_allowed(info)
    raw = await request.read()
    body = decode_body(raw, request.headers.get("Content-Type", ""), backend.surface.decode_protobuf)
    is_dry_run = request.query.get("dryRun") == "All" or bool(body.get("dryRun"))
    options = WriteOptions(user=request["user"], field_validation="Ignore", is_dry_run=is_dry_run)
    if target.subresource == "binding":
        status = bind(backend, place, body, options)
    else:
        status = evict(backend, place, body, options)
    return web.Response(body=orjson.dumps(status), status=201, content_type="application/json")


def bind(backend: Backend, place: Place, binding: Json, options: WriteOptions) -> Json:
    """The Status of a pod bound to a node. Raises 404, 409 or 422."""
    node = (binding.get("target") or {}).get("name")
    if not node:
        wrong = FieldError("FieldValueRequired", "target.name", "")
        raise invalid(_kind(place.info, "Binding"), place.name, [wrong])
    pod = backend.required(place).obj
    binding_of = dataclasses.replace(place.info, plural="pods/binding")
    bound_to = (pod.get("spec") or {}).get("nodeName")
    if pod["metadata"].get("deletionTimestamp"):
        raise conflict(
            binding_of, place.name, f"pod {place.name} is being deleted, cannot be assigned to a host"
        )
    if bound_to:
        raise conflict(binding_of, place.name, f'pod {place.name} is already assigned to node "{bound_to}"')

    def change(obj: Json) -> Json:
        obj["spec"]["nodeName"] = node
        metadata = binding.get("metadata") or {}
        for key in ("labels", "annotations"):
            if metadata.get(key):
                obj["metadata"][key] = {**(obj["metadata"].get(key) or {}), **metadata[key]}
        conditions = [c for c in obj["status"].get("conditions") or [] if c["type"] != "PodScheduled"]
        conditions.append(
            {
                "type": "PodScheduled",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": backend.timestamp(),
            }
        )
        obj["status"]["conditions"] = conditions
        return obj

    update(backend, place, change, options, records_fields=False)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def evict(backend: Backend, place: Place, eviction: Json, options: WriteOptions) -> Json:
    """The Status of an eviction that the disruption budgets allow. Raises 429 where they do not."""
    pod = backend.required(place).obj
    delete_options = eviction.get("deleteOptions") or {}
    deletion.check_preconditions(place.info, pod, delete_options.get("preconditions") or {})
    budget = None
    if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed", "Pending"):
        budget = _budget_of(backend, pod)
    if budget is not None:
        _take_disruption(backend, budget, place.name, options)
    deletion.delete(backend, place, delete_options, is_dry_run=options.is_dry_run)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _budget_of(backend: Backend, pod: Json) -> Json | None:
    budgets_info = backend.registry.lookup("policy", "v1", "poddisruptionbudgets")
    if budgets_info is None:
        return None
    labels = pod["metadata"].get("labels") or {}
    found = []
    for budget in backend.store.list(budgets_info, pod["metadata"]["namespace"]):
        selector = (budget.get("spec") or {}).get("selector")
        if selector is not None and all(term.matches(labels) for term in from_label_selector(selector)):
            found.append(budget)
    if len(found) > 1:
        raise ApiError(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not "
            "support.",
        )
    return found[0] if found else None


def _take_disruption(backend: Backend, budget: Json, pod_name: str, options: WriteOptions) -> None:
    status = budget.get("status") or {}
    name = budget["metadata"]["name"]
    is_observed = status.get("observedGeneration", 0) >= budget["metadata"].get("generation", 0)
    if not is_observed or status.get("disruptionsAllowed", 0) <= 0:
        cause = {
            "reason": "DisruptionBudget",
            "message": f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently",
        }
        raise too_many_requests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            0 if is_observed else 10,
            [cause],
        )
    if options.is_dry_run:
        return
    info = backend.builtin("policy", "v1", "poddisruptionbudgets")

    def change(obj: Json) -> Json:
        obj["status"]["disruptionsAllowed"] -= 1
        obj["status"].setdefault("disruptedPods", {})[pod_name] = backend.timestamp()
        return obj

    update(backend, Place(info, budget["metadata"]["namespace"], name, "status"), change, options)


async def _log(backend: Backend, request: web.Request, place: Place) -> web.StreamResponse:
    """Passes on what the agent of the pod's node says, as kube-apiserver asks a kubelet."""
    pod = backend.required(place).obj
    container = _container(pod, request.query.get("container", ""))
    node_name = (pod.get("spec") or {}).get("nodeName")
    if not node_name:
        return web.Response(text="")
    node = backend.store.get(backend.builtin("", "v1", "nodes"), "", node_name)
    if node is None:
        raise not_found(place.info, node_name)  # a real server, too, calls the node a pod here
    address, port = _agent_of(node)
    if not address or not port:
        raise ApiError(500, "InternalError", f"no agent answers for node {node_name}")
    query = {key: value for key, value in request.query.items() if key != "container"}
    url = f"http://{address}:{port}/containerLogs/{place.namespace}/{place.name}/{container}"
    return await _pass_on(request, url, query)


async def _pass_on(request: web.Request, url: str, query: Mapping[str, str]) -> web.StreamResponse:
    try:
        async with (
            aiohttp.ClientSession(timeout=_LOG_TIMEOUT, trust_env=False) as session,
            session.get(url, params=query) as answer,
        ):
            if answer.status != 200:
                text = (await answer.text()).strip()
                code = answer.status if answer.status in (400, 404) else 500
                raise ApiError(code, {400: "BadRequest", 404: "NotFound"}.get(code, "InternalError"), text)
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except (TimeoutError, aiohttp.ClientConnectionError) as error:
        raise ApiError(500, "InternalError", f"the node's agent does not answer: {error}") from error


def _container(pod: Json, wanted: str) -> str:
    name = pod["metadata"]["name"]
    spec = pod.get("spec") or {}
    names = [c["name"] for c in spec.get("containers") or ()]
    every = names + [c["name"] for c in spec.get("initContainers") or ()]
    if wanted:
        if wanted not in every:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(every) == 1:
        return str(every[0])
    choices = f"[{' '.join(names)}]"
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: {choices}")


def _agent_of(node: Json) -> tuple[str, int]:
    status = node.get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port", 0)
    by_type = {a["type"]: a["address"] for a in status.get("addresses") or ()}
    return by_type.get("InternalIP") or by_type.get("Hostname") or "", int(port)


def _kind(info: ResourceInfo, kind: str) -> ResourceInfo:
    return ResourceInfo(info.group, info.version, info.plural, "", kind, "", namespaced=True)
