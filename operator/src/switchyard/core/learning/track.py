"""One variant on one pool: from its windows to a tokens profile, or to what is missing for one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from switchyard.core.errors import ProfileError
from switchyard.core.learning.regression import Array, Fit, Mask, Prior
from switchyard.core.learning.sample import EngineSample
from switchyard.core.learning.token_law import (
    PARAMETERS,
    Seen,
    apply_parameters,
    fit_law,
    list_parameters,
    measure_error,
)
from switchyard.core.learning.windows import (
    KEPT_PER_MINUTE_RATIO,
    describe_refusal,
    read_first_token,
    read_iteration,
)
from switchyard.core.placement.latency import TokensProfile

LEAST_WINDOWS = 20  # faded windows count for less than one
MOST_REJECTED_RATIO = 0.30
GIVEN_PRIOR_WINDOWS = 10.0  # what the profile in the spec counts as
MOST_STORED_WINDOWS = 50.0  # what windows of every minute add up to as they fade
_CHANGED_WINDOWS = 15  # of the newest windows, nearly all off to one side: the engine is another one
_CHANGED_RATIO = 0.8
_CHANGED_PRIOR_WINDOWS = 2.0
_REACH = 2.0  # times the largest batch seen: past it nothing is claimed where no limit is known


@dataclass(frozen=True, slots=True)
class Stored:
    """What the status of an earlier life of the operator says."""

    tokens: TokensProfile
    samples: int
    learned_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """`tokens` None: `missing` says why. Contradicted: not for want of windows, but by them."""

    tokens: TokensProfile | None = None
    samples: int = 0
    error_ratio: float | None = None
    message: str = ""
    hold: str = ""  # why a profile that is out stays as it is
    is_contradicted: bool = False
    largest_running: float = 0.0


def learn_track(
    samples: Sequence[EngineSample],
    given: TokensProfile | None,
    stored: Stored | None,
    now: datetime,
) -> Outcome:
    refusals = [describe_refusal(sample) for sample in samples]
    usable = [sample for sample, refusal in zip(samples, refusals, strict=True) if not refusal]
    if len(usable) < LEAST_WINDOWS:
        return _lack_windows(len(usable), [refusal for refusal in refusals if refusal])
    prior = _choose_prior(given, stored, now)
    stored_windows = (
        prior.rows if prior and stored and prior.parameters == list_parameters(stored.tokens) else 0.0
    )
    base = _choose_limits(usable, given, stored)
    seen, fit = _fit_windows(usable, base, prior, now)
    since = _find_change(seen, fit.is_accepted, fit.residual_ratios)
    if since is not None:
        usable = usable[since:]
        if len(usable) < LEAST_WINDOWS:
            return _lack_windows(len(usable), [], f" since the engine changed at {usable[0].at:%H:%M} UTC")
        prior = Prior(prior.parameters, min(prior.rows, _CHANGED_PRIOR_WINDOWS)) if prior else None
        base = _choose_limits(usable, given, stored)
        seen, fit = _fit_windows(usable, base, prior, now)
    iterations = [
        (each.weight, bool(passed))
        for each, passed in zip(seen, fit.is_accepted, strict=True)
        if each.looseness == 1.0
    ]
    windows = sum(weight for weight, passed in iterations if passed)
    running = [sample.running for sample in usable]
    if not fit.is_free[1]:
        return Outcome(
            message=f"The load hardly varies ({min(running):.1f} to {max(running):.1f} requests running): "
            "how iterations grow with it can't be told. Wait for a busier or a quieter hour.",
            hold="the load hardly varies",
        )
    rejected_ratio = 1 - windows / sum(weight for weight, _ in iterations)
    if rejected_ratio > MOST_REJECTED_RATIO:
        return Outcome(
            message=f"{rejected_ratio:.0%} of {len(iterations)} windows do not follow one law of load (limit "
            f"{MOST_REJECTED_RATIO:.0%}): do all replicas run alike, on devices of their own?",
            is_contradicted=True,
        )
    error = measure_error(seen, prior, fit.is_accepted)
    try:
        tokens = apply_parameters(base, fit.parameters)
    except ProfileError as problem:
        return Outcome(message=f"The fit is none of an engine: {problem}.", is_contradicted=True)
    told = (
        f"off by {error:.1%} on windows held out, {min(running):.1f} to {max(running):.1f} requests running"
    )
    kept = [name for name, is_free in zip(PARAMETERS, fit.is_free, strict=True) if not is_free]
    if kept:
        origin = "as before" if prior else "0"
        told += f"; {' and '.join(kept)} {origin}, as the load does not tell"
    if not (given or stored):
        told += f"; batches past {base.max_batch} are not claimed, as no profile gives maxBatch"
    return Outcome(
        tokens=tokens,
        samples=round(min(windows + stored_windows, 1e6)),
        error_ratio=error,
        message=told[0].upper() + told[1:] + ".",
        largest_running=max(running),
    )


def _lack_windows(count: int, refusals: Sequence[str], since: str = "") -> Outcome:
    message = f"{count} of {LEAST_WINDOWS} windows{since}"
    if refusals:
        kinds = sorted(set(refusals))
        message += "; left out: " + ", ".join(f"{refusals.count(kind)} {kind}" for kind in kinds)
    return Outcome(message=f"{message}.", hold="too few windows")


def _choose_prior(given: TokensProfile | None, stored: Stored | None, now: datetime) -> Prior | None:
    """The stronger of the spec's profile and what was learned before a restart, faded since."""
    choices = []
    if stored is not None:
        minutes = max(0.0, (now - stored.learned_at).total_seconds() / 60)
        rows = min(float(stored.samples), MOST_STORED_WINDOWS) * KEPT_PER_MINUTE_RATIO**minutes
        choices.append(Prior(list_parameters(stored.tokens), rows))
    if given is not None:
        choices.append(Prior(list_parameters(given), GIVEN_PRIOR_WINDOWS))
    return max(choices, key=lambda each: each.rows, default=None)


def _choose_limits(
    samples: Sequence[EngineSample], given: TokensProfile | None, stored: Stored | None
) -> TokensProfile:
    """A profile with the limits of the batch; its times do not matter."""
    largest = max(sample.running for sample in samples)
    if given is not None:
        return replace(given, max_batch=max(given.max_batch, math.ceil(largest)))
    reach = math.ceil(_REACH * largest)
    if stored is not None:
        return replace(stored.tokens, max_batch=max(stored.tokens.max_batch, reach))
    return TokensProfile(1.0, 0.0, 0.0, max_batch=reach)


def _fit_windows(
    samples: Sequence[EngineSample], base: TokensProfile, prior: Prior | None, now: datetime
) -> tuple[list[Seen], Fit]:
    """The windows as observations by time, and their fit; the second of two, on smoothed iterations."""

    def read(smoothed: Mapping[int, float]) -> tuple[list[Seen], list[int]]:
        seen: list[Seen] = []
        owners: list[int] = []
        for number, sample in enumerate(samples):
            both = (
                read_iteration(sample, now, base, smoothed.get(number)),
                read_first_token(sample, now, base),
            )
            for each in both:
                if each is not None:
                    seen.append(each)
                    owners.append(number)
        return seen, owners

    seen, owners = read({})
    fit = fit_law(seen, prior)
    smoothed = {
        owner: each.seconds / max(1e-3, 1 + float(ratio))
        for each, owner, ratio in zip(seen, owners, fit.residual_ratios, strict=True)
        if each.looseness == 1.0
    }
    seen, _ = read(smoothed)
    return seen, fit_law(seen, prior)


def _find_change(seen: Sequence[Seen], accepted: Mask, ratios: Array) -> int | None:
    """The first window of another engine: from it on nearly all are rejected, to the same side."""
    sides = [
        0 if passed else (1 if ratio > 0 else -1)
        for each, passed, ratio in zip(seen, accepted, ratios, strict=True)
        if each.looseness == 1.0
    ]
    best, found = 0.0, None
    for side in (1, -1):
        score = 0.0
        for start in range(len(sides) - 1, -1, -1):
            score += 1.0 if sides[start] == side else -_CHANGED_RATIO / (1 - _CHANGED_RATIO)
            if score > best and len(sides) - start >= _CHANGED_WINDOWS:
                best, found = score, start
    return found
