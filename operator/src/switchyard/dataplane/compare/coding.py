"""The content of an answer as its sender had it before any content coding (RFC 9110 section 8.4)."""

from __future__ import annotations

import zlib

from switchyard.dataplane.exchange import Answer

MAX_CONTENT_BYTES = 2 << 20
MAX_CODINGS = 2
MAX_GZIP_MEMBERS = 64  # each costs a new inflater and a copy of what follows it

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class UnreadableError(Exception):
    """An answer that a comparator can't read.

    `is_different`: an answer that can be read is known to differ from this one (this one is broken, or holds
    nothing of the kind). Otherwise nothing is known.
    """

    def __init__(self, reason: str, *, is_different: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_different = is_different


def name_codings(answer: Answer) -> tuple[str, ...]:
    """The content codings of an answer in the order in which they were applied, without `identity`."""
    given = answer.headers.get("content-encoding", "").lower()
    return tuple(name for part in given.split(",") if (name := part.strip()) and name != "identity")


def read_content(answer: Answer) -> bytes:
    """The decoded body, of at most MAX_CONTENT_BYTES. Raises UnreadableError."""
    body = answer.body
    if not body.is_complete:
        raise UnreadableError(
            f"{body.length} bytes, of which only {len(body.prefix)} were kept", is_different=False
        )
    codings = name_codings(answer)
    if len(codings) > MAX_CODINGS:
        raise UnreadableError(f"more than {MAX_CODINGS} content codings", is_different=False)
    content = body.prefix
    for coding in reversed(codings):
        if coding in {"gzip", "x-gzip"}:
            content = _inflate(content, _GZIP)
        elif coding == "deflate":
            # RFC 9110 section 8.4.1.2: zlib's format is meant; some servers send deflate without it
            content = _inflate(content, _ZLIB if _starts_as_zlib(content) else _RAW)
        else:
            raise UnreadableError("a content coding other than gzip and deflate", is_different=False)
    return content


def _starts_as_zlib(content: bytes) -> bool:
    # RFC 1950 section 2.2: the first two bytes as a number are a multiple of 31, the method is 8
    return len(content) >= 2 and content[0] & 0x0F == 8 and (content[0] << 8 | content[1]) % 31 == 0


def _inflate(content: bytes, window_bits: int) -> bytes:
    parts: list[bytes] = []
    held_bytes = 0
    for _ in range(MAX_GZIP_MEMBERS):
        inflater = zlib.decompressobj(window_bits)
        try:
            part = inflater.decompress(content, MAX_CONTENT_BYTES - held_bytes + 1)
        except zlib.error:
            raise UnreadableError(
                "a body that its content coding can't be undone of", is_different=True
            ) from None
        parts.append(part)
        held_bytes += len(part)
        if held_bytes > MAX_CONTENT_BYTES:
            raise UnreadableError(f"decodes to more than {MAX_CONTENT_BYTES} bytes", is_different=False)
        if not inflater.eof:
            raise UnreadableError("a body that ends before its content coding does", is_different=True)
        content = inflater.unused_data
        if not content or window_bits != _GZIP:
            return b"".join(parts)
    raise UnreadableError(f"more than {MAX_GZIP_MEMBERS} gzip members", is_different=False)
