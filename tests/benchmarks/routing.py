"""The router beside nginx with its mirror module, in one run: the same backend, load, core and shadow shares.

The proxy that is measured has a core of its own; backend and load share the other ones. Latency is what the
proxy adds: percentiles through it less those straight to the backend, at the same rate.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.figures import Figure
from tests.benchmarks.processes import read_usage
from tests.benchmarks.scale import Scale

_NAME = "routing"
_RATES = (200, 500, 1000)
_SHADOWS = (0, 20, 100)
_CONNECTIONS = 32
_STATUS = "/status"
_EVENTS = 300
_ANSWER = json.dumps({"choices": [{"text": "word " * 80}], "usage": {"completion_tokens": 80}})
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, slots=True)
class _Proxy:
    port: int
    pid: int  # of the process that does the work


@dataclass(frozen=True, slots=True)
class _Bench:
    scale: Scale
    nginx: str
    directory: Path
    core: int  # for what is measured


def find_nginx() -> str | None:
    """Where nginx is; Debian puts it outside of a user's path."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def measure_routing(scale: Scale) -> list[Figure]:
    """What router and nginx add at each rate and shadow share, what a core carries, and memory."""
    nginx = find_nginx()
    if nginx is None:
        return [Figure(_NAME, "nginx is not installed", 0.0, "", "install nginx-light to compare")]
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:-1] or cores)
    try:
        with TemporaryDirectory() as name:
            return _measure(_Bench(scale, nginx, Path(name), cores[-1]))
    finally:
        os.sched_setaffinity(0, cores)


def _measure(bench: _Bench) -> list[Figure]:
    figures = []
    with _run_nginx(bench, "backend", _answer_location()) as backend:
        direct = {rate: _load(bench.scale, backend.port, rate) for rate in _RATES}
        for rate, found in direct.items():
            for quantile in ("p50", "p99"):
                name = f"straight to the backend at {rate}/s, {quantile}"
                figures.append(_figure(name, found[f"{quantile}_ms"], "ms"))
        for percent in _SHADOWS:
            per_core: dict[str, float] = {}
            for kind in ("nginx", "router"):
                with _run_proxy(bench, kind, backend.port, percent) as proxy:
                    title = f"{kind}, {percent} % shadow"
                    figures += _added(bench.scale, title, proxy, direct)
                    before, served = read_usage(proxy.pid).cpu_seconds, _count_served(backend.port)
                    most = _load(bench.scale, proxy.port, 0)
                    used = read_usage(proxy.pid)
                    per_core[kind] = most["answered"] / max(used.cpu_seconds - before, 0.01)
                    copies = (_count_served(backend.port) - served) / most["answered"] - 1
                    figures += [
                        _figure(f"{title}: copies per user's request as fast as it goes", copies, "ratio"),
                        _figure(f"{title}: users' requests per CPU second", per_core[kind], "1/s"),
                        _figure(f"{title}: memory", used.resident_mib, "MiB"),
                    ]
            ratio = per_core["router"] / per_core["nginx"]
            figures.append(_figure(f"router to nginx per CPU second, {percent} % shadow", ratio, "ratio"))
    return figures + asyncio.run(_measure_tokens(bench))


async def _measure_tokens(bench: _Bench) -> list[Figure]:
    """How long an event of a stream is under way, straight and through the router."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for _ in range(_EVENTS):
            await asyncio.sleep(0.01)
            writer.write(b"data: %d\n\n" % time.monotonic_ns())
        writer.close()

    async def follow(port: int) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: bench\r\n\r\n")
        found = []
        while line := await reader.readline():
            if line.startswith(b"data: "):
                found.append((time.monotonic_ns() - int(line[6:])) / 1e6)
        writer.close()
        return found

    server = await asyncio.start_server(stream, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    figures = []
    with _run_router(bench, port, 0) as proxy:
        for name, where in (("straight", port), ("through the router", proxy.port)):
            await follow(where)  # once, so that everything is in place
            took = statistics.quantiles(await follow(where), n=100)
            figures += [
                _figure(f"an event of a stream {name}, p{quantile}", took[quantile - 1], "ms")
                for quantile in (50, 99)
            ]
    server.close()
    return figures


def _added(
    scale: Scale, title: str, proxy: _Proxy, direct: Mapping[int, Mapping[str, float]]
) -> Iterator[Figure]:
    for rate in _RATES:
        found = _load(scale, proxy.port, rate)
        note = f"{found['failed']:.0f} failed" if found["failed"] else ""
        for quantile in ("p50", "p99"):
            added = found[f"{quantile}_ms"] - direct[rate][f"{quantile}_ms"]
            yield Figure(_NAME, f"{title}: added at {rate}/s, {quantile}", added, "ms", note)


def _figure(name: str, value: float, unit: str) -> Figure:
    return Figure(_NAME, name, value, unit)


def _load(scale: Scale, port: int, rate: int) -> dict[str, float]:
    """The median of the rounds, each figure for itself."""
    rounds = 1 if scale.starts == 1 else 3
    seconds = 2 if scale.starts == 1 else 6
    command = [sys.executable, "-m", "tests.benchmarks.http_load", "--url", f"http://127.0.0.1:{port}/v1"]
    command += ["--rate", str(rate), "--seconds", str(seconds), "--connections", str(_CONNECTIONS)]
    found = [json.loads(subprocess.check_output(command)) for _ in range(rounds if rate else 1)]
    return {key: statistics.median(each[key] for each in found) for key in found[0]}


@contextmanager
def _run_proxy(bench: _Bench, kind: str, backend: int, percent: int) -> Iterator[_Proxy]:
    if kind == "nginx":
        with _run_nginx(bench, f"proxy{percent}", _mirrored(backend, percent), bench.core) as proxy:
            yield proxy
    else:
        with _run_router(bench, backend, percent) as proxy:
            yield proxy


@contextmanager
def _run_router(bench: _Bench, backend: int, percent: int) -> Iterator[_Proxy]:
    port = _find_port()
    url = {"url": f"http://127.0.0.1:{backend}"}
    document = bench.directory / f"router{percent}.json"
    segments = [{"name": "default", "shadowPercent": percent}]
    document.write_text(
        json.dumps({"version": 1, "arms": {"baseline": url, "candidate": url}, "segments": segments})
    )
    command = [sys.executable, "-m", "switchyard", "router", "--config", str(document), "--port", str(port)]
    command += [
        "--host",
        "127.0.0.1",
        "--admin-host",
        "127.0.0.1",
        "--admin-port",
        "0",
        "--drain-delay",
        "0s",
    ]
    command += ["--log-level", "error"]
    with _process(command, port, bench.core) as process:
        yield _Proxy(port, process.pid)


@contextmanager
def _run_nginx(bench: _Bench, name: str, locations: str, core: int | None = None) -> Iterator[_Proxy]:
    home, port = bench.directory / name, _find_port()
    home.mkdir(exist_ok=True)
    paths = "\n".join(f"{each}_temp_path {home}/{each};" for each in _TEMPORARY)
    (home / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 1000000; {paths}\n{locations.replace('PORT', str(port))} }}\n"
    )
    with _process([bench.nginx, "-p", str(home), "-c", str(home / "nginx.conf")], port, core) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield _Proxy(port, int(children[0]))


def _answer_location() -> str:
    return f"""
    server {{ listen 127.0.0.1:PORT;
      location / {{ default_type application/json; return 200 '{_ANSWER}'; }}
      location = {_STATUS} {{ stub_status; }} }}"""


def _count_served(port: int) -> int:
    """How many requests the backend has answered, whoever asked."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        f"http://127.0.0.1:{port}{_STATUS}", timeout=10
    ) as answer:
        return int(answer.read().split()[9])


def _mirrored(backend: int, percent: int) -> str:
    mirror = "mirror /mirror;" if percent else ""
    return f"""
    split_clients $request_id $is_copied {{ {f"{percent}% 1;" if percent < 100 and percent else ""} * {int(percent == 100)}; }}
    upstream users {{ server 127.0.0.1:{backend}; keepalive 64; }}
    upstream copies {{ server 127.0.0.1:{backend}; keepalive 64; }}
    server {{ listen 127.0.0.1:PORT; proxy_http_version 1.1; proxy_set_header Connection "";
      location / {{ {mirror} proxy_pass http://users; }}
      location = /mirror {{ internal; if ($is_copied = 0) {{ return 204; }} proxy_pass http://copies$request_uri; }} }}"""


@contextmanager
def _process(command: list[str], port: int, core: int | None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        _wait_for(port, process)
        if core is not None:
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.sched_setaffinity(int(child), {core})
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 0.5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"nothing listens on port {port}") from None
            time.sleep(0.05)


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
