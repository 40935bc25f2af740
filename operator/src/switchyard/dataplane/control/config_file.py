"""The routing document in a file that somebody else writes: read whole each second, compared by content.

Times and inodes say little there: a kubelet swaps a symbolic link for the directory of a mounted ConfigMap,
and the file may be absent for a moment, or half written where an editor wrote it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from pathlib import Path

from switchyard.dataplane.control.config import FILE, MAX_DOCUMENT_BYTES, ConfigHolder, Outcome

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


async def watch_file(holder: ConfigHolder, path: Path, look_seconds: float = LOOK_SECONDS) -> None:
    """Give the holder each new content of the file, until cancelled.

    A file that can't be read, and a document that a worker has not confirmed, are tried again at each look.
    """
    seen: bytes | None = None
    while True:
        try:
            seen = await look_at_file(holder, path, seen)
        except Exception:
            logger.exception("a look at the routing document failed")  # the next look is to come all the same
        await asyncio.sleep(look_seconds)


async def look_at_file(holder: ConfigHolder, path: Path, seen: bytes | None) -> bytes | None:
    """What is done with for now: the content that was given to the holder, None to try again."""
    try:
        text = await asyncio.to_thread(read_file, path)
    except OSError as error:
        holder.note_unreadable(FILE, f"--config '{path}': {error.strerror}; it is looked at again")
        return None
    if text == seen:
        return seen
    report = await holder.take(text, FILE)
    return None if report.outcome is Outcome.UNCONFIRMED else text


def read_file(path: Path) -> bytes:
    """The content, at most one byte more than a document may have. Raises OSError."""
    # without O_NONBLOCK, opening a FIFO waits for somebody to write
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_DOCUMENT_BYTES + 1)
    finally:
        os.close(descriptor)
