"""Who asks, by the credentials in a request: the admin's token, service accounts' tokens, or nobody's.

Service-account tokens are JWTs signed with the cluster's own key, bound to the account's uid, as the
TokenRequest API gives them. Source: KEP-1205; RFC 7519 (JWT), RFC 7518 section 3.3 (RS256).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from switchyard.sandbox.apiserver.hooks import User
from switchyard.sandbox.apiserver.resources import Json

ISSUER = "https://kubernetes.default.svc"
_CLAIM = "kubernetes.io"


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True)
class IssuedToken:
    """A token and when it ends, in seconds since 1970."""

    token: str
    expires_at_seconds: int


class TokenKey:
    """Signs and reads service-account tokens, with a key made on first use unless one is given as PEM."""

    def __init__(self, pem: bytes | None = None, now: Callable[[], float] = time.time) -> None:
        self._pem = pem
        self._now = now

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        if self._pem is None:
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key = serialization.load_pem_private_key(self._pem, None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("the service-account key must be an RSA private key")
        return key

    @cached_property
    def _id(self) -> str:
        public = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return _encoded(hashlib.sha256(public).digest())

    def issue(
        self, account: Json, audiences: Iterable[str], lifetime_seconds: int, bound: Json | None = None
    ) -> IssuedToken:
        """A token for a ServiceAccount object, bound to its uid and, if given, to a pod's or secret's."""
        namespace, name = account["metadata"]["namespace"], account["metadata"]["name"]
        now = int(self._now())
        told: Json = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]},
        }
        if bound:
            told[bound["kind"].lower()] = {"name": bound["name"], "uid": bound.get("uid", "")}
        claims = {
            "aud": list(audiences),
            "exp": now + lifetime_seconds,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "sub": f"system:serviceaccount:{namespace}:{name}",
            _CLAIM: told,
        }
        header = {"alg": "RS256", "kid": self._id}
        signed = f"{_encoded(orjson.dumps(header))}.{_encoded(orjson.dumps(claims))}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return IssuedToken(f"{signed}.{_encoded(signature)}", now + lifetime_seconds)

    def claims(self, token: str) -> Json | None:
        """The claims of a token that this key signed and that is valid now, None for any other."""
        signed, _, signature = token.rpartition(".")
        try:
            public = self._key.public_key()
            public.verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
            claims: Json = orjson.loads(_decoded(signed.partition(".")[2]))
        except (InvalidSignature, ValueError, binascii.Error):
            return None
        return claims if claims["nbf"] - 60 <= self._now() < claims["exp"] else None


@dataclass
class Credentials:
    """Finds the user of a request. `account` looks up a ServiceAccount object by namespace and name."""

    static: Mapping[str, User]
    key: TokenKey
    account: Callable[[str, str], Json | None]

    def user(self, authorization: str) -> User | None:
        """The user of an Authorization header, None when it is bad; empty headers are for the caller."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        for known, user in self.static.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return user
        return self.account_user(token, ISSUER)

    def account_user(self, token: str, audience: str) -> User | None:
        """The service account of a token for an audience, None unless it still exists under the same uid."""
        if token.count(".") != 2:
            return None
        claims = self.key.claims(token)
        if claims is None or audience not in claims["aud"]:
            return None
        told = claims[_CLAIM]
        namespace, name = told["namespace"], told["serviceaccount"]["name"]
        account = self.account(namespace, name)
        if account is None or account["metadata"]["uid"] != told["serviceaccount"]["uid"]:
            return None
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims['jti']}",)}
        for kind in ("pod", "node"):
            if bound := told.get(kind):
                extra[f"authentication.kubernetes.io/{kind}-name"] = (bound["name"],)
                extra[f"authentication.kubernetes.io/{kind}-uid"] = (bound["uid"],)
        return User(
            name=claims["sub"],
            groups=(
                "system:serviceaccounts",
                f"system:serviceaccounts:{namespace}",
                "system:authenticated",
            ),
            uid=account["metadata"]["uid"],
            extra=extra,
        )
