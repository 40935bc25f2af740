"""Latency profiles learned from what engines measure of themselves.

    windows ─▶ gate ─▶ fit with prior ─▶ parameters ─▶ hold out ─▶ error ─▶ Proposed | Used | Insufficient

One profile per variant and pool. Nothing is forgotten at once and nothing is believed at once: the variant's
own profile, or what the status says of an earlier life of the operator, is the prior; windows fade by 2
percent a minute; a profile that is out stays until a better one differs from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.learning.sample import EngineSample
from switchyard.core.learning.token_law import apply_parameters, list_parameters
from switchyard.core.learning.track import Outcome, Stored, learn_track
from switchyard.core.learning.windows import OLDEST_SECONDS, order_samples
from switchyard.core.placement.latency import TokensProfile

Track = tuple[str, str]  # variant and pool

HIGHEST_ERROR_RATIO = 0.20  # what the headroom of a learned profile covers
WITHDRAWAL_ERROR_RATIO = 0.30  # a profile that is out goes only past this
CHANGE_RATIO = 0.03  # a profile that says the same within this is not published anew
REFRESH_SECONDS = 3600.0
MESSAGE_SECONDS = 300.0  # a message about missing windows is not written every minute


@dataclass(frozen=True, slots=True)
class Memory:
    """What learning of one workload remembers between calls. A restart loses it: `stored` is its remains.

    `stored`: of each track what the status said when the first window of it came. It must not be read again
    later, as it would then count the same windows twice.
    """

    samples: tuple[EngineSample, ...] = ()
    stored: Mapping[Track, Stored | None] = field(default_factory=dict)


def remember(
    memory: Memory, samples: Sequence[EngineSample], published: Sequence[LearnedProfile], now: datetime
) -> Memory:
    """The memory with these windows, without those that have faded. `published`: what the status says now."""
    stored = dict(memory.stored)
    by_track = {
        (each.variant, each.pool): Stored(each.tokens, each.samples, each.learned_at)
        for each in published
        if each.tokens is not None
    }
    for sample in samples:
        track = (sample.variant, sample.pool)
        stored.setdefault(track, by_track.get(track))
    oldest = now - timedelta(seconds=OLDEST_SECONDS)
    kept = {each for each in (*memory.samples, *samples) if each.at > oldest}
    return Memory(tuple(order_samples(kept)), stored)


def learn_profiles(
    memory: Memory,
    given: Mapping[str, TokensProfile | None],
    published: Sequence[LearnedProfile],
    learning: Literal["off", "propose", "use"],
    now: datetime,
) -> tuple[LearnedProfile, ...]:
    """The learned profiles of one workload by variant and pool, for `World.learned` and its status.

    Where to call it: beside the reading of metrics, at most once a minute and off the event loop (tens of
    milliseconds per track), after `remember` has taken the new windows. `given`: every variant of the spec,
    with its tokens profile where it has one. `published`: what this function answered last; after a restart,
    what the status says. Placement takes those with state Used, as source `learned`, in place of the
    variant's own profile on that pool.

    The order of samples changes nothing. With `off` the answer is empty.
    """
    if learning == "off":
        return ()
    held = {(each.variant, each.pool): each for each in published}
    by_track: dict[Track, list[EngineSample]] = {track: [] for track in held}
    for sample in order_samples(memory.samples):
        by_track.setdefault((sample.variant, sample.pool), []).append(sample)
    learned = []
    for track, samples in sorted(by_track.items(), key=lambda item: item[0]):
        if track[0] not in given:
            continue
        outcome = learn_track(samples, given[track[0]], memory.stored.get(track), now)
        chosen = _publish(track, outcome, held.get(track), now)
        learned.append(_grant(chosen, learning))
    return tuple(learned)


def _publish(
    track: Track, outcome: Outcome, published: LearnedProfile | None, now: datetime
) -> LearnedProfile:
    """The new where it differs from what is out, else the old, so that nothing moves for noise."""
    was_out = published is not None and published.tokens is not None
    limit = WITHDRAWAL_ERROR_RATIO if was_out else HIGHEST_ERROR_RATIO
    if outcome.error_ratio is not None and outcome.error_ratio > limit:
        outcome = replace(
            outcome,
            tokens=None,
            message=f"{outcome.message} More than {limit:.0%} is too much to promise anything.",
            is_contradicted=True,
        )
    if outcome.tokens is not None:
        fresh = LearnedProfile(
            *track, outcome.tokens, outcome.samples, outcome.error_ratio, now, "Proposed", outcome.message
        )
        if published is None or published.tokens is None:
            return fresh
        age_seconds = (now - published.learned_at).total_seconds()
        if age_seconds >= REFRESH_SECONDS or _differ(
            published.tokens, outcome.tokens, outcome.largest_running
        ):
            return fresh
        return published
    if published is not None and was_out and not outcome.is_contradicted:
        held = published.message.partition(" Held: ")[0]
        return replace(published, message=f"{held} Held: {outcome.hold}.")
    fresh = LearnedProfile(*track, None, outcome.samples, None, now, "Insufficient", outcome.message)
    if published is None or published.tokens is not None:
        return fresh
    is_recent = (now - published.learned_at).total_seconds() < MESSAGE_SECONDS
    return published if is_recent or published.message == fresh.message else fresh


def _differ(old: TokensProfile, new: TokensProfile, largest_running: float) -> bool:
    """Whether the two say something else of an idle engine, a busy one, or a prompt."""
    if apply_parameters(old, list_parameters(new)) != new:
        return True  # a limit of the batch
    cached = 1000.0

    def tell(profile: TokensProfile) -> tuple[float, ...]:
        a, b, c, g = list_parameters(profile)
        busy = a + largest_running * (b + g * cached)
        return (a + b + g * cached, busy, busy + 1000 * c)

    return any(
        abs(later - earlier) > CHANGE_RATIO * earlier
        for earlier, later in zip(tell(old), tell(new), strict=True)
    )


def _grant(profile: LearnedProfile, learning: Literal["propose", "use"]) -> LearnedProfile:
    if profile.tokens is None:
        return profile
    return replace(profile, state="Used" if learning == "use" else "Proposed")
