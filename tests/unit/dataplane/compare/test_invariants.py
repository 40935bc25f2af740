"""What holds for every comparator and any two answers, however hostile."""

from __future__ import annotations

import gzip
import json
import math
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dataplane.compare.answers import answer, chunk, comparator, events

from switchyard.dataplane.compare.port import Comparator, Score
from switchyard.dataplane.compare.registry import COMPARATORS
from switchyard.dataplane.exchange import FAILURES, Answer

CONFIGURED = {
    **{kind: comparator(kind) for kind in COMPARATORS},
    "json, lists unordered": comparator("json", unorderedLists=True, numericTolerance=0.1),
    "json, paths ignored": comparator("json", ignoredPaths=["/a", "/*/b"], unorderedLists=["/c", "/*"]),
    "text, normalised": comparator("text", ignoreCase=True, ignoreWhitespace=True),
    "text, at a pointer": comparator("text", pointer="/a"),
    "tokens, by position": comparator("tokens", mode="positional"),
    "embedding, mean at a pointer": comparator("embedding", pointer="/*", combine="mean"),
    "topk, by rank": comparator("topk", byRank=True, pointer="/*", tieTolerance=0.5),
}
every_comparator = pytest.mark.parametrize("judge", CONFIGURED.values(), ids=CONFIGURED.keys())

names = st.sampled_from(["a", "b", "c", "label", "score", "embedding", "data", "choices", "text", "delta"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**400, max_value=10**450),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["AACAPw==", "a", ""]),
)
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(names, st.text(max_size=3)), inner, max_size=4),
        st.lists(st.floats(allow_nan=True), max_size=4),
    ),
    max_leaves=12,
)
chunks = st.builds(chunk, st.one_of(st.none(), st.text(max_size=6)), st.sampled_from([None, "stop"]))
streams = st.lists(st.one_of(chunks, documents, st.just("[DONE]")), max_size=5).map(
    lambda all_: events(*all_)
)
vectors = st.lists(st.one_of(st.integers(-2, 2), st.floats()), min_size=1, max_size=3)
embeddings = st.lists(vectors, min_size=1, max_size=3).map(
    lambda rows: {"data": [{"embedding": row} for row in rows]}
)
labels = st.lists(
    st.fixed_dictionaries(
        {"label": st.sampled_from("abcdefg"), "score": st.one_of(st.integers(0, 3), st.floats())}
    ),
    min_size=1,
    max_size=6,
)
completions = st.lists(st.sampled_from(["", "a", "a b", "a c", "b c a"]), min_size=1, max_size=3).map(
    lambda texts: {"choices": [{"text": text, "finish_reason": "stop"} for text in texts]}
)
contents = st.one_of(
    st.binary(max_size=64),
    st.one_of(documents, embeddings, labels, completions).map(lambda document: json.dumps(document).encode()),
    streams,
)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    content = draw(contents)
    coding = draw(st.sampled_from(["", "", "", "gzip", "deflate", "gzip, deflate", "br", ",,", "identity"]))
    if coding == "gzip" and draw(st.booleans()):
        content = gzip.compress(content)
    if coding == "deflate" and draw(st.booleans()):
        content = zlib.compress(content)
    return answer(
        content,
        status=draw(st.sampled_from([200, 200, 200, 404])),
        failure=draw(st.sampled_from(["", "", "", "", *FAILURES, "cancelled"])),
        kept_bytes=draw(st.sampled_from([1 << 20, 1 << 20, 0, 7])),
        content_encoding=coding,
        content_type=draw(st.sampled_from(["application/json", "text/event-stream", ""])),
    )


def assert_sound(score: Score) -> None:
    assert math.isfinite(score.value)
    assert 0 <= score.value <= 1
    assert score.is_comparable or score.value == 0
    assert score.detail.isascii()
    assert len(score.detail) < 300


@given(baseline=answers(), candidate=answers())
def test_any_two_answers_have_a_score_whichever_side_is_which(baseline, candidate):
    for name, judge in CONFIGURED.items():
        score = judge.compare(baseline, candidate)
        assert_sound(score)
        turned = judge.compare(candidate, baseline)
        assert turned.value == pytest.approx(score.value), name
        assert turned.is_comparable == score.is_comparable, name


@given(good=answers())
def test_a_good_answer_equals_itself(good):
    for name, judge in CONFIGURED.items():
        score = judge.compare(good, good)
        assert (not score.is_comparable) if good.failure else score.value == 1.0, name


@given(content=contents)
def test_a_reading_equals_itself_when_the_bytes_are_others(content):
    """The same content in another coding has other bytes, so that both are read and scored in full."""
    plain, packed = answer(content), answer(gzip.compress(content), content_encoding="gzip")
    for name, judge in CONFIGURED.items():
        score = judge.compare(plain, packed)
        assert score.value == (1.0 if score.is_comparable else 0.0), name


@given(baseline=contents, candidate=contents)
def test_a_failed_candidate_never_equals_a_good_baseline(baseline, candidate):
    for name, judge in CONFIGURED.items():
        for failure in FAILURES:
            score = judge.compare(answer(baseline), answer(candidate, failure=failure))
            assert (score.value, score.is_comparable) == (0.0, True), name


@every_comparator
@settings(max_examples=10)
@given(number=st.integers(min_value=10**11, max_value=10**12))
def test_no_detail_holds_what_was_written(judge, number):
    said = f"secret{number}"
    bodies = [
        said.encode(),
        json.dumps({"a": said, "choices": [{"text": said}]}).encode(),
        events(chunk(said)),
    ]
    for body in bodies:
        for other in (b"{}", b'{"a": "b", "choices": [{"text": "c"}]}', events(chunk("d")), b"[1, 2]"):
            assert str(number) not in judge.compare(answer(body), answer(other)).detail


@given(document=documents)
def test_json_equals_itself_in_another_layout(document):
    compact = json.dumps(document, separators=(",", ":")).encode()
    spread = json.dumps(document, indent=2, sort_keys=True).encode()
    assert comparator("json").compare(answer(compact), answer(spread)).value == 1.0


@given(elements=st.lists(documents, max_size=6), seed=st.randoms())
def test_an_unordered_list_equals_itself_in_any_order(elements, seed):
    shuffled = list(elements)
    seed.shuffle(shuffled)
    judge = comparator("json", unorderedLists=True)
    assert judge.compare(answer(elements), answer(shuffled)).value == 1.0


@given(texts=st.tuples(st.text(), st.text()))
def test_positions_agree_at_least_where_the_prefix_does(texts):
    one, other = ({"choices": [{"text": text}]} for text in texts)
    leading = comparator("tokens").compare(answer(one), answer(other))
    placed = comparator("tokens", mode="positional").compare(answer(one), answer(other))
    assert placed.value >= leading.value


@given(
    vector=st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=8),
    factor=st.floats(min_value=1e-3, max_value=1e3),
)
def test_scaling_a_vector_does_not_turn_it(vector, factor):
    longer = [number * factor for number in vector]
    score = comparator("embedding").compare(answer({"embedding": vector}), answer({"embedding": longer}))
    if any(abs(number) > 1e-290 for number in vector):
        assert score.value == pytest.approx(1.0)


MIB = 1 << 20
PART = MIB // 4  # where the whole only makes the test longer
HOSTILE = {
    "a MiB of opening brackets": b"[" * MIB,
    "a MiB of opening braces": b'{"a":' * (MIB // 5),
    "lists within lists to the edge of what is read": b"[" * 60 + b"[1]," * 9999 + b"2" + b"]" * 60,
    "a list of lists of one": b"[" + b"[[[[1]]]]," * 12_000 + b"1]",
    "an object of many members": json.dumps({str(number): number for number in range(20_000)}).encode(),
    "one name many times": b"{" + b'"a":1,' * 40_000 + b'"a":2}',
    "an int of a million digits": b"[" + b"9" * (MIB - 2) + b"]",
    "ints of many digits": b"[" + b",".join([b"9" * 399] * (PART // 400)) + b"]",
    "numbers": b"[" + b",".join(b"%d" % (number * 7919 % 9973) for number in range(40_000)) + b"]",
    "labels": json.dumps([{"label": number, "score": number % 2} for number in range(20_000)]).encode(),
    "a MiB of one letter": b"a" * MIB,
    "a MiB of blanks": b" " * MIB,
    "backslashes in a string": b'"' + b"\\" * (MIB - 2) + b'"',
    "a text of many words": json.dumps({"choices": [{"text": "a b " * (PART // 4)}]}).encode(),
    "empty events": b"data:\n\n" * (PART // 7),
    "one event of many lines": b"data:x\n" * (PART // 7),
    "carriage returns": b"data: 1" + b"\r" * MIB,
    "events of one letter": events(*[chunk("a")] * 2500),
    "many choices": json.dumps({"choices": [{"index": n, "text": "a"} for n in range(9000)]}).encode(),
    "vectors of one": json.dumps({"embeddings": [[number] for number in range(1, 4000)]}).encode(),
    "bytes that are no UTF-8": b"\xff" * PART,
}


@pytest.mark.timeout(60)
@every_comparator
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_ends_in_a_score(judge: Comparator, content):
    """Each costs a fraction of a second; work that grew with the square of a MiB would not end in a minute."""
    other = content[: len(content) // 2] + b"b" + content[len(content) // 2 + 1 :]
    assert_sound(judge.compare(answer(content), answer(other)))
    assert_sound(judge.compare(answer(content), answer(b" " + content[:-1])))
    assert_sound(judge.compare(answer(b'{"embedding": [1], "choices": [{"text": "a"}]}'), answer(content)))


BOMB = gzip.compress(bytes(256 * MIB), compresslevel=1)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "content",
    [BOMB[:MIB], gzip.compress(b"") * (MIB // 20), gzip.compress(BOMB)],
    ids=["a bomb", "members of nothing", "a bomb within"],
)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip", ", ".join(["gzip"] * 1000)], ids=len)
def test_a_bomb_is_not_let_off(coding, content):
    for judge in CONFIGURED.values():
        score = judge.compare(answer(b"[1]"), answer(content, content_encoding=coding))
        assert_sound(score)
        assert score.value == 0.0
