"""Volumes of pods whose programs run for real: ConfigMaps and Secrets as files below a folder of the pod.

Files change as with a kubelet's atomic writer: each version is a folder of its own, `..data` is a link to
the one in force, and what the program opens are links through `..data`. A reader sees one version whole.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from switchyard.sandbox.client import CONFIG_MAPS, SECRETS, ApiClient, ApiError, Json
from switchyard.sandbox.cluster.informer import version_of

_DATA = "..data"


class MountError(Exception):
    """A volume can't be set up (yet); the text goes into an event."""


class PodVolumes:
    """The volumes of one pod, each a folder below `root`."""

    def __init__(self, pod: Json, root: Path) -> None:
        self._namespace: str = pod["metadata"]["namespace"]
        self._volumes: list[Json] = [v for v in pod["spec"].get("volumes") or [] if _is_known(v)]
        self._root = root
        self._seen_versions: dict[str, int] = {}
        self._is_set_up = False

    async def set_up(self, client: ApiClient) -> None:
        """Write all volumes, unless that is done. MountError when what one refers to is not there."""
        if self._is_set_up:
            return
        for volume in self._volumes:
            folder = self._folder(volume["name"])
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for kind, source, name in ((CONFIG_MAPS, "configMap", "name"), (SECRETS, "secret", "secretName")):
                if source not in volume:
                    continue
                body: Json = {"metadata": {}}
                try:
                    body = await client.get(kind, self._namespace, volume[source][name])
                except ApiError as error:
                    if not error.is_not_found:
                        raise
                    if not volume[source].get("optional"):
                        raise MountError(
                            f'MountVolume.SetUp failed for volume "{volume["name"]}" : '
                            f'{kind.kind.lower()} "{volume[source][name]}" not found'
                        ) from error
                self._write(volume, source, body)
        self._is_set_up = True

    def refresh(self, config_map: Json) -> None:
        """Bring what shows this ConfigMap up to date; an older version than the one shown changes nothing."""
        if not self._is_set_up or config_map["metadata"].get("namespace") != self._namespace:
            return
        for volume in self._volumes:
            if (volume.get("configMap") or {}).get("name") == config_map["metadata"]["name"]:
                self._write(volume, "configMap", config_map)

    def remove(self) -> None:
        """Remove all files."""
        self._is_set_up = False
        shutil.rmtree(self._root, ignore_errors=True)

    def rewrite(self, container: Mapping[str, Any], text: str) -> str:
        """The text with paths below the container's mounts replaced by where their files really are."""
        known = {volume["name"] for volume in self._volumes}
        places: dict[str, str] = {}
        for mount in container.get("volumeMounts") or []:
            if mount["name"] in known:
                place = self._folder(mount["name"]) / mount.get("subPath", "")
                places[mount["mountPath"].rstrip("/")] = str(place)
        return rewrite_paths(text, places)

    def _folder(self, name: str) -> Path:
        return self._root / "volumes" / name

    def _write(self, volume: Json, source: str, body: Json) -> None:
        version = version_of(body)
        if version and version <= self._seen_versions.get(volume["name"], 0):
            return
        spec = volume[source]
        files = select_files(spec, _read_files(body, is_secret=source == "secret"), volume["name"])
        write_atomically(self._folder(volume["name"]), files)
        self._seen_versions[volume["name"]] = version


def _is_known(volume: Json) -> bool:
    return any(source in volume for source in ("configMap", "secret", "emptyDir"))


def _read_files(body: Json, *, is_secret: bool) -> dict[str, bytes]:
    encoded = (body.get("data") if is_secret else body.get("binaryData")) or {}
    plain = {} if is_secret else body.get("data") or {}
    try:
        files = {name: base64.b64decode(text, validate=True) for name, text in encoded.items()}
    except binascii.Error as error:
        raise MountError(f"{body['metadata'].get('name', '')} holds something that is not base64") from error
    return files | {name: text.encode() for name, text in plain.items()}


def select_files(source: Mapping[str, Any], files: Mapping[str, bytes], volume: str) -> dict[str, bytes]:
    """What the volume shows: all keys, or those that `items` names, under the paths given there.

    MountError for a key that is not there and a path that would leave the volume.
    """
    chosen: dict[str, bytes] = {}
    for item in source.get("items") or [{"key": key, "path": key} for key in files]:
        path = PurePosixPath(item["path"])
        if path.is_absolute() or not path.parts or ".." in path.parts or str(path).startswith(".."):
            raise MountError(f'volume "{volume}": {item["path"]!r} is no path within the volume')
        if item["key"] in files:
            chosen[str(path)] = files[item["key"]]
        elif not source.get("optional"):
            raise MountError(f'volume "{volume}" references non-existent config key: {item["key"]}')
    return chosen


def write_atomically(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder show these files, all at the same moment; unchanged ones keep their version."""
    data = folder / _DATA
    if data.exists() and dict(_read_tree(data)) == dict(files):
        return
    old = data.resolve() if data.is_symlink() else None
    fresh = folder / f"..{os.urandom(8).hex()}"
    for name, content in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    fresh.mkdir(exist_ok=True)
    swap = folder / f"{_DATA}_tmp"
    swap.unlink(missing_ok=True)
    swap.symlink_to(fresh.name)
    swap.replace(data)
    shown = {PurePosixPath(name).parts[0] for name in files}
    for name in shown:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in shown:
            entry.unlink()
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _read_tree(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def rewrite_paths(text: str, places: Mapping[str, str]) -> str:
    """The text with every path at or below a key replaced by the same path below the key's value.

    A path begins at the start of the text or after one of ``= : , ;``, quotes and white space, and a key
    ends at a slash or at one of these; the longest key wins, as the deepest mount does.
    """
    if not places:
        return text
    keys = "|".join(re.escape(key) for key in sorted(places, key=len, reverse=True))
    pattern = rf"""(?<![^=:,;"'\s])({keys})(?=[/=:,;"'\s]|$)"""
    return re.sub(pattern, lambda match: places[match.group(1)], text)
