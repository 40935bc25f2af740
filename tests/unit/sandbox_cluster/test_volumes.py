from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.client import ApiError, Resource
from switchyard.sandbox.cluster.volumes import (
    MountError,
    PodVolumes,
    rewrite_paths,
    select_files,
    write_atomically,
)


class FakeClient:
    """Answers with the objects it was given, 404 for all others."""

    def __init__(self, *bodies: dict) -> None:
        self._bodies = {(body["kind"], body["metadata"]["name"]): body for body in bodies}

    async def get(self, resource: Resource, _namespace: str, name: str) -> dict:
        body = self._bodies.get((resource.kind, name))
        if body is None:
            raise ApiError(404, {"reason": "NotFound"})
        return body


def config_map(version: int, namespace: str = "d", **data: str) -> dict:
    meta = {"name": "settings", "namespace": namespace, "resourceVersion": str(version)}
    return {"kind": "ConfigMap", "metadata": meta, "data": data}


def pod(*volumes: dict) -> dict:
    return {"metadata": {"name": "p", "namespace": "d"}, "spec": {"volumes": list(volumes)}}


def set_up(root: Path, volume: dict, *bodies: dict) -> PodVolumes:
    volumes = PodVolumes(pod({"name": "v", **volume}), root)
    asyncio.run(volumes.set_up(FakeClient(*bodies)))  # type: ignore[arg-type]
    return volumes


def shown(root: Path) -> dict[str, str]:
    folder = root / "volumes" / "v"
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith("..")
    }


SETTINGS = {"configMap": {"name": "settings"}}


def test_a_config_map_is_there_as_files_and_follows_its_changes(tmp_path: Path) -> None:
    volumes = set_up(tmp_path, SETTINGS, config_map(5, a="1", b="2"))
    assert shown(tmp_path) == {"a": "1", "b": "2"}
    volumes.refresh(config_map(7, a="3", c="4"))
    assert shown(tmp_path) == {"a": "3", "c": "4"}
    volumes.refresh(config_map(6, a="late news"))
    volumes.refresh(config_map(9, namespace="another", a="not ours"))
    assert shown(tmp_path) == {"a": "3", "c": "4"}
    volumes.remove()
    assert not tmp_path.exists()


def test_a_secret_is_decoded_and_items_choose_keys_and_paths(tmp_path: Path) -> None:
    secret = {
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"k": base64.b64encode(b"hidden").decode(), "other": ""},
    }
    volume = {"secret": {"secretName": "s", "items": [{"key": "k", "path": "deep/key"}]}}
    set_up(tmp_path, volume, secret)
    assert (tmp_path / "volumes/v/deep/key").read_text() == "hidden"
    assert not (tmp_path / "volumes/v/other").exists()


def test_a_missing_config_map_holds_the_pod_back_unless_it_is_optional(tmp_path: Path) -> None:
    with pytest.raises(MountError, match='configmap "settings" not found'):
        set_up(tmp_path, SETTINGS)
    set_up(tmp_path, {"configMap": {"name": "settings", "optional": True}})
    assert shown(tmp_path) == {}


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../up", "..", "..data", ""])
def test_a_path_out_of_the_volume_is_refused(path: str) -> None:
    with pytest.raises(MountError, match="no path within"):
        select_files({"items": [{"key": "k", "path": path}]}, {"k": b""}, "v")


def test_an_item_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="non-existent config key: gone"):
        set_up(
            tmp_path,
            {"configMap": {"name": "settings", "items": [{"key": "gone", "path": "x"}]}},
            config_map(1, a="1"),
        )


def test_two_files_of_one_version_are_never_seen_in_two_versions(tmp_path: Path) -> None:
    """Whoever holds the folder of `..data` open reads both files of the same version, or finds it gone."""
    write_atomically(tmp_path, {"a": b"1", "b": b"1"})
    before = (tmp_path / "..data").resolve()
    write_atomically(tmp_path, {"a": b"2", "b": b"2"})
    assert (tmp_path / "..data").resolve() != before
    assert not before.exists()
    assert {(tmp_path / name).read_bytes() for name in "ab"} == {b"2"}


def test_unchanged_content_is_not_written_again(tmp_path: Path) -> None:
    write_atomically(tmp_path, {"a": b"1"})
    before = (tmp_path / "..data").resolve()
    write_atomically(tmp_path, {"a": b"1"})
    assert (tmp_path / "..data").resolve() == before


NAMES = st.text("abc", min_size=1, max_size=3)


@given(st.lists(st.dictionaries(NAMES, st.binary(max_size=4), max_size=4), min_size=1, max_size=5))
def test_whatever_came_before_the_folder_shows_the_last_version_alone(
    tmp_path_factory: pytest.TempPathFactory, versions: list[dict[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("volume")
    for files in versions:
        write_atomically(folder, files)
    plain = [path for path in folder.iterdir() if not path.name.startswith("..")]
    assert {path.name: path.read_bytes() for path in plain} == versions[-1]
    assert len([path for path in folder.iterdir() if path.name.startswith("..")]) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/etc/router", "/p/v"),
        ("/etc/router/routing.json", "/p/v/routing.json"),
        ("--config=/etc/router/routing.json", "--config=/p/v/routing.json"),
        ("/etc/router/a:/etc/router/b", "/p/v/a:/p/v/b"),
        ("/etc/router/keys/k", "/p/keys/k"),
        ("/etc/router-two/a", "/etc/router-two/a"),
        ("/usr/etc/router/a", "/usr/etc/router/a"),
        ("http://host/etc/router/a", "http://host/etc/router/a"),
        ("nothing of it", "nothing of it"),
    ],
)
def test_only_paths_below_a_mount_are_rewritten(text: str, expected: str) -> None:
    assert rewrite_paths(text, {"/etc/router": "/p/v", "/etc/router/keys": "/p/keys"}) == expected


def test_mounts_of_volumes_that_have_no_files_here_stay_as_they_are(tmp_path: Path) -> None:
    volumes = set_up(tmp_path, SETTINGS, config_map(1, a="1"))
    mounts = [
        {"name": "v", "mountPath": "/etc/app/"},
        {"name": "disk", "mountPath": "/data"},
        {"name": "v", "mountPath": "/etc/one", "subPath": "a"},
    ]
    rewrite: Callable[[str], Any] = lambda text: volumes.rewrite({"volumeMounts": mounts}, text)  # noqa: E731
    assert rewrite("/etc/app/a") == f"{tmp_path}/volumes/v/a"
    assert Path(rewrite("/etc/one")).read_text() == "1"
    assert rewrite("/data/a") == "/data/a"
