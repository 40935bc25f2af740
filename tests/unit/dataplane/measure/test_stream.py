"""The stream meter sees the same events however the network cuts them up, and times the right ones."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.dataplane.measure.stream import StreamMeter, is_event_stream

TOKENS = [
    'data: {"choices":[{"delta":{"content":"Hel"}}]}',
    "data: x",
    "data:[DON",
    "data: [DONT]",
    "data:",
    "data: ",
    "event: delta\ndata: {}",
    'data: {"text":"say data: [DONE] aloud"}',
]
SILENT = [
    ": keep-alive",
    "event: ping",
    "id: 7",
    "retry: 10",
    "metadata: x",
    "data: [DONE]",
    "data:[DONE]",
    "",
]


def measure(pieces: list[bytes], *, is_stream: bool = True):
    meter = StreamMeter(100.0, is_stream)
    for second, piece in enumerate(pieces, start=1):
        meter.feed(piece, 100.0 + second)
    return meter.close(100.0 + len(pieces) + 1)


def cut(text: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


@given(
    blocks=st.lists(st.sampled_from([*TOKENS, *SILENT]), max_size=12),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    places=st.lists(st.integers(0, 2000), max_size=40),
)
def test_any_cutting_of_a_stream_gives_the_events_that_are_in_it(blocks, newline, places):
    text = "".join(block + "\n\n" for block in blocks).replace("\n", newline).encode()

    timing = measure(cut(text, places))

    expected = sum(block in TOKENS for block in blocks)
    assert (timing.output_tokens or 0) == expected
    assert (timing.tpot_seconds is not None) == (expected > 1)


@given(blocks=st.lists(st.sampled_from([*TOKENS, *SILENT]), max_size=6))
def test_a_stream_that_comes_byte_by_byte_is_counted_like_one_that_comes_whole(blocks):
    text = "".join(block + "\n\n" for block in blocks).encode()

    assert measure([bytes([byte]) for byte in text]).output_tokens == measure([text]).output_tokens


def test_the_first_event_ends_the_wait_and_not_the_comment_before_it():
    timing = measure([b": hold on\n\n", b"data: a\n\n", b"data: b\n\n", b"data: c\n\n", b"data: [DONE]\n\n"])

    assert timing.ttft_seconds == 2.0
    assert timing.tpot_seconds == 1.0, "from the second piece to the fourth, two tokens after the first"
    assert timing.output_tokens == 3
    assert timing.latency_seconds == 6.0


def test_the_closing_mark_ends_no_token_even_when_it_comes_in_two_parts():
    timing = measure([b"data: a\n\n", b"data: b\n\nda", b"ta: [DO", b"NE]\n\n"])

    assert timing.output_tokens == 2
    assert timing.tpot_seconds == 1.0


def test_an_event_counts_when_it_is_known_to_be_one_and_not_when_it_is_complete():
    timing = measure([b"data: {", b'"text":', b'"a"}\n\n'])

    assert timing.ttft_seconds == 1.0
    assert timing.output_tokens == 1
    assert timing.tpot_seconds is None


def test_tokens_that_come_at_once_have_no_time_between_them():
    timing = measure([b"data: a\n\ndata: b\n\ndata: c\n\n"])

    assert (timing.output_tokens, timing.tpot_seconds) == (3, 0.0)


@pytest.mark.parametrize(
    ("pieces", "is_stream", "ttft_seconds"),
    [
        ([b"data: a\n\n", b"data: b\n\n"], False, 1.0),
        ([b"", b"", b'{"a":1}', b"x"], False, 3.0),
        ([], False, None),
        ([b""], True, None),
        ([b"no event", b" at all"], True, 1.0),
        ([b"data: [DONE]\n\n"], True, 1.0),
        ([b"data: [DO"], True, 1.0),
    ],
    ids=["no stream", "empty pieces", "no body", "empty stream", "prose", "only the mark", "broken off mark"],
)
def test_an_answer_without_events_has_the_time_of_its_first_byte(pieces, is_stream, ttft_seconds):
    timing = measure(pieces, is_stream=is_stream)

    assert timing.ttft_seconds == ttft_seconds
    assert timing.tpot_seconds is None
    assert timing.output_tokens is None


def test_memory_does_not_grow_with_the_stream():
    meter = StreamMeter(0.0, True)
    for _ in range(100):
        meter.feed(b"x" * 65_536, 1.0)
        meter.feed(b"\ndata: [DON", 1.0)
        assert len(meter._open) <= 16


@pytest.mark.parametrize(
    ("content_type", "content_encoding", "expected"),
    [
        ("text/event-stream", "", True),
        ("Text/Event-Stream; charset=utf-8", "identity", True),
        ("text/event-stream", "gzip", False),
        ("text/event-stream2", "", False),
        ("application/json", "", False),
        ("", "", False),
    ],
)
def test_a_stream_is_told_by_its_type_and_must_be_readable(content_type, content_encoding, expected):
    assert is_event_stream(content_type, content_encoding) is expected
