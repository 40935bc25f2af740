"""Prometheus series of one simulated server, under the names that vLLM gives its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# Bounds as in vLLM 0.33 (vllm/v1/metrics/buckets.py): its e2e histogram sees nothing below 0.3 s.
_E2E_SECONDS = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_TTFT_SECONDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
    160, 640, 2560,
)  # fmt: skip
_HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30)

# vllm/v1/metrics/loggers.py: of vllm:inter_token_latency_seconds, and build_1_2_5_buckets up to 10,000
_INTER_TOKEN_SECONDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
)  # fmt: skip
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
CACHE_BLOCK_TOKENS = 16
CACHE_BLOCKS = 4096


class ServerMetrics:
    """All series of one server in a registry of its own, so that many fit into one process."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        labels = ("model_name", "engine")
        values = (model, "0")

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, labels, registry=self.registry).labels(*values)

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry).labels(*values)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, labels, registry=self.registry, buckets=buckets).labels(*values)

        self.running = gauge("vllm:num_requests_running", "Requests in service.")
        self.waiting = gauge("vllm:num_requests_waiting", "Requests in the queue.")
        self.cache_usage = gauge("vllm:kv_cache_usage_perc", "Share of the slots in use, 0 to 1.")
        self.end_to_end = histogram(
            "vllm:e2e_request_latency_seconds", "From arrival to the end.", _E2E_SECONDS
        )
        self.queue_time = histogram("vllm:request_queue_time_seconds", "Time in the queue.", _E2E_SECONDS)
        self.first_token = histogram(
            "vllm:time_to_first_token_seconds", "From arrival to the first token.", _TTFT_SECONDS
        )
        self.inter_token = histogram(
            "vllm:inter_token_latency_seconds", "From one token to the next.", _INTER_TOKEN_SECONDS
        )
        self.request_token_time = histogram(
            "vllm:request_time_per_output_token_seconds",
            "From one token to the next, on average over an answer.",
            _INTER_TOKEN_SECONDS,
        )
        self.request_prompt_tokens = histogram(
            "vllm:request_prompt_tokens", "Tokens read for a request.", _TOKENS
        )
        self.request_generation_tokens = histogram(
            "vllm:request_generation_tokens", "Tokens written for a request.", _TOKENS
        )
        Gauge(
            "vllm:cache_config_info",
            "The cache, as labels.",
            ("num_gpu_blocks", "block_size", "engine"),
            registry=self.registry,
        ).labels(str(CACHE_BLOCKS), str(CACHE_BLOCK_TOKENS), "0").set(1)
        self.prompt_tokens = counter("vllm:prompt_tokens", "Tokens read.")
        self.generation_tokens = counter("vllm:generation_tokens", "Tokens written.")
        self._finished = Counter(
            "vllm:request_success", "Finished requests.", (*labels, "finished_reason"), registry=self.registry
        )
        for reason in ("stop", "length", "abort"):
            self._finished.labels(*values, reason)
        self._http = Counter(
            "http_requests", "HTTP requests.", ("handler", "method", "status"), registry=self.registry
        )
        self.http_seconds = Histogram(
            "http_request_duration_seconds",
            "HTTP request duration.",
            ("handler", "method"),
            registry=self.registry,
            buckets=_HTTP_SECONDS,
        )
        self.resident_bytes = Gauge(
            "process_resident_memory_bytes", "Memory held by the simulated process.", registry=self.registry
        )
        self._values = values

    def count_tokens(self, prompt: int, generated: int, decode_seconds: float) -> None:
        """Count the tokens of one answered request; `decode_seconds` went by after its first token."""
        self.request_prompt_tokens.observe(prompt)
        self.request_generation_tokens.observe(generated)
        self.generation_tokens.inc(generated)
        if generated > 1:
            self.request_token_time.observe(decode_seconds / (generated - 1))
        for _ in range(generated - 1):
            self.inter_token.observe(decode_seconds / (generated - 1))

    def count_finished(self, reason: str) -> None:
        """Count one request that ended with `reason`: stop, length, abort or error."""
        self._finished.labels(*self._values, reason).inc()

    def count_http(self, handler: str, method: str, status: int, seconds: float) -> None:
        """Count one HTTP exchange; the status is kept as its class, as vLLM's instrumentation does."""
        self._http.labels(handler, method, f"{status // 100}xx").inc()
        self.http_seconds.labels(handler, method).observe(seconds)

    def render(self) -> bytes:
        """The text exposition of all series."""
        return generate_latest(self.registry)
