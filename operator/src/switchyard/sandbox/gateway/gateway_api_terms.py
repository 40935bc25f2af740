"""Fields that kinds of the Gateway API share, with names and limits of gateway.networking.k8s.io/v1."""

from __future__ import annotations

from typing import Any

from switchyard.sandbox.gateway.schema_terms import DNS_LABEL, HOSTNAME, SUBDOMAIN, text, whole

Json = dict[str, Any]

NAME = text(shortest=1, longest=253)
NAMESPACE = text(shortest=1, longest=63, pattern=DNS_LABEL)
SECTION = text(shortest=1, longest=253, pattern=SUBDOMAIN)
HOST = text(shortest=1, longest=253, pattern=HOSTNAME)
PORT = whole(least=1, most=65535)
CONTROLLER = text(
    shortest=1,
    longest=253,
    pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
)


def group_field(default: str | None = None) -> Json:
    """An API group; the core group is empty."""
    return text(
        longest=253,
        pattern=r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        default=default,
    )


def kind_field(default: str | None = None) -> Json:
    """A kind."""
    return text(shortest=1, longest=63, pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", default=default)
