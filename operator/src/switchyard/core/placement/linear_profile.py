"""The alpha, beta, gamma, delta form in which other tools publish engines, as a tokens profile.

With n sequences a token takes alpha + beta n, and a prefill of n prompts of I tokens gamma + delta I n
(Inferno optimizer, pkg/analyzer/queueanalyzer.go). A request of O answer tokens so takes
gamma + delta I n + (O - 1) (alpha + beta n), and n of them are served in that time.

Error of the conversion, against that form at saturation and for a lone request: within 1 percent where gamma
is no larger than alpha. Where it is larger a lone request is exact, and saturation falls short of what was
published (to a quarter with gamma = 2 alpha and answers of 100 tokens): here every prompt pays gamma, there
every batch.
"""

from __future__ import annotations

from switchyard.core.errors import ProfileError
from switchyard.core.placement.tokens import TokensProfile


def convert_linear(
    *,
    decode_alpha_seconds: float,
    decode_beta_seconds: float,
    prefill_gamma_seconds: float,
    prefill_delta_seconds: float,
    max_batch: int,
    input_mean: float | None = None,
) -> TokensProfile:
    """The tokens profile of the same engine, never faster than what was published.

    A prefill shares its iteration with decoding, whose alpha is paid anyhow; what gamma takes beyond it is
    laid on the prompt's tokens, `input_mean` of them. Raises ProfileError for what no engine can have.
    """
    if decode_alpha_seconds <= 0:
        raise ProfileError(f"decodeAlpha is {decode_alpha_seconds} s: a token takes some time, above 0")
    beyond_seconds = max(0.0, prefill_gamma_seconds - decode_alpha_seconds)
    return TokensProfile(
        iteration_seconds=decode_alpha_seconds,
        per_sequence_seconds=decode_beta_seconds,
        per_prefill_token_seconds=prefill_delta_seconds + beyond_seconds / max(1.0, input_mean or 1.0),
        max_batch=max_batch,
    )
