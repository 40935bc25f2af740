"""Profiles learned from an engine's own figures, against a simulated engine whose parameters are known."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.engine_windows import START, Truth, record

from switchyard.core.learning.learn import Memory, learn_profiles, remember
from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.learning.sample import EngineSample
from switchyard.core.placement.latency import Objective, TokensProfile, Traffic, max_rate

TRUTH = Truth()
BUSY_DAY = [2 + 8 * abs(math.sin(i / 12)) for i in range(80)]
SIZES = (200.0, 500.0, 1200.0)


def learn(
    samples: list[EngineSample],
    *,
    given: TokensProfile | None = None,
    published: tuple[LearnedProfile, ...] = (),
    learning: str = "propose",
    memory: Memory | None = None,
) -> LearnedProfile:
    now = max(each.at for each in samples)
    memory = remember(memory or Memory(), samples, published, now)
    (learned,) = learn_profiles(memory, {"fp16": given}, published, learning, now)  # type: ignore[arg-type]
    return learned


def shift(samples: list[EngineSample], minutes: float) -> list[EngineSample]:
    return [replace(each, at=each.at + timedelta(minutes=minutes)) for each in samples]


@pytest.fixture(scope="module")
def busy_day() -> list[EngineSample]:
    return record(
        lambda _: TRUTH, BUSY_DAY, input_mean=lambda i: SIZES[i // 7 % 3], noise=0.1, window_seconds=20
    )


@pytest.fixture(scope="module")
def one_size() -> list[EngineSample]:
    return record(lambda _: TRUTH, BUSY_DAY, input_mean=500.0, noise=0.1, window_seconds=20)


def iteration_seconds(profile: TokensProfile, sequences: float, cached: float, prefill: float) -> float:
    return (
        profile.iteration_seconds
        + sequences * (profile.per_sequence_seconds + profile.per_cached_token_seconds * cached)
        + prefill * profile.per_prefill_token_seconds
    )


def test_the_parameters_of_a_simulated_engine_come_back_within_a_tenth(busy_day: list[EngineSample]) -> None:
    learned = learn(busy_day)
    assert learned.tokens is not None, learned.message
    assert learned.state == "Proposed"
    assert learned.tokens.iteration_seconds == pytest.approx(TRUTH.a, rel=0.10)
    assert learned.tokens.per_prefill_token_seconds == pytest.approx(TRUTH.c, rel=0.15)
    growth = learned.tokens.per_sequence_seconds + 600 * learned.tokens.per_cached_token_seconds
    assert growth == pytest.approx(TRUTH.b + 600 * TRUTH.g, rel=0.10)
    assert learned.relative_error is not None
    assert learned.relative_error < 0.05


def test_the_promised_rate_is_close_to_that_of_the_true_parameters(busy_day: list[EngineSample]) -> None:
    traffic, objectives = Traffic(500, 0.5, 150, 0.5), (Objective(95, 0.04, "tpot"),)
    limits = TokensProfile(1.0, 0.0, 0.0, max_batch=64)
    learned = learn(
        busy_day,
        given=replace(
            limits, iteration_seconds=0.008, per_sequence_seconds=2e-4, per_prefill_token_seconds=2e-5
        ),
    )
    true = TokensProfile(TRUTH.a, TRUTH.b, TRUTH.c, TRUTH.g, max_batch=64)
    assert learned.tokens is not None
    assert max_rate(learned.tokens, objectives, traffic=traffic).rate == pytest.approx(
        max_rate(true, objectives, traffic=traffic).rate, rel=0.10
    )


def test_requests_of_one_size_still_tell_prefill_from_decoding_by_their_first_token(
    one_size: list[EngineSample],
) -> None:
    learned = learn(one_size)
    assert learned.tokens is not None
    assert learned.tokens.per_prefill_token_seconds == pytest.approx(TRUTH.c, rel=0.15)
    assert "perCachedToken 0, as the load does not tell" in learned.message


def test_what_the_load_does_not_tell_stays_as_the_given_profile_has_it(one_size: list[EngineSample]) -> None:
    given_profile = TokensProfile(0.008, 0.0002, 2e-5, 2e-8, max_batch=64)
    learned = learn(one_size, given=given_profile)
    assert learned.tokens is not None
    assert learned.tokens.per_cached_token_seconds == given_profile.per_cached_token_seconds
    assert learned.tokens.max_batch == 64


def test_a_wrong_given_profile_is_overruled_by_an_hour_of_windows(busy_day: list[EngineSample]) -> None:
    learned = learn(busy_day, given=TokensProfile(0.016, 0.0004, 4e-5, 4e-8, max_batch=64))
    assert learned.tokens is not None
    told = iteration_seconds(learned.tokens, 20, 600, 100)
    assert told == pytest.approx(TRUTH.a + 20 * (TRUTH.b + 600 * TRUTH.g) + 100 * TRUTH.c, rel=0.10)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_windows_that_something_else_disturbed_are_left_out(
    busy_day: list[EngineSample], share: float
) -> None:
    source = random.Random(5)
    disturbed = [
        replace(each, inter_token_seconds=each.inter_token_seconds * source.choice((0.3, 3.0, 10.0)))
        if source.random() < share
        else each
        for each in busy_day
    ]
    learned = learn(disturbed)
    assert learned.tokens is not None, learned.message
    assert iteration_seconds(learned.tokens, 20, 600, 0) == pytest.approx(
        TRUTH.a + 20 * (TRUTH.b + 600 * TRUTH.g), rel=0.08
    )


def test_windows_that_follow_no_law_give_no_profile(busy_day: list[EngineSample]) -> None:
    source = random.Random(5)
    mixed = [
        replace(each, inter_token_seconds=each.inter_token_seconds * source.choice((1.0, 2.5)))
        for each in busy_day
    ]
    learned = learn(mixed)
    assert (learned.state, learned.tokens) == ("Insufficient", None)


def test_an_engine_that_changed_is_learned_anew_from_the_change_on() -> None:
    slower = Truth(a=0.016, b=0.0004, c=0.00004, g=4e-8)
    samples = record(
        lambda i: TRUTH if i < 120 else slower,
        [2 + 4 * abs(math.sin(i / 9)) for i in range(150)],
        input_mean=lambda i: SIZES[i // 7 % 3],
        window_seconds=20,
        noise=0.1,
    )
    learned = learn(samples)
    assert learned.tokens is not None, learned.message
    assert learned.tokens.iteration_seconds == pytest.approx(slower.a, rel=0.10)


def test_a_slow_drift_is_followed() -> None:
    samples = record(
        lambda i: Truth(a=0.008 * (1 + i / 1000), b=0.0002 * (1 + i / 1000)),
        [2 + 4 * abs(math.sin(i / 9)) for i in range(300)],
        window_seconds=20,
        noise=0.05,
    )
    spread = [replace(each, at=START + timedelta(minutes=i)) for i, each in enumerate(samples)]
    learned = learn(spread)
    assert learned.tokens is not None, learned.message
    assert learned.tokens.iteration_seconds == pytest.approx(0.0104, rel=0.10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_warm": False}, "not warm"),
        ({"running": 0.4}, "nearly idle"),
        ({"inter_token_seconds": 0.0}, "without figures"),
        ({"running": math.nan}, "without figures"),
        ({"request_rate": math.inf}, "without figures"),
    ],
)
def test_windows_that_can_teach_nothing_are_counted_by_their_reason(
    busy_day: list[EngineSample], change: dict[str, object], words: str
) -> None:
    learned = learn([replace(each, **change) for each in busy_day])  # type: ignore[arg-type]
    assert (learned.state, learned.tokens) == ("Insufficient", None)
    assert learned.message.startswith("0 of 20 windows")
    assert words in learned.message


def test_too_few_windows_are_insufficient(busy_day: list[EngineSample]) -> None:
    learned = learn(busy_day[:19])
    assert (learned.state, learned.tokens) == ("Insufficient", None)
    assert learned.message.startswith("18 of 20 windows")  # the first one warms up


def test_a_load_that_does_not_vary_is_insufficient(busy_day: list[EngineSample]) -> None:
    flat = [replace(busy_day[20], at=START + timedelta(minutes=i)) for i in range(60)]
    learned = learn(flat)
    assert learned.state == "Insufficient"
    assert "hardly varies" in learned.message


@given(order=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_the_order_of_samples_changes_nothing(order: random.Random) -> None:
    samples = record(lambda _: TRUTH, BUSY_DAY[:30], window_seconds=4, noise=0.1)
    shuffled = order.sample(samples, len(samples))
    assert learn(shuffled) == learn(samples)


def test_off_learns_nothing_and_use_marks_as_used(busy_day: list[EngineSample]) -> None:
    now = busy_day[-1].at
    memory = remember(Memory(), busy_day, (), now)
    assert learn_profiles(memory, {"fp16": None}, (), "off", now) == ()
    assert [each.state for each in learn_profiles(memory, {"fp16": None}, (), "use", now)] == ["Used"]


def test_a_variant_that_is_gone_is_not_learned(busy_day: list[EngineSample]) -> None:
    now = busy_day[-1].at
    memory = remember(Memory(), busy_day, (), now)
    assert learn_profiles(memory, {"int8": None}, (learn(busy_day),), "use", now) == ()


def test_more_of_the_same_publishes_nothing_new(busy_day: list[EngineSample]) -> None:
    first = learn(busy_day)
    memory = remember(Memory(), busy_day, (), busy_day[-1].at)
    more = [replace(busy_day[-1], at=busy_day[-1].at + timedelta(seconds=20 * i)) for i in range(1, 4)]
    assert learn(more, published=(first,), memory=memory) == first


def test_a_restart_keeps_the_profile_until_windows_suffice(busy_day: list[EngineSample]) -> None:
    before = learn(busy_day, learning="use")
    after = learn(shift(busy_day[:10], 40), published=(before,), learning="use")
    assert after.tokens == before.tokens
    assert after.state == "Used"
    assert after.message.endswith("Held: too few windows.")
    again = learn(shift(busy_day[:11], 40), published=(after,), learning="use")
    assert again == after


def test_after_a_restart_the_stored_profile_is_the_prior(one_size: list[EngineSample]) -> None:
    mixed = record(
        lambda _: TRUTH, BUSY_DAY, input_mean=lambda i: SIZES[i // 7 % 3], window_seconds=20, seed=9
    )
    before = learn(mixed)
    assert before.tokens is not None
    assert before.tokens.per_cached_token_seconds > 0
    after = learn(shift(one_size, 60), published=(before,))
    assert after.tokens is not None
    assert after.tokens.per_cached_token_seconds == before.tokens.per_cached_token_seconds
    assert after.samples > learn(one_size).samples


def test_windows_are_not_counted_twice_through_the_status(busy_day: list[EngineSample]) -> None:
    now = busy_day[-1].at
    memory = remember(Memory(), busy_day, (), now)
    once = learn_profiles(memory, {"fp16": None}, (), "propose", now)
    later = remember(memory, busy_day, once, now)
    assert later == memory


def test_a_profile_is_withdrawn_when_windows_contradict_it(busy_day: list[EngineSample]) -> None:
    before = learn(busy_day, learning="use")
    source = random.Random(5)
    mixed = [
        replace(each, inter_token_seconds=each.inter_token_seconds * source.choice((1.0, 4.0)))
        for each in busy_day
    ]
    after = learn(shift(mixed, 60), published=(before,), learning="use")
    assert (after.state, after.tokens) == ("Insufficient", None)


@given(
    running=st.lists(st.floats(0, 300), min_size=0, max_size=60),
    scale=st.floats(1e-5, 10),
    data=st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_whatever_an_engine_says_the_answer_is_a_sound_profile_or_a_sentence(
    running: list[float], scale: float, data: random.Random
) -> None:
    samples = [
        EngineSample(
            START + timedelta(minutes=i), "fp16", "l4", n, scale * data.random(),
            data.choice((None, data.random())), data.random() * 20, data.choice((None, data.random() * 4000)),
            data.choice((None, data.random() * 500)), data.choice((None, data.random() * 1e6)), data.random() < 0.9,
        )
        for i, n in enumerate(running)
    ]  # fmt: skip
    now = START + timedelta(hours=1)
    for learned in learn_profiles(remember(Memory(), samples, (), now), {"fp16": None}, (), "use", now):
        assert learned.message.endswith((".", "?"))
        assert (learned.tokens is None) == (learned.state == "Insufficient")
