"""Pairs of answers with the scores that each comparator is expected to give them."""

from __future__ import annotations

import base64
import gzip
import zlib
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.unit.dataplane.compare.answers import answer, chunk, comparator, completion, events

from switchyard.dataplane.exchange import Answer, Body


class Case(NamedTuple):
    says: str
    options: dict[str, Any]
    baseline: Answer
    candidate: Answer
    expected: float | None  # None: the two can't be judged
    detail: str = ""


def table(*cases: Case) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.says for case in cases])


def judge(kind: str, case: Case) -> None:
    score = comparator(kind, **case.options).compare(case.baseline, case.candidate)
    assert score.is_comparable == (case.expected is not None), score
    assert score.value == pytest.approx(case.expected or 0.0, abs=5e-5), score
    assert case.detail in score.detail


def embedded(*vectors: Any) -> dict[str, Any]:
    return {"data": [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]}


def packed(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()


def labels(**scores: float) -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in scores.items()]


NAN = float("nan")
LONG = b"x" * 4096


@table(
    Case("equal bytes score 1", {}, answer(b"abc"), answer(b"abc"), 1.0),
    Case("one byte makes a difference", {}, answer(b"abc"), answer(b"abd"), 0.0, "byte 2 of 3 and 3"),
    Case("a prefix is not equal", {}, answer(b"abc"), answer(b"abcd"), 0.0, "byte 3 of 3 and 4"),
    Case("two empty bodies are equal", {}, answer(), answer(), 1.0),
    Case("another status is a difference", {}, answer(b"a"), answer(b"a", status=404), 0.0, "200 and 404"),
    Case("a failed candidate scores 0", {}, answer(b"a"), answer(failure="timeout"), 0.0, "candidate failed"),
    Case("a failed baseline scores 0", {}, answer(failure="reset"), answer(b"a"), 0.0, "baseline failed"),
    Case("two failures say nothing", {}, answer(failure="reset"), answer(failure="timeout"), None),
    Case("a caller that left says nothing", {}, answer(b"a"), answer(failure="cancelled"), None),
    Case("long bodies are equal by digest", {}, answer(LONG, kept_bytes=8), answer(LONG, kept_bytes=8), 1.0),
    Case(
        "long bodies differ by digest though what was kept is equal",
        {},
        answer(LONG + b"a", kept_bytes=8),
        answer(LONG + b"b", kept_bytes=8),
        0.0,
    ),
    Case(
        "bodies kept to different lengths are equal by digest",
        {},
        answer(LONG, kept_bytes=8),
        answer(LONG),
        1.0,
    ),
    Case(
        "without a digest the length still tells",
        {},
        Answer(200, body=Body(b"x" * 8, 4096, is_complete=False)),
        Answer(200, body=Body(b"x" * 8, 4097, is_complete=False)),
        0.0,
    ),
    Case(
        "without a digest the same length and beginning say nothing",
        {},
        Answer(200, body=Body(b"x" * 8, 4096, is_complete=False)),
        Answer(200, body=Body(b"x" * 8, 4096, is_complete=False)),
        None,
    ),
    Case(
        "a coded and a plain body are equal by content",
        {},
        answer(gzip.compress(b"abc"), content_encoding="gzip"),
        answer(b"abc"),
        1.0,
    ),
    Case(
        "gzip and deflate of one content are equal",
        {},
        answer(gzip.compress(b"abc") + gzip.compress(b"def"), content_encoding="x-gzip"),
        answer(zlib.compress(b"abcdef"), content_encoding="Deflate"),
        1.0,
    ),
    Case(
        "deflate without zlib's frame is read too",
        {},
        answer(zlib.compress(b"abc", wbits=-15), content_encoding="deflate"),
        answer(b"abc"),
        1.0,
    ),
    Case(
        "two codings are undone in the order of their application",
        {},
        answer(gzip.compress(zlib.compress(b"abc")), content_encoding="deflate, gzip"),
        answer(b"abc"),
        1.0,
    ),
    Case(
        "a broken coding differs from what can be read",
        {},
        answer(b"abc"),
        answer(gzip.compress(b"abc")[:-4], content_encoding="gzip"),
        0.0,
        "ends before its content coding",
    ),
    Case(
        "an unknown coding can't be judged", {}, answer(b"abc"), answer(b"abc", content_encoding="br"), None
    ),
    Case(
        "what decodes to more than the bound can't be judged",
        {},
        answer(b"abc"),
        answer(gzip.compress(bytes(64 << 20)), content_encoding="gzip"),
        None,
        "decodes to more than",
    ),
    Case(
        "more gzip members than the bound can't be judged",
        {},
        answer(b"abc"),
        answer(gzip.compress(b"") * 99 + gzip.compress(b"abc"), content_encoding="gzip"),
        None,
        "more than 64 gzip members",
    ),
    Case(
        "a coded body of which a part was kept can't be judged",
        {},
        answer(gzip.compress(b"abc"), content_encoding="gzip", kept_bytes=8),
        answer(gzip.compress(b"abd"), content_encoding="gzip", kept_bytes=8),
        None,
        "only 8 were kept",
    ),
)
def test_exact(case):
    judge("exact", case)


@table(
    Case("order of members and white space say nothing", {}, answer(b'{"a":1,"b":[2]}'), answer(b'{ "b": [2], "a": 1 }'), 1.0),
    Case("one of four values differs", {}, answer([1, 2, 3, 4]), answer([1, 2, 3, 5]), 0.75, "at /3"),
    Case("a member that one side lacks counts", {}, answer({"a": 1, "b": 2}), answer({"a": 1}), 0.5, "at /b"),
    Case("a subtree that one side lacks counts with all in it", {}, answer({"a": 1}), answer({"a": 1, "b": {"c": [2, 3], "d": {}}}), 0.25, "at /b"),
    Case("a longer list counts by its length", {}, answer([1]), answer([1, 2]), 0.5, "at /1"),
    Case("nothing is equal to a value of another type", {}, answer([1, "1"]), answer(["1", 1]), 0.0, "0 of 2"),
    Case("true is not 1", {}, answer([True, 1]), answer([1, 1]), 0.5, "at /0"),
    Case("1 and 1.0 are one number", {}, answer(b"[1]"), answer(b"[1.0]"), 1.0),
    Case("an empty list is not an empty object", {}, answer({"a": []}), answer({"a": {}}), 0.0, "at /a"),
    Case("numbers differ without a tolerance", {}, answer([1.0]), answer([1.0000001]), 0.0),
    Case("one tolerance serves for small and large numbers", {"numericTolerance": 0.01}, answer([0.0, 100]), answer([0.005, 100.9]), 1.0),
    Case("a relative tolerance grants nothing near 0", {"numericTolerance": {"relative": 0.01}}, answer([0.0, 100]), answer([0.005, 100.9]), 0.5, "at /0"),
    Case("an absolute tolerance is narrow for large numbers", {"numericTolerance": {"absolute": 0.01}}, answer([0.0, 100]), answer([0.005, 100.9]), 0.5, "at /1"),
    Case("NaN equals NaN, and no number", {"numericTolerance": 0.1}, answer([NAN, NAN]), answer([NAN, 1]), 0.5, "at /1"),
    Case("infinities of one sign are equal", {"numericTolerance": 0.1}, answer(b"[Infinity, -Infinity]"), answer(b"[Infinity,Infinity]"), 0.5, "at /1"),
    Case("numbers beyond 2^53 are told apart", {}, answer(b"[9007199254740993]"), answer(b"[9007199254740992]"), 0.0),
    Case("numbers beyond a double are told apart", {"numericTolerance": 0.1}, answer(b"[1e400,1e400]"), answer(b"[1e400, 1e500]"), 0.5),
    Case("ints of thousands of digits are read", {}, answer(b"[" + b"7" * 9000 + b",1]"), answer(b"[" + b"7" * 9000 + b",2]"), 0.5),
    Case("ints beyond a double are read", {"numericTolerance": 0.1}, answer(b"[1" + b"0" * 350 + b",1]"), answer(b"[1" + b"0" * 350 + b",2]"), 0.5),
    Case("a repeated name is compared value by value", {}, answer(b'{"a":1,"a":2,"b":3}'), answer(b'{"a":2,"a":2,"b":3}'), 2 / 3, "at /a/0"),
    Case("a repeated name is not the last of its values", {}, answer(b'{"a":1,"a":2}'), answer(b'{"a":2}'), 0.0),
    Case("an ignored path says nothing", {"ignoredPaths": ["/id", "/usage"]}, answer({"id": 1, "a": 1, "usage": {"n": 1}}), answer({"id": 2, "a": 1}), 1.0),
    Case("an ignored path holds at its own place only", {"ignoredPaths": ["/id"]}, answer({"x": {"id": 1}}), answer({"x": {"id": 2}}), 0.0, "at /x/id"),
    Case("a star stands for any element", {"ignoredPaths": ["/data/*/id"]}, answer({"data": [{"id": 1, "v": 1}, {"id": 2, "v": 2}]}), answer({"data": [{"id": 3, "v": 1}, {"id": 4, "v": 2}]}), 1.0),
    Case("escapes of pointers are undone", {"ignoredPaths": ["/a~1b/c~0d"]}, answer({"a/b": {"c~d": 1, "e": 1}}), answer({"a/b": {"c~d": 2, "e": 1}}), 1.0),
    Case("paths in details are escaped", {}, answer({"a/b": {"~é": 1}}), answer({"a/b": {"~é": 2}}), 0.0, "at /a~1b/~0\\xe9"),
    Case("lists have an order", {}, answer([1, 2]), answer([2, 1]), 0.0),
    Case("unordered lists have none", {"unorderedLists": True}, answer([1, [2, 3], "a"]), answer(["a", [3, 2], 1]), 1.0),
    Case("only the lists named are unordered", {"unorderedLists": ["/tags"]}, answer({"tags": ["a", "b"], "rank": [1, 2]}), answer({"tags": ["b", "a"], "rank": [2, 1]}), 0.5, "at /rank/0"),
    Case("unordered elements count as often as they occur", {"unorderedLists": True}, answer([1, 1, 2]), answer([1, 2, 2]), 2 / 3),
    Case("unordered numbers are matched within the tolerance", {"unorderedLists": True, "numericTolerance": 0.01}, answer([1, 2, 3]), answer([3.001, 2.001]), 2 / 3),
    Case("unordered numbers are matched from either side", {"unorderedLists": True, "numericTolerance": 0.01}, answer([3.001, 2.001]), answer([1, 2, 3]), 2 / 3),
    Case("unordered lists within lists are matched by what they hold", {"unorderedLists": True}, answer([["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"], ["i", "j"]]), answer([["j", "i"], ["h", "g"], ["f", "e"], ["d", "c"], ["b", "a"]]), 1.0),
    Case("the first difference is that of the baseline's order", {"unorderedLists": True}, answer(["p", "q", "r", "s", "t", "m"]), answer(["m", "1", "2", "3", "4", "5"]), 1 / 6, "at /0"),
    Case("unordered objects are matched like with like", {"unorderedLists": True, "numericTolerance": {"absolute": 0.01}}, answer(labels(cat=0.5, dog=0.3, cow=0.2)), answer(labels(cow=0.205, cat=0.499, dog=0.2)), 5 / 6, "at /1/score"),
    Case("ignored members do not hinder the matching", {"unorderedLists": True, "ignoredPaths": ["/*/id"]}, answer([{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]), answer([{"id": 3, "v": "b"}, {"id": 4, "v": "a"}]), 1.0),
    Case("unordered lists of lists are matched at every level", {"unorderedLists": True}, answer([[[1, 2], [3]], [[4]]]), answer([[[4]], [[3], [2, 1]]]), 1.0),
    Case("what is not JSON differs from JSON", {}, answer([1]), answer(b"<html>"), 0.0, "candidate: not JSON"),
    Case("two texts that are not JSON can't be judged", {}, answer(b"<p>"), answer(b"<b>"), None, "baseline: not JSON"),
    Case("a document too deep differs from one that is not", {}, answer([1]), answer(b"[" * 100 + b"]" * 100), 0.0, "deeper than 64"),
    Case("documents too deep can't be judged", {}, answer(b"[" * 100 + b"1" + b"]" * 100), answer(b"[" * 100 + b"]" * 100), None),
    Case("a body of which a part was kept can't be judged", {}, answer([1] * 99, kept_bytes=8), answer([1, 2]), None),
    Case("UTF-8 is read with a byte order mark and without", {}, answer(b"\xef\xbb\xbf[1]"), answer(b"[1]"), 1.0),
)  # fmt: skip
def test_json(case):
    judge("json", case)


@table(
    Case("a completion is compared, not its id", {}, answer(completion("abc")), answer({"id": 9, "choices": [{"text": "abc"}]}), 1.0),
    Case("a chat completion says what a completion says", {}, answer(completion("abc")), answer({"choices": [{"message": {"content": "abc"}}]}), 1.0),
    Case("a stream says what its chunks say together", {}, answer(completion("abc")), answer(events(chunk("a"), chunk("bc"), "[DONE]")), 1.0),
    Case("one letter of four", {}, answer(completion("abcd")), answer(completion("abcx")), 0.75),
    Case("any other body is a text as a whole", {}, answer(b"abcd"), answer(b"abcx"), 0.75),
    Case("nothing in common", {}, answer(b"abc"), answer(b"xyz"), 0.0),
    Case("a text and none", {}, answer(b"abc"), answer(b""), 0.0),
    Case("case counts", {}, answer(b"ABC"), answer(b"abc"), 0.0),
    Case("case does not count when ignored", {"ignoreCase": True}, answer(b"STRASSE"), answer("straße".encode()), 1.0),
    Case("white space counts", {}, answer(b"a b"), answer(b"a  b"), 6 / 7),
    Case("white space does not count when ignored", {"ignoreWhitespace": True}, answer(b"a b"), answer(b" a\n\tb\n"), 1.0),
    Case("two texts of nothing but white space are equal without it", {"ignoreWhitespace": True}, answer(b" "), answer(b"\n\n"), 1.0),
    Case("a pointer finds the text", {"pointer": "/outputs/*/generated"}, answer({"outputs": [{"generated": "ab"}, {"generated": "cd"}], "ms": 1}), answer({"outputs": [{"generated": "ab"}, {"generated": "cd"}], "ms": 2}), 1.0),
    Case("a pointer that finds text on one side only is a difference", {"pointer": "/t"}, answer({"t": "a"}), answer({"u": "a"}), 0.0, "candidate: no text"),
    Case("a pointer that finds no text at all can't be judged", {"pointer": "/t"}, answer({"u": "b"}), answer({"u": "a"}), None),
    Case("calls of tools are part of what was said", {}, answer({"choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "123"}}]}}]}), answer({"choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "124"}}]}}]}), 0.75),
    Case("a text beyond the bound can't be judged", {"maxChars": 10}, answer(b"a" * 11), answer(b"a" * 9), None),
    Case("long texts are compared in blocks", {}, answer(b"ab" * 10_000), answer(b"ab" * 5_000 + b"ac" * 5_000), 0.75, "3 blocks"),
    Case("bytes that are not UTF-8 are told apart", {}, answer(b"a\xff"), answer(b"a\xfe"), 0.8),
)  # fmt: skip
def test_text(case):
    judge("text", case)


FOUR = [chunk("The"), chunk(" cat"), chunk(" sat"), chunk(".")]
END = [chunk(None, "stop"), "[DONE]"]


def logged(*tokens: str) -> dict[str, Any]:
    choice = {"text": "".join(tokens), "logprobs": {"tokens": list(tokens)}, "finish_reason": "stop"}
    return {"choices": [choice]}


@table(
    Case("the same tokens with another id", {}, answer(events(*FOUR, *END)), answer(events({"id": "x", "choices": []}, *FOUR, *END)), 1.0),
    Case("the first three of four agree", {}, answer(completion("The cat sat.")), answer(completion("The cat sat!")), 0.75, "at token 3"),
    Case("after the first difference nothing counts", {}, answer(completion("The cat sat.")), answer(completion("A cat sat.")), 0.0, "at token 0"),
    Case("by position later tokens count again", {"mode": "positional"}, answer(completion("The cat sat.")), answer(completion("A cat sat.")), 0.75, "at token 0"),
    Case("by position an inserted token moves all after it", {"mode": "positional"}, answer(completion("a b c")), answer(completion("x a b c")), 0.0),
    Case("a longer text counts by its length", {}, answer(completion("a b")), answer(completion("a b c d")), 0.5, "at token 2"),
    Case("events may hold any number of tokens", {}, answer(events(*FOUR, *END)), answer(events(chunk("The cat s"), chunk("at."), *END)), 1.0),
    Case("a stream equals a whole completion", {}, answer(events(*FOUR, *END)), answer(completion("The cat sat.")), 1.0),
    Case("CR LF ends lines as LF does", {}, answer(events(*FOUR, *END)), answer(events(*FOUR, *END, line_end="\r\n")), 1.0),
    Case("CR ends lines as LF does", {}, answer(events(*FOUR, *END)), answer(events(*FOUR, *END, line_end="\r")), 1.0),
    Case("data in several lines is one event", {}, answer(completion("a b")), answer(b'data: {"choices": [\ndata: {"text": "a b",\ndata:"finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'), 1.0),
    Case("comments, names and ids of events are passed over", {}, answer(completion("a")), answer(b": hello\n\nevent: chunk\nid: 7\n" + events(chunk("a", "stop"))), 1.0),
    Case("a stream cut off after three of four tokens", {}, answer(events(*FOUR, *END)), answer(events(*FOUR[:3])), 3 / 5, "at token 3"),
    Case("a stream cut off at its end only", {}, answer(events(*FOUR, *END)), answer(events(*FOUR)), 4 / 5, "ends in another way"),
    Case("a stream cut off within an event keeps what came before", {}, answer(events(*FOUR, *END)), answer(events(*FOUR)[:-9]), 3 / 5),
    Case("[DONE] without a blank line after it closes the stream", {}, answer(events(FOUR[0], "[DONE]")), answer(events(FOUR[0], "[DONE]")[:-1]), 1.0),
    Case("what follows [DONE] is not read", {}, answer(events(FOUR[0], "[DONE]")), answer(events(FOUR[0], "[DONE]", FOUR[1])), 1.0),
    Case("another finish reason counts as a token", {}, answer(completion("a b c")), answer(completion("a b c", "length")), 0.75, "ends in another way"),
    Case("choices are compared by index", {}, answer(events(chunk("a", "stop", 0), chunk("b", "stop", 1))), answer(events(chunk("b", "stop", 1), chunk("a", "stop", 0))), 1.0),
    Case("a choice that one side lacks counts", {}, answer(events(chunk("a", "stop", 0), chunk("b", "stop", 1))), answer(events(chunk("a", "stop", 0))), 1 / 3, "of choice 1"),
    Case("tokens that both servers name are taken as they are", {}, answer(logged("un", "like", "ly")), answer(logged("un", "like", "d")), 2 / 3),
    Case("named tokens of one side only are not used", {}, answer(logged("un", "like", "ly")), answer(completion("unlikely")), 1.0),
    Case("named tokens that are not the text are not used", {}, answer(logged("a", " b", " c")), answer({"choices": [{"text": "a b x", "logprobs": {"tokens": ["a"]}, "finish_reason": "stop"}]}), 2 / 3),
    Case("scripts without blanks are split by character", {}, answer(completion("东京都是")), answer(completion("东京都在")), 0.75),
    Case("calls of tools count", {}, answer(events({"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": '{"a":'}}]}}]}, {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "1}"}}]}}]})), answer(events({"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": '{"a":2}'}}]}}]})), 6 / 8),
    Case("two empty completions agree", {}, answer(completion("")), answer({"choices": [{"text": "", "finish_reason": "stop"}]}), 1.0),
    Case("what is no completion differs from one", {}, answer(completion("a")), answer({"error": "x"}), 0.0, "no choices"),
    Case("two that are no completions can't be judged", {}, answer({"a": 1}), answer({"error": "x"}), None),
    Case("a type tells a stream that its first line does not", {}, answer(b'\n\nretry: 5\n\ndata: {"choices": [{"text": "a"}]}\n\ndata: [DONE]\n\n', content_type="text/event-stream; charset=utf-8"), answer(events({"choices": [{"text": "a"}]}, "[DONE]")), 1.0),
)  # fmt: skip
def test_tokens(case):
    judge("tokens", case)


@table(
    Case("length says nothing, direction all", {}, answer(embedded([1, 2, 3])), answer(embedded([2, 4, 6])), 1.0),
    Case("45 degrees", {}, answer(embedded([1, 0])), answer(embedded([1, 1])), 0.70711),
    Case("a right angle", {}, answer(embedded([1, 0])), answer(embedded([0, 1])), 0.0),
    Case("opposite directions score no less than 0", {}, answer(embedded([1, 0])), answer(embedded([-1, 0])), 0.0),
    Case("the worst of several vectors counts", {}, answer(embedded([1, 0], [1, 0])), answer(embedded([1, 0], [1, 1])), 0.70711, "vector 1 of 2"),
    Case("their mean counts if asked for", {"combine": "mean"}, answer(embedded([1, 0], [1, 0])), answer(embedded([1, 0], [1, 1])), 0.85355),
    Case("base64 holds 32-bit floats", {}, answer(embedded([0.5, -1.5])), answer(embedded(packed(0.5, -1.5))), 1.0),
    Case("a vector right below the root", {}, answer({"embedding": [1, 0]}), answer({"embedding": [1, 1]}), 0.70711),
    Case("a list of vectors below the root", {}, answer({"embeddings": [[1, 0]]}), answer({"embeddings": [[1, 1]]}), 0.70711),
    Case("a pointer finds the vector", {"pointer": "/outputs/0/data"}, answer({"outputs": [{"data": [1, 0]}]}), answer({"outputs": [{"data": [1, 1]}]}), 0.70711),
    Case("zero has no direction", {}, answer(embedded([0, 0])), answer(embedded([1, 1])), 0.0),
    Case("zero equals zero", {}, answer(embedded([0, 0])), answer(embedded([0.0, 0.0])), 1.0),
    Case("NaN has no direction", {}, answer(embedded([1, NAN])), answer(embedded([1, 1])), 0.0),
    Case("infinity has no direction", {}, answer(embedded([1, 1])), answer(b'{"embedding": [1, 1e999]}'), 0.0),
    Case("squares do not overflow", {}, answer(embedded([1e200, 1e200])), answer(embedded([1e200, 0])), 0.70711),
    Case("squares do not vanish", {}, answer(embedded([1e-200, 1e-200])), answer(embedded([1e-200, 0])), 0.70711),
    Case("other lengths are another model", {}, answer(embedded([1, 0])), answer(embedded([1, 0, 0])), 0.0, "2 and 3 elements"),
    Case("a vector that is missing", {}, answer(embedded([1, 0], [1, 0])), answer(embedded([1, 0])), 0.0, "2 and 1 vectors"),
    Case("a vector that is null", {}, answer(embedded([1, 0], [1, 0])), answer(embedded([1, 0], None)), 0.0, "2 and 0 elements"),
    Case("a list with null in it is no vector", {}, answer(embedded([1, 0])), answer(embedded([1, None])), 0.0, "candidate: no vector"),
    Case("no vector in either can't be judged", {}, answer({"a": 1}), answer({"a": 2}), None),
    Case("ints beyond a double count as infinite", {}, answer(embedded([1, 1])), answer(b'{"embedding": [1, 1' + b"0" * 350 + b"]}"), 0.0),
)  # fmt: skip
def test_embedding(case):
    judge("embedding", case)


ANIMALS = labels(cat=0.5, dog=0.2, cow=0.15, hen=0.1, pig=0.05)


@table(
    Case("other scores in the same order", {}, answer(ANIMALS), answer(labels(cat=0.4, dog=0.3, cow=0.2, hen=0.07, pig=0.03)), 1.0),
    Case("order within the first k says nothing", {"k": 2}, answer(ANIMALS), answer(labels(dog=0.5, cat=0.4, cow=0.1)), 1.0, "the first is another"),
    Case("two of three", {"k": 3}, answer(ANIMALS), answer(labels(cat=0.5, dog=0.3, pig=0.2)), 2 / 3, "2 of the first 3"),
    Case("order counts by rank", {"k": 2, "byRank": True}, answer(ANIMALS), answer(labels(dog=0.5, cat=0.4)), 0.5),
    Case("by rank the first labels weigh more", {"k": 3, "byRank": True}, answer(labels(a=3, b=2, c=1)), answer(labels(a=3, b=2, x=1)), (1 + 1 + 2 / 3) / 3),
    Case("by rank a wrong first label costs most", {"k": 3, "byRank": True}, answer(labels(a=3, b=2, c=1)), answer(labels(x=3, b=2, c=1)), (0 + 1 / 2 + 2 / 3) / 3),
    Case("fewer labels than k", {"k": 5}, answer(labels(a=1, b=2)), answer(labels(a=1, c=2)), 0.5),
    Case("one list is shorter", {"k": 4}, answer(labels(a=4, b=3, c=2, d=1)), answer(labels(a=4, b=3)), 0.5),
    Case("a tie is resolved in favour of agreement", {"k": 1}, answer(labels(a=0.5, b=0.5)), answer(labels(b=0.9, a=0.1)), 1.0),
    Case("a tie does not fill more places than there are", {"k": 2}, answer(labels(a=1, b=1, c=1, d=1)), answer(labels(x=2, c=1, d=1)), 0.5),
    Case("many tied labels share the places that are left", {"k": 3}, answer(labels(a=4, b=3, c=2, d=1)), answer(labels(x=3, y=2, a=1, b=1, c=1)), 1 / 3),
    Case("near scores tie within the tolerance", {"k": 1, "tieTolerance": 0.01}, answer(labels(a=0.501, b=0.499)), answer(labels(b=0.501, a=0.499)), 1.0),
    Case("near scores do not tie without one", {"k": 1}, answer(labels(a=0.501, b=0.499)), answer(labels(b=0.501, a=0.499)), 0.0),
    Case("a vector of scores", {"k": 2}, answer([0.1, 0.7, 0.2]), answer([0.25, 0.7, 0.05]), 0.5),
    Case("labels without scores are in order", {"k": 1}, answer([{"label": "a"}, {"label": "b"}]), answer(labels(b=0.1, a=0.9)), 1.0),
    Case("several lists count by their worst", {"k": 1}, answer([ANIMALS, ANIMALS]), answer([ANIMALS, labels(dog=1)]), 0.0, "list 1 of 2"),
    Case("several lists count by their mean if asked for", {"k": 1, "combine": "mean"}, answer([ANIMALS, ANIMALS]), answer([ANIMALS, labels(dog=1)]), 0.5),
    Case("predictions are found", {"k": 1}, answer({"predictions": [ANIMALS], "ms": 1}), answer({"predictions": [ANIMALS], "ms": 2}), 1.0),
    Case("a pointer and names of fields", {"k": 1, "pointer": "/out", "labelField": "class", "scoreField": "p"}, answer({"out": [{"class": "a", "p": 0.9}, {"class": "b", "p": 0.1}]}), answer({"out": [{"class": "a", "p": 0.2}, {"class": "b", "p": 0.8}]}), 0.0),
    Case("scores by label", {"k": 1, "pointer": "/top"}, answer({"top": {"a": -0.1, "b": -2}}), answer({"top": {"b": -2.5, "a": -0.2}}), 1.0),
    Case("a label given twice counts once", {"k": 2}, answer([{"label": "a", "score": 3}, {"label": "a", "score": 2}, {"label": "b", "score": 1}]), answer(labels(a=3, b=1)), 1.0),
    Case("NaN ranks last", {"k": 1}, answer([NAN, 0.1, 0.2]), answer([0.0, 0.1, 0.2]), 1.0),
    Case("other counts of lists differ", {}, answer([ANIMALS, ANIMALS]), answer([ANIMALS]), 0.0, "2 and 1 lists"),
    Case("an answer without labels differs", {}, answer(ANIMALS), answer({"error": "x"}), 0.0, "no labels"),
    Case("no labels in either can't be judged", {}, answer({"e": 1}), answer({"e": "x"}), None),
)  # fmt: skip
def test_topk(case):
    judge("topk", case)
