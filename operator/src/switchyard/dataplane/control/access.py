"""Who may read and change a router's configuration: whoever shows the token whose hash the router knows."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path

from switchyard.dataplane.control.config_file import read_file

_HOW = "start the router with --admin-token-sha256 or --admin-token-file"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request is not let in. 401: another token may help. 403: none will."""

    status: int
    reason: str
    challenge: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """What is compared with. The file is read for each request, so that a token can be changed in place."""

    token_sha256: str = ""
    token_file: Path | None = None

    async def judge(self, authorization: str | None) -> Refused | None:
        """Why the bearer of this Authorization header (RFC 6750) is refused; None when it is let in."""
        expected = self.token_sha256
        if self.token_file is not None:
            try:
                content = await asyncio.to_thread(read_file, self.token_file)
            except OSError as error:
                return Refused(403, f"--admin-token-file '{self.token_file}': {error.strerror}")
            if not content.strip():
                return Refused(403, f"--admin-token-file '{self.token_file}': empty; write a token into it")
            expected = hashlib.sha256(content.strip()).hexdigest()
        if not expected:
            return Refused(403, f"no token is configured; {_HOW}")
        return judge_token(authorization, expected)


def judge_token(authorization: str | None, expected_sha256: str) -> Refused | None:
    """Why the header is refused, None when its token has this hash. Takes as long for each wrong token."""
    # RFC 9110 section 11.1: the scheme's name does not care about case
    shown = re.fullmatch(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]+) *", authorization or "")
    if shown is None:
        return Refused(401, "give the token as Authorization: Bearer <token>", 'Bearer realm="switchyard"')
    digest = hashlib.sha256(shown[1].encode()).hexdigest()
    if not hmac.compare_digest(digest, expected_sha256):
        challenge = 'Bearer realm="switchyard", error="invalid_token"'
        return Refused(401, "the token is not the one of this router", challenge)
    return None
