"""A second opinion: what nginx makes of the same bytes in front of the same backend, and where we differ on purpose."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

import pytest
from tests.integration.router_peers import Backend, Client, ClosedError, wait_until
from tests.integration.test_router_framing import PASSED, REFUSED, SECOND

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.access(NGINX, os.X_OK), reason="nginx is not installed"),
]

CONFIGURATION = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1; }}
  }}
}}
"""

_LINES = (
    "RFC 9112 section 2.2 lets a server take a bare LF for a line's end; not all do, so it can hide a request"
)
_CHUNKS = (
    "RFC 9112 section 7.1 has no such thing in the line before a chunk; not all servers skip the same bytes"
)
_NAMES = "RFC 9110 section 5.1: a name is a token"
_TRAILERS = (
    "RFC 9110 section 6.5.1: a trailer must not say how a message is framed; nginx drops all trailers unread"
)

# Refused here and passed by nginx, with the reason.
STRICTER = {
    "a chunk size with a space": _CHUNKS,
    "a chunk extension with a control character": _CHUNKS,
    "a chunk extension with a bare LF": _LINES,
    "a chunk that ends in a bare LF": _LINES,
    "a chunk size that ends in a bare LF": _LINES,
    "a request line that ends in a bare LF": _LINES,
    "a field that ends in a bare LF": _LINES,
    "a control character in a field": "RFC 9110 section 5.5: values have no control characters",
    "a bad character in a field name": _NAMES + "; nginx leaves the field out",
    "a field name beyond ASCII": _NAMES + "; nginx leaves the field out",
    "a Host with a user": "RFC 9110 section 7.2: Host has no user",
    "an absolute target of another scheme": "the request is not for this server; nginx takes any scheme",
    "a target with a fragment": "RFC 9112 section 3.2: a target has no fragment; nginx cuts it off",
    "a target beyond ASCII": "RFC 3986 section 2: such characters are percent-encoded",
    "version 1.2 in the request line": "the parser knows the versions that there are",
    "a method that nobody knows": "the parser knows the registered methods",
    "a length as a trailer": _TRAILERS,
    "a coding as a trailer": _TRAILERS,
    "a trailer without a colon": "RFC 9112 section 7.1.2: a trailer is a field; nginx drops all trailers unread",
    "an unknown expectation": "RFC 9110 section 10.1.1: 417 for what can't be met",
}
# Passed here and refused by nginx, with the reason.
WIDER = {
    "a length with spaces around it": "RFC 9110 section 5.5: spaces around a value are no part of it, tabs too",
    "a star": "RFC 9112 section 3.2.4: OPTIONS may ask about the server as a whole",
    "a Host without a name": "RFC 9112 section 3.2: an empty Host stands for a target without a name",
}


@pytest.fixture(scope="module")
def backend():
    with Backend() as backend:
        yield backend


@pytest.fixture(scope="module")
def nginx_port(backend, tmp_path_factory):
    home = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as plug:
        port = plug.getsockname()[1]
    configuration = home / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(home=home, port=port, backend=backend.port))
    process = subprocess.Popen([NGINX, "-p", home, "-c", configuration], stderr=subprocess.PIPE)

    def is_up() -> bool:
        assert process.poll() is None, process.stderr.read()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(is_up, "nginx listens")
    yield port
    process.terminate()
    process.wait(10)
    process.stderr.close()


def is_passed_by_nginx(port: int, backend: Backend, data: bytes) -> bool:
    """Whether the first request in these bytes reached the backend."""
    del backend.heads[:]
    client = Client(port)
    client.plug.settimeout(1)
    try:
        client.send(data)
        client.read_answer()
    except (OSError, ClosedError, AssertionError, ValueError):
        pass  # HTTP/0.9 answers have no head
    finally:
        client.close()
    return bool(backend.heads)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_here_is_refused_by_nginx_but_for_the_listed(nginx_port, backend, name):
    assert is_passed_by_nginx(nginx_port, backend, REFUSED[name][1].removesuffix(SECOND)) == (
        name in STRICTER
    )


@pytest.mark.parametrize("name", PASSED)
def test_what_is_passed_here_is_passed_by_nginx_but_for_the_listed(nginx_port, backend, name):
    assert is_passed_by_nginx(nginx_port, backend, PASSED[name][0]) != (name in WIDER)
