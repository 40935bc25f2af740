"""Answers about the asker and about others: who they are, what they may do, and tokens for service accounts.

Reviews are answered and forgotten. Source: authentication.k8s.io/v1, authorization.k8s.io/v1, KEP-1205.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from aiohttp import web

from switchyard.sandbox.apiserver.credentials import ISSUER, Credentials
from switchyard.sandbox.apiserver.decoding import decode_body
from switchyard.sandbox.apiserver.errors import FieldError, bad_request, invalid, not_found
from switchyard.sandbox.apiserver.hooks import Attributes, Objects, User
from switchyard.sandbox.apiserver.rbac import RoleBasedAccess
from switchyard.sandbox.apiserver.resources import Json, Registry

_AUTHENTICATION = "/apis/authentication.k8s.io/v1"
_AUTHORIZATION = "/apis/authorization.k8s.io/v1"
SHORTEST_TOKEN_SECONDS = 600
_DEFAULT_TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Reviews:
    """The routes of one server's reviews."""

    registry: Registry
    objects: Objects
    access: RoleBasedAccess
    credentials: Credentials
    decode_protobuf: Callable[[bytes], Json]

    def routes(self) -> list[web.RouteDef]:
        """The paths that reviews answer."""
        return [
            web.post(f"{_AUTHENTICATION}/selfsubjectreviews", self.who_am_i),
            web.post(f"{_AUTHENTICATION}/tokenreviews", self.review_token),
            web.post(f"{_AUTHORIZATION}/selfsubjectaccessreviews", self.review_own_access),
            web.post(f"{_AUTHORIZATION}/selfsubjectrulesreviews", self.review_own_rules),
            web.post(f"{_AUTHORIZATION}/subjectaccessreviews", self.review_access),
            web.post(
                f"{_AUTHORIZATION}/namespaces/{{namespace}}/localsubjectaccessreviews", self.review_access
            ),
            web.post("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", self.issue_token),
        ]

    async def _body(self, request: web.Request) -> Json:
        raw = await request.read()
        body = decode_body(raw, request.headers.get("Content-Type", ""), self.decode_protobuf)
        for field in ("spec", "metadata"):
            if not isinstance(body.setdefault(field, {}) or {}, dict):
                raise bad_request(f"{field} must be an object")
            body[field] = body[field] or {}
        return body

    async def who_am_i(self, request: web.Request) -> web.Response:
        """A SelfSubjectReview with the asker's own attributes."""
        body = await self._body(request)
        body["metadata"] = {"creationTimestamp": _now()}
        body["status"] = {"userInfo": _user_info(request["user"])}
        body.pop("spec", None)
        return _created(body)

    async def review_token(self, request: web.Request) -> web.Response:
        """A TokenReview: whose token it is, if anybody's."""
        body = await self._body(request)
        token = body["spec"].get("token", "")
        audiences = body["spec"].get("audiences") or [ISSUER]
        user = self.credentials.user(f"Bearer {token}")
        if user is None:
            for audience in audiences:
                user = user or self.credentials.account_user(token, audience)
        if user is None:
            body["status"] = {"user": {}, "error": "invalid bearer token"}
        else:
            body["status"] = {"authenticated": True, "user": _user_info(user), "audiences": audiences}
        return _created(body)

    async def review_own_access(self, request: web.Request) -> web.Response:
        """A SelfSubjectAccessReview: whether the asker may do it."""
        body = await self._body(request)
        return self._reviewed(body, request["user"], "SelfSubjectAccessReview")

    async def review_access(self, request: web.Request) -> web.Response:
        """A SubjectAccessReview, local or not: whether somebody may do it."""
        body = await self._body(request)
        spec = body["spec"]
        extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
        user = User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)
        if namespace := request.match_info.get("namespace"):
            spec.setdefault("resourceAttributes", {}).setdefault("namespace", namespace)
        if not user.name and not user.groups:
            raise bad_request("spec.user: at least one of user or group must be specified")
        return self._reviewed(body, user, "SubjectAccessReview")

    def _reviewed(self, body: Json, user: User, kind: str) -> web.Response:
        spec = body["spec"]
        wanted, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if (wanted is None) == (path is None):
            raise bad_request(
                f"{kind}.spec: exactly one of nonResourceAttributes or resourceAttributes must be specified"
            )
        if wanted is not None:
            attributes = Attributes(
                verb=wanted.get("verb", ""),
                path="",
                group=wanted.get("group", ""),
                version=wanted.get("version", ""),
                resource=wanted.get("resource", ""),
                subresource=wanted.get("subresource", ""),
                namespace=wanted.get("namespace", ""),
                name=wanted.get("name", ""),
            )
        else:
            attributes = Attributes(path.get("verb", ""), path.get("path", ""), is_resource=False)
        verdict = self.access.authorize(user, attributes)
        body["status"] = {"allowed": verdict.is_allowed}
        if verdict.reason:
            body["status"]["reason"] = verdict.reason
        return _created(body)

    async def review_own_rules(self, request: web.Request) -> web.Response:
        """A SelfSubjectRulesReview: all that the asker may do in a namespace."""
        body = await self._body(request)
        namespace = body["spec"].get("namespace", "")
        if not namespace:
            raise bad_request("no namespace on request")
        rules = self.access.rules(request["user"], namespace)
        body["status"] = {
            "resourceRules": [rule for rule in rules if not rule.get("nonResourceURLs")],
            "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
            "incomplete": False,
        }
        return _created(body)

    async def issue_token(self, request: web.Request) -> web.Response:
        """A TokenRequest with a new token for a service account."""
        body = await self._body(request)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        info = self.registry.lookup("", "v1", "serviceaccounts")
        if info is None:
            raise LookupError("serviceaccounts")
        account = self.objects.get(info, namespace, name)
        if account is None:
            raise not_found(info, name)
        spec = body["spec"]
        lifetime = spec.get("expirationSeconds") or _DEFAULT_TOKEN_SECONDS
        if lifetime < SHORTEST_TOKEN_SECONDS:
            why = f"may not specify a duration less than {SHORTEST_TOKEN_SECONDS // 60} minutes"
            request_kind = self.registry.lookup("authentication.k8s.io", "v1", "tokenreviews")
            error = FieldError("FieldValueInvalid", "spec.expirationSeconds", why, lifetime)
            raise invalid(request_kind or info, name, [error])
        audiences = spec.get("audiences") or [ISSUER]
        bound = spec.get("boundObjectRef")
        issued = self.credentials.key.issue(account, audiences, lifetime, bound)
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": account["metadata"]["uid"],
            "creationTimestamp": _now(),
        }
        return _created(
            {
                "kind": "TokenRequest",
                "apiVersion": "authentication.k8s.io/v1",
                "metadata": metadata,
                "spec": {"audiences": audiences, "expirationSeconds": lifetime, "boundObjectRef": bound},
                "status": {"token": issued.token, "expirationTimestamp": _time(issued.expires_at_seconds)},
            }
        )


def _user_info(user: User) -> Json:
    info: Json = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _created(body: Json) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=201, content_type="application/json")
