"""Objects kept in a file: an append-only log of writes, one JSON line each, at times replaced by a snapshot.

A line is written before anyone is told of the write, so what a client was told survives `kill -9`. Whether
it also survives a power cut is the fsync policy's: `always` (each write), `interval` (at most a second is
lost) or `never` (the system decides). A torn last line, as a crash leaves it, is cut off on load; a broken
line before others is an error, for then the file is not ours to guess at, and so is a first line that no
snapshot begins with, for then the file is somebody else's. A store has its file for itself, by a lock, and
only its owner may read it: there are Secrets in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Literal

import orjson

from switchyard.sandbox.apiserver.resources import Json
from switchyard.sandbox.apiserver.store import Event, ShelfKey, Store

FsyncPolicy = Literal["always", "interval", "never"]
_FSYNC_SECONDS = 1.0
_REWRITE_BYTES = 64 * 1024 * 1024  # and at least four times the snapshot


class JournalError(Exception):
    """The file cannot be used; the text names it and says what to do."""


class BrokenJournalError(JournalError):
    """The file has a line that cannot be read and is no torn end."""


class Journal:
    """The file of one store."""

    def __init__(self, path: Path, fsync: FsyncPolicy = "interval") -> None:
        self.path = path
        self._fsync = fsync
        self._file = -1
        self._synced_at = 0.0
        self._size = 0
        self._snapshot_size = 0
        self._store: Store | None = None

    def load_into(self, store: Store) -> None:
        """Fills an empty store from the file and opens the file for writing. Raises JournalError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_locked(self.path)
            version, objects = _read(self.path)
            store.restore(version, iter([(key[0], obj) for key, obj in objects.items()]))
            self._store = store
            self._rewrite()
        except OSError as error:
            raise JournalError(f"can't keep objects in {self.path}: {error.strerror}") from error

    def record(self, shelf_key: ShelfKey, event: Event) -> None:
        """Writes one event."""
        group, plural = shelf_key
        head = orjson.dumps([event.version, group, plural, *event.key])
        body = b"null" if event.type == "DELETED" else event.current.raw
        self._write(b'{"at":' + head + b',"object":' + body + b"}\n")
        if self._size > max(_REWRITE_BYTES, 4 * self._snapshot_size) and self._store is not None:
            self._rewrite()

    def close(self) -> None:
        """Brings everything to disk and closes the file."""
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._size += len(line)
        now = time.monotonic()
        if self._fsync == "always" or (self._fsync == "interval" and now - self._synced_at > _FSYNC_SECONDS):
            os.fsync(self._file)
            self._synced_at = now

    def _rewrite(self) -> None:
        """Replaces the file by the state of the store."""
        assert self._store is not None  # noqa: S101 load_into comes first
        temporary = self.path.with_name(self.path.name + ".new")
        temporary.unlink(missing_ok=True)
        fresh = _open_locked(temporary)
        with os.fdopen(fresh, "wb", closefd=False) as out:
            out.write(
                orjson.dumps({"at": [self._store.resource_version, "", "", "", ""], "object": None}) + b"\n"
            )
            for (group, plural), stored in self._store.everything():
                metadata = stored.obj["metadata"]
                head = orjson.dumps(
                    [stored.version, group, plural, metadata.get("namespace", ""), metadata["name"]]
                )
                out.write(b'{"at":' + head + b',"object":' + stored.raw + b"}\n")
        os.fsync(fresh)
        temporary.replace(self.path)
        os.close(self._file)
        self._file = fresh
        with contextlib.suppress(OSError):
            directory = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
        self._size = self._snapshot_size = self.path.stat().st_size


def _open_locked(path: Path) -> int:
    """The file for appending, made where there is none. JournalError when another process has it."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise JournalError(
            f"{path} is in use by another API server: end that one or keep another file"
        ) from error
    return file


def _read(path: Path) -> tuple[int, dict[tuple[ShelfKey, str, str], Json]]:
    """The latest version and the objects in a file; a torn tail is left out."""
    version = 0
    objects: dict[tuple[ShelfKey, str, str], Json] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line_version, group, plural, namespace, name, obj = _parse(line, is_first=number == 1)
            except (ValueError, KeyError, TypeError) as error:
                if number > 1 and not lines.read(1):
                    break
                raise BrokenJournalError(
                    f"{path}:{number}: this is no line of an API server's objects ({error}): repair the file "
                    "or move it away"
                ) from error
            version = max(version, line_version)
            key = ((group, plural), namespace, name)
            if obj is None:
                objects.pop(key, None)
            else:
                objects[key] = obj
    return version, objects


def _parse(line: bytes, *, is_first: bool) -> tuple[int, str, str, str, str, Json | None]:
    """Version, group, plural, namespace, name and object of a line. ValueError, KeyError or TypeError."""
    value = orjson.loads(line)
    version, group, plural, namespace, name = value["at"]
    if is_first and plural:
        raise ValueError("no snapshot begins so")
    obj: Json | None = value["object"]
    if obj is not None:
        int(obj["metadata"]["resourceVersion"])
    return int(version), group, plural, namespace, name, obj
