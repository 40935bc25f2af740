"""The HTTP side of the simulated model server; many can live in one process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from switchyard.core.routing.document import TIER_HEADER
from switchyard.sandbox.modelserver import outputs
from switchyard.sandbox.modelserver.engine import Engine, QueueFullError, Turn
from switchyard.sandbox.modelserver.faults import change_faults
from switchyard.sandbox.modelserver.metrics import ServerMetrics
from switchyard.sandbox.modelserver.options import ServerOptions

_DEFAULT_TOKENS = 16
_MAX_TOKENS = 8192
_PREFILL_SHARE = 0.2  # of the service time passes before the first token
_RUNTIME_BYTES = 256 * 1024 * 1024  # what the simulated process holds before it leaks


class ModelServer:
    """One replica. `start` binds it; `on_exit(exit code, reason)` is told when it dies by itself."""

    def __init__(
        self,
        options: ServerOptions,
        *,
        name: str = "",
        on_exit: Callable[[int, str], None] | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.options = options
        self.engine = Engine(options.profile, options.faults, seed=options.seed, max_queue=options.max_queue)
        self.engine.on_leak = self._leak
        self.metrics = ServerMetrics(options.model)
        self.metrics.resident_bytes.set(_RUNTIME_BYTES)
        self._name = name
        self._on_exit = on_exit
        self._log = log or (lambda _line: None)
        self._runner: web.AppRunner | None = None
        self._started = time.monotonic()
        self.port = options.port

    # -- life ------------------------------------------------------------------------------------

    def build_app(self) -> web.Application:
        """The aiohttp application with all routes."""
        app = web.Application(middlewares=[self._measure], client_max_size=32 * 1024 * 1024)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/predict", self._predict)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/health", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/admin/faults", self._faults)
        app.router.add_post("/admin/faults", self._faults)
        return app

    async def start(self) -> None:
        """Listen on the options' host and port. OSError when that is not possible."""
        self._started = time.monotonic()
        # aiohttp reads a timeout of 0 as "wait for ever"; `stop` has its own grace before this one.
        self._runner = web.AppRunner(self.build_app(), access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.options.host, self.options.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._log(f"model {self.options.model} on {self.options.accelerator or 'an unnamed accelerator'}")
        self._log(f"listening on {self.options.host}:{self.port}, {self.options.profile.slots} slots")

    async def stop(self, *, grace_seconds: float = 0.0) -> None:
        """Stop listening, give requests in flight `grace_seconds`, then cut them."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        for site in list(runner.sites):
            await site.stop()
        if grace_seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.engine.idle.wait(), grace_seconds)
        await runner.cleanup()
        self._log("stopped")

    @property
    def is_ready(self) -> bool:
        """Whether the cold start is over."""
        return time.monotonic() - self._started >= self.engine.faults.cold_start_seconds

    def _leak(self, count: int) -> None:
        self.metrics.resident_bytes.inc(count)
        limit = self.options.memory_limit_bytes
        if limit and _RUNTIME_BYTES + self.engine.leaked_bytes > limit and self._on_exit is not None:
            self._log(f"out of memory: {_RUNTIME_BYTES + self.engine.leaked_bytes} of {limit} bytes")
            self._on_exit(137, "OOMKilled")

    # -- requests --------------------------------------------------------------------------------

    @web.middleware
    async def _measure(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        started = time.perf_counter()
        status = 500
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            raise
        else:
            return response
        finally:
            if request.path not in ("/healthz", "/health", "/metrics"):
                resource = request.match_info.route.resource
                route = resource.canonical if resource else "unknown"
                self.metrics.count_http(route, request.method, status, time.perf_counter() - started)

    async def _serve(
        self,
        request: web.Request,
        texts: list[str],
        answer: Callable[[Turn], dict[str, Any]],
        *,
        tokens: int = 0,
        chunks: Callable[[Turn], list[dict[str, Any]]] | None = None,
    ) -> web.StreamResponse:
        """Queue, spend the service time, answer: the way of every request to the model."""
        if not self.is_ready:
            return _refuse(503, "the model is still loading")
        arrived = time.perf_counter()
        self.metrics.waiting.set(self.engine.waiting + 1)
        try:
            async with self.engine.enter(request.headers.get(TIER_HEADER, "")) as turn:
                self._show_load()
                self.metrics.queue_time.observe(time.perf_counter() - arrived)
                prompt = sum(outputs.count_tokens(text) for text in texts)
                self.metrics.prompt_tokens.inc(prompt)
                try:
                    if chunks is not None and not turn.is_error:
                        return await self._stream(request, turn, chunks(turn), arrived, prompt)
                    return await self._answer(turn, answer, arrived, prompt, tokens)
                except (asyncio.CancelledError, ConnectionError):
                    self.metrics.count_finished("abort")
                    raise
        except QueueFullError:
            return _refuse(429, f"{self.engine.waiting} requests are waiting already")
        finally:
            self._show_load()

    async def _answer(
        self,
        turn: Turn,
        answer: Callable[[Turn], dict[str, Any]],
        arrived: float,
        prompt: int,
        tokens: int,
    ) -> web.Response:
        prefill = turn.service_seconds * _PREFILL_SHARE
        await asyncio.sleep(prefill)
        self.metrics.first_token.observe(time.perf_counter() - arrived)
        await asyncio.sleep(turn.service_seconds - prefill)
        self.metrics.end_to_end.observe(time.perf_counter() - arrived)
        if turn.is_error:
            self.metrics.count_finished("error")
            return _refuse(500, "the simulated accelerator failed")
        self.metrics.count_tokens(prompt, tokens, turn.service_seconds - prefill)
        self.metrics.count_finished("length" if tokens else "stop")
        return web.json_response(answer(turn), headers=self._headers())

    async def _stream(
        self,
        request: web.Request,
        turn: Turn,
        chunks: list[dict[str, Any]],
        arrived: float,
        prompt: int,
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache", **self._headers()}
        )
        await asyncio.sleep(turn.service_seconds * _PREFILL_SHARE)
        await response.prepare(request)
        begun = time.perf_counter()
        spread = turn.service_seconds * (1 - _PREFILL_SHARE)
        for index, chunk in enumerate(chunks):
            if index:
                # Against the clock, not by equal sleeps: timer error must not add up over the tokens.
                late = begun + spread * index / max(1, len(chunks) - 1) - time.perf_counter()
                await asyncio.sleep(max(0.0, late))
            else:
                self.metrics.first_token.observe(time.perf_counter() - arrived)
            await response.write(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        self.metrics.end_to_end.observe(time.perf_counter() - arrived)
        self.metrics.count_tokens(prompt, len(chunks) - 1, time.perf_counter() - begun)
        self.metrics.count_finished("length")
        return response

    def _show_load(self) -> None:
        self.metrics.running.set(self.engine.running)
        self.metrics.waiting.set(self.engine.waiting)
        self.metrics.cache_usage.set(min(1.0, self.engine.running / self.options.profile.slots))

    def _headers(self) -> dict[str, str]:
        headers = {"X-Switchyard-Accelerator": self.options.accelerator or "unknown"}
        if self._name:
            headers["X-Switchyard-Pod"] = self._name
        return headers

    def _seed(self, turn: Turn, inputs: int) -> int:
        """The seed of the outputs for a request with so many inputs; another one makes them wrong."""
        most = self.engine.faults.wrong_above_inputs
        is_wrong = turn.is_wrong or 0 < most < inputs
        return self.options.seed + (turn.number if is_wrong else 0)

    # -- routes ----------------------------------------------------------------------------------

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request)
        prompts = body.get("prompt")
        if isinstance(prompts, str):
            prompts = [prompts]
        if not isinstance(prompts, list) or not prompts or not all(isinstance(p, str) for p in prompts):
            return _refuse(400, "prompt must be a string or a list of strings")
        return await self._generate(request, body, prompts, is_chat=False)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            return _refuse(400, "messages must be a list of objects with role and content")
        prompt = "\n".join(f"{m.get('role', 'user')}: {m.get('content', '')}" for m in messages)
        return await self._generate(request, body, [prompt], is_chat=True)

    async def _generate(
        self, request: web.Request, body: dict[str, Any], prompts: list[str], *, is_chat: bool
    ) -> web.StreamResponse:
        count = body.get("max_completion_tokens") or body.get("max_tokens") or _DEFAULT_TOKENS
        if not isinstance(count, int) or not 1 <= count <= _MAX_TOKENS:
            return _refuse(400, f"max_tokens must be a whole number from 1 to {_MAX_TOKENS}")
        options = self.options
        kind = "chat.completion" if is_chat else "text_completion"
        head = {
            "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{time.time_ns():x}",
            "created": int(time.time()),
            "model": options.model,
        }

        def answer(turn: Turn) -> dict[str, Any]:
            choices, seed = [], self._seed(turn, len(prompts))
            for index, prompt in enumerate(prompts):
                text = "".join(outputs.write_tokens(options.model, prompt, count, seed))
                content = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
                choices.append({"index": index, **content, "finish_reason": "length"})
            read = sum(outputs.count_tokens(prompt) for prompt in prompts)
            written = count * len(prompts)
            usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
            return {**head, "object": kind, "choices": choices, "usage": usage}

        def chunks(turn: Turn) -> list[dict[str, Any]]:
            lines: list[dict[str, Any]] = []
            seed = self._seed(turn, len(prompts))
            for index, prompt in enumerate(prompts):
                for token in outputs.write_tokens(options.model, prompt, count, seed):
                    content = {"delta": {"content": token}} if is_chat else {"text": token}
                    lines.append({"index": index, **content, "finish_reason": None})
            last: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
            lines.append({"index": len(prompts) - 1, **last, "finish_reason": "length"})
            label = "chat.completion.chunk" if is_chat else kind
            return [{**head, "object": label, "choices": [line]} for line in lines]

        is_stream = bool(body.get("stream"))
        return await self._serve(
            request, prompts, answer, tokens=count * len(prompts), chunks=chunks if is_stream else None
        )

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request)
        texts = body.get("input")
        if isinstance(texts, str):
            texts = [texts]
        if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
            return _refuse(400, "input must be a string or a list of strings")
        model = self.options.model

        def answer(turn: Turn) -> dict[str, Any]:
            seed = self._seed(turn, len(texts))
            data = [
                {"object": "embedding", "index": i, "embedding": outputs.embed(model, t, seed=seed)}
                for i, t in enumerate(texts)
            ]
            read = sum(outputs.count_tokens(text) for text in texts)
            usage = {"prompt_tokens": read, "total_tokens": read}
            return {"object": "list", "model": model, "data": data, "usage": usage}

        return await self._serve(request, texts, answer)

    async def _predict(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request)
        instances = body.get("instances", [body])
        if not isinstance(instances, list) or not instances:
            return _refuse(400, "instances must be a list with at least one entry")
        model = self.options.model

        def answer(turn: Turn) -> dict[str, Any]:
            seed = self._seed(turn, len(instances))
            return {"model": model, "predictions": [outputs.predict(model, i, seed) for i in instances]}

        return await self._serve(request, [str(instance) for instance in instances], answer)

    async def _models(self, _request: web.Request) -> web.Response:
        entry = {"id": self.options.model, "object": "model", "owned_by": "switchyard"}
        return web.json_response({"object": "list", "data": [entry]})

    async def _healthz(self, _request: web.Request) -> web.Response:
        if self.is_ready:
            return web.Response(text="ok")
        return web.Response(status=503, text="loading")

    async def _metrics(self, _request: web.Request) -> web.Response:
        if self.engine.hides_metrics():
            return web.Response(status=503, text="no metrics")
        self._show_load()
        return web.Response(
            body=self.metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _faults(self, request: web.Request) -> web.Response:
        peer = request.remote
        if peer is None or not ipaddress.ip_address(peer).is_loopback:
            return _refuse(403, "faults are changed from the server's own host only")
        if request.method == "POST":
            try:
                self.engine.faults = change_faults(self.engine.faults, await _read(request))
            except ValueError as error:
                return _refuse(400, str(error))
            self._log(f"faults: {self.engine.faults}")
        return web.json_response(dataclasses.asdict(self.engine.faults))


async def _read(request: web.Request) -> dict[str, Any]:
    """The request's JSON object. Answers 400 to anything else."""
    try:
        body = await request.json()
    except (ValueError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict):
        text = json.dumps({"error": {"message": "the body must be a JSON object", "code": 400}})
        raise web.HTTPBadRequest(text=text, content_type="application/json")
    return body


def _refuse(status: int, message: str) -> web.Response:
    """An error in the form that OpenAI clients read."""
    kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
    return web.json_response({"error": {"message": message, "type": kind, "code": status}}, status=status)
