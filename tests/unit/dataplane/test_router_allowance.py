"""The budget of bytes that are held for copies: never exceeded, and nothing stays behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from switchyard.dataplane.allowance import Budget
from switchyard.dataplane.exchange import BodyTap


def test_a_share_has_what_the_budget_has_left():
    budget = Budget(10)
    one, other = budget.open_share(), budget.open_share()
    assert one.take(6)
    assert not other.take(5)
    assert other.take(4)
    assert not one.take(1)
    one.release()
    assert other.take(6)


def test_a_released_share_gives_back_once_and_takes_no_more():
    budget = Budget(10)
    share = budget.open_share()
    assert share.take(4)
    share.release()
    share.release()
    assert budget.held_bytes == 0
    assert not share.take(1)


@given(
    st.integers(0, 100),
    st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 60))), max_size=60),
)
def test_whatever_is_taken_and_released_the_budget_knows_what_is_held(limit_bytes, steps):
    budget = Budget(limit_bytes)
    shares = [budget.open_share() for _ in range(4)]
    for number, size in steps:
        if size is None:
            shares[number].release()
            shares[number] = budget.open_share()
        else:
            shares[number].take(size)
        assert 0 <= budget.held_bytes == sum(share.held_bytes for share in shares) <= limit_bytes
    for share in shares:
        share.release()
    assert budget.held_bytes == 0


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(0, 100), st.integers(0, 100))
def test_a_tap_keeps_the_beginning_and_the_digest_of_all_within_limit_and_share(
    parts, limit_bytes, budget_bytes
):
    share = Budget(budget_bytes).open_share()
    tap, plain = BodyTap(limit_bytes, share), BodyTap(1 << 20)
    for part in parts:
        tap.feed(part)
        plain.feed(part)
    whole = b"".join(parts)
    body = tap.close()
    assert whole.startswith(body.prefix)
    assert len(body.prefix) == share.held_bytes <= min(limit_bytes, budget_bytes)
    assert body.is_complete == (body.prefix == whole)
    assert (body.length, body.digest) == (len(whole), plain.close().digest)
    if tap.is_starved:
        assert not body.is_complete
    elif len(whole) <= limit_bytes:
        assert body.is_complete
