"""A surface without access control or discovery: enough for tests of storage and HTTP semantics."""

from switchyard.sandbox.apiserver.builtins.defaults import default_object
from switchyard.sandbox.apiserver.builtins.kinds import builtin_resources
from switchyard.sandbox.apiserver.builtins.validation import validate_object
from switchyard.sandbox.apiserver.hooks import ADMIN, Verdict


class PlainSurface:
    def __init__(self, registry, objects, options):
        self.registry = registry
        self.objects = objects
        self.options = options

    def builtin_resources(self):
        return builtin_resources()

    def bootstrap_objects(self):
        info = self.registry.lookup("", "v1", "namespaces")
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
        yield info, {**namespace, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}

    def default_builtin(self, info, obj):
        default_object(info, obj)

    def prepare_builtin(self, info, new, old, subresource, user):
        if old is None and info.kind == "Namespace":
            new["spec"] = {"finalizers": ["kubernetes"]}
            new["status"] = {"phase": "Active"}
        if old is None and info.kind == "Pod":
            new["status"] = {"phase": "Pending"}

    def validate_builtin(self, info, new, old, subresource):
        return validate_object(info, new, old, subresource)

    def admit(self, info, new, old, subresource, user):
        pass

    def table(self, info, objects, list_metadata, include_object, *, headers):
        rows = [{"cells": [obj["metadata"]["name"]], "object": None} for obj in objects]
        return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_metadata, "rows": rows}

    def authenticate(self, headers):
        return ADMIN

    def authorize(self, user, attributes):
        return Verdict(is_allowed=True)

    def decode_protobuf(self, body):
        raise ValueError("not here")

    def routes(self):
        return ()

    async def fault(self, request, attributes):
        return None

    def spoil_event(self, info):
        return False

    def serve_stale(self, info):
        return None


def plain_surface(registry, objects, options):
    return PlainSurface(registry, objects, options)
