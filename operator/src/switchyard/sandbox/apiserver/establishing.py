"""CustomResourceDefinitions followed: what they bring is served, said in their status, and cleaned up after.

created → served, status NamesAccepted and Established
deleted → its objects are deleted; with the last of them the definition goes (finalizer customresourcecleanup)
"""

from __future__ import annotations

import asyncio
import logging

from switchyard.sandbox.apiserver import definitions, deletion
from switchyard.sandbox.apiserver.backend import Backend, Place
from switchyard.sandbox.apiserver.definitions import DEFINITIONS, FINALIZER
from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.managed import Change, record_update
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.store import Event, ShelfKey

_log = logging.getLogger(__name__)
_MANAGER = "kube-apiserver"


class Definitions:
    """Keeps a server's registry in step with its definitions."""

    def __init__(self, backend: Backend, info: ResourceInfo) -> None:
        self._backend = backend
        self._info = info
        self._leaving: dict[ShelfKey, str] = {}  # resources whose definition waits for them to be empty

    def start(self) -> None:
        """Serves what is stored already, and follows from here on."""
        for definition in self._backend.store.list(self._info):
            definitions.register(self._backend.registry, definition)
            self._look(definition)
        self._backend.store.on_write(self._follow)

    def _follow(self, shelf_key: ShelfKey, event: Event) -> None:
        if shelf_key == DEFINITIONS:
            definition = event.current.obj
            if event.type == "DELETED":
                key = _key_of(definition)
                self._leaving.pop(key, None)
                self._backend.registry.replace_custom(*key, [])
                return
            if event.previous is None or event.previous.obj["spec"] != definition["spec"]:
                definitions.register(self._backend.registry, definition)
            self._look(definition)
        elif event.type == "DELETED" and shelf_key in self._leaving:
            self._later(self._leaving[shelf_key])

    def _look(self, definition: Json) -> None:
        status = definition.get("status") or {}
        is_established = any(
            condition["type"] == "Established" and condition["status"] == "True"
            for condition in status.get("conditions") or ()
        )
        is_leaving = bool(definition["metadata"].get("deletionTimestamp"))
        wanted_names = definition["spec"]["names"]
        if is_leaving or not is_established or status.get("acceptedNames") != wanted_names:
            self._later(definition["metadata"]["name"])

    def _later(self, name: str) -> None:
        """Writes follow the write that caused them, as those of a controller would."""
        asyncio.get_running_loop().call_soon(self._settle, name)

    def _settle(self, name: str) -> None:
        definition = self._backend.store.get(self._info, "", name)
        if definition is None:
            return
        try:
            if definition["metadata"].get("deletionTimestamp"):
                self._clean_up(definition)
            else:
                self._establish(definition)
        except Exception:  # noqa: BLE001 a definition that cannot be followed must not stop the others
            _log.exception("CustomResourceDefinition %s cannot be followed", name)

    def _establish(self, definition: Json) -> None:
        status = definitions.established_status(definition, self._backend.timestamp())
        if status != definition.get("status"):
            new = self._copy(definition)
            new["status"] = status
            record_update(self._info, definition, new, Change(_MANAGER, "status", self._backend.timestamp()))
            self._backend.store.put(DEFINITIONS, new)

    def _clean_up(self, definition: Json) -> None:
        key = _key_of(definition)
        self._leaving[key] = definition["metadata"]["name"]
        infos = definitions.infos_of(definition)
        left = self._backend.store.list(infos[0]) if infos else []
        for obj in left:
            metadata = obj["metadata"]
            if metadata.get("deletionTimestamp"):
                continue
            try:
                place = Place(infos[0], metadata.get("namespace", ""), metadata["name"])
                deletion.delete(self._backend, place, {})
            except ApiError as error:
                _log.warning("%s %s stays: %s", infos[0].kind, metadata["name"], error)
        if infos and self._backend.store.list(infos[0]):
            return
        current = self._backend.store.get(self._info, "", definition["metadata"]["name"])
        if current is None:
            return
        new = self._copy(current)
        kept = [name for name in new["metadata"].get("finalizers") or [] if name != FINALIZER]
        new["metadata"]["finalizers"] = kept
        if kept:
            self._backend.store.put(DEFINITIONS, new)
        else:
            new["metadata"].pop("finalizers")
            self._backend.store.remove(DEFINITIONS, ("", new["metadata"]["name"]), new)

    def _copy(self, definition: Json) -> Json:
        return self._backend.required(Place(self._info, name=definition["metadata"]["name"])).copy()


def _key_of(definition: Json) -> ShelfKey:
    return (definition["spec"]["group"], definition["spec"]["names"]["plural"])
