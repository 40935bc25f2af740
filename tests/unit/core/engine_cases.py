"""Engines and traffic on which the percentiles of tokens are compared with the simulation."""

from __future__ import annotations

from switchyard.core.placement.tokens import TokensProfile, Traffic

LOADS = (0.3, 0.5, 0.7, 0.8, 0.85, 0.92)
METRICS = ("ttft", "tpot", "latency")


def _engine(  # noqa: PLR0917  # a table of numbers reads best in one line each
    iteration_ms: float,
    sequence_ms: float,
    prefill_ms: float,
    cached_ms: float,
    batch: int,
    chunk: int = 2048,
    *,
    cache: int | None = None,
    hits: float = 0.0,
) -> TokensProfile:
    milliseconds = (iteration_ms, sequence_ms, prefill_ms, cached_ms)
    return TokensProfile(*(each / 1e3 for each in milliseconds), batch, chunk, cache, hits)


CASES = {
    "chat": (_engine(8, 0.08, 0.02, 2e-5, 64), Traffic(800, 1, 250, 0.8)),
    "chat on a wide batch": (_engine(12, 0.03, 0.008, 4e-6, 256, 8192), Traffic(1500, 1.2, 300, 1.0)),
    "chat on a small device": (_engine(30, 0.4, 0.12, 5e-5, 32), Traffic(300, 0.7, 150, 0.6)),
    "retrieval, prompts of three chunks": (_engine(10, 0.1, 0.03, 1e-5, 32), Traffic(6000, 0.5, 150, 0.7)),
    "summaries, the token budget binds": (_engine(8, 0.08, 0.02, 1e-5, 64, 1024), Traffic(3000, 1, 60, 0.5)),
    "long answers": (_engine(10, 0.06, 0.02, 1e-5, 128), Traffic(100, 1, 1500, 0.9)),
    "heavy tails": (_engine(8, 0.1, 0.02, 1e-5, 48), Traffic(500, 1.5, 200, 1.5)),
    "constant lengths": (_engine(20, 0.3, 0.05, 2e-5, 16), Traffic(512, 0, 128, 0)),
    "four sequences on a processor": (_engine(60, 8, 0.8, 0, 4, 512), Traffic(200, 0.8, 80, 0.6)),
    "one sequence at a time": (_engine(25, 0, 0.1, 0, 1), Traffic(200, 0.5, 50, 0.5)),
    "the cache binds": (_engine(8, 0.08, 0.02, 2e-5, 64, cache=40_000), Traffic(800, 1, 250, 0.8)),
    "prefixes are shared": (_engine(8, 0.08, 0.02, 2e-5, 64, hits=0.7), Traffic(2000, 0.5, 200, 0.7)),
    "the cache is slow to read": (_engine(8, 0.05, 0.02, 1e-4, 64), Traffic(2000, 0.8, 300, 0.8)),
    "one token out": (_engine(6, 0.02, 0.01, 0, 64, 4096), Traffic(400, 0.6, 1, 0)),
    "a recorded hour of conversations": (_engine(15, 0.12, 0.05, 3e-5, 48), Traffic(1155, 0.96, 211, 0.77)),
    "short answers at a high rate": (_engine(5, 0.05, 0.005, 0, 256, 4096), Traffic(120, 0.5, 12, 0.5)),
}
