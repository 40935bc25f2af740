"""Which backends get a copy, with the user's answer at hand and without."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.core.routing.document import Shadow
from switchyard.core.routing.matching import plan_copies
from switchyard.dataplane.replay import restore_host

percents = st.floats(0, 100)
ids = st.text(min_size=1, max_size=20)


@given(replay_percent=percents, noise_percent=percents, request_id=ids, is_answer_seen=st.booleans())
def test_the_candidate_always_gets_one_and_noise_needs_an_answer_to_compare_with(
    *, replay_percent: float, noise_percent: float, request_id: str, is_answer_seen: bool
) -> None:
    shadow = Shadow(replay_percent=replay_percent, noise_percent=noise_percent)
    plan = plan_copies(shadow, request_id, is_answer_seen=is_answer_seen)
    assert plan == plan_copies(shadow, request_id, is_answer_seen=is_answer_seen)
    assert plan[0] == "candidate"
    assert len(set(plan)) == len(plan)
    assert not (is_answer_seen and "baseline" in plan)
    assert is_answer_seen or "noise" not in plan or "baseline" in plan


@given(lower=percents, upper=percents, request_id=ids, is_answer_seen=st.booleans())
def test_a_share_that_grows_takes_nobody_out(
    *, lower: float, upper: float, request_id: str, is_answer_seen: bool
) -> None:
    lower, upper = sorted((lower, upper))
    few, many = (
        set(
            plan_copies(
                Shadow(replay_percent=each, noise_percent=each), request_id, is_answer_seen=is_answer_seen
            )
        )
        for each in (lower, upper)
    )
    assert few <= many


@pytest.mark.parametrize(
    ("replay_percent", "noise_percent", "is_answer_seen", "baselines", "noises"),
    [
        (0, 100, False, 0.0, 0.0),
        (100, 0, False, 1.0, 0.0),
        (30, 50, False, 0.3, 0.15),
        (30, 20, True, 0.0, 0.2),
    ],
)
def test_shares_are_those_of_the_document(
    *, replay_percent: float, noise_percent: float, is_answer_seen: bool, baselines: float, noises: float
) -> None:
    shadow = Shadow(replay_percent=replay_percent, noise_percent=noise_percent)
    count = 10_000
    plans = [plan_copies(shadow, f"id-{n}", is_answer_seen=is_answer_seen) for n in range(count)]
    for arm, share in (("baseline", baselines), ("noise", noises)):
        found = sum(arm in plan for plan in plans) / count
        assert abs(found - share) <= 5 * math.sqrt(share * (1 - share) / count)


@pytest.mark.parametrize(
    ("host", "restored"),
    [
        (b"chat.shop-shadow", b"chat.shop"),
        (b"chat.shop-shadow:8080", b"chat.shop:8080"),
        (b"chat-shadow.shop", b"chat-shadow.shop"),
        (b"a-shadow-shadow", b"a-shadow"),
        (b"chat.shop:80", b"chat.shop:80"),
        (b"-shadow", b"-shadow"),
        (b"[::1]-shadow:80", b"[::1]:80"),
        (b"", b""),
    ],
)
def test_the_mark_of_a_mirrored_host_is_taken_off_once(host: bytes, restored: bytes) -> None:
    fields = ((b"Accept", b"x-shadow"), (b"hOST", host))
    assert restore_host(fields) == ((b"Accept", b"x-shadow"), (b"hOST", restored))
