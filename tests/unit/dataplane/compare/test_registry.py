"""Comparators as a routing document asks for them."""

from __future__ import annotations

import pytest
from tests.unit.dataplane.compare.answers import comparator

from switchyard.core.errors import RoutingDocumentError
from switchyard.core.routing.document import Comparator as ComparatorRequest
from switchyard.core.routing.document import RoutingDocument
from switchyard.dataplane.compare.port import Score, is_mismatch
from switchyard.dataplane.compare.registry import COMPARATORS, build_comparators, check_comparators


def ask(kind: str, **options: object) -> ComparatorRequest:
    return ComparatorRequest(type=kind, options=options)


def test_a_document_that_asks_for_nothing_gets_exact_bytes():
    document = RoutingDocument.model_validate({"version": 1, "arms": {"baseline": {"url": "http://a:1"}}})
    assert [made.name for made in build_comparators(document.comparators)] == ["exact"]


def test_names_stay_apart_when_a_type_is_asked_for_twice():
    made = build_comparators([ask("json"), ask("text"), ask("json", threshold=0.5), ask("json")])
    assert [each.name for each in made] == ["json", "text", "json-2", "json-3"]
    assert [each.threshold for each in made] == [1.0, 0.9, 0.5, 1.0]


@pytest.mark.parametrize("kind", COMPARATORS)
def test_every_type_needs_no_options(kind):
    assert comparator(kind).name == kind
    assert 0 < comparator(kind).threshold <= 1


BAD = [
    (ask("exakt"), 'comparators[0].type: "exakt": no such comparator; give exact, json, text, tokens, embedding, topk'),
    (ask("exact", deep=True), "comparators[0].options.deep: no such option; exact takes threshold"),
    (ask("exact", threshold=1.5), "comparators[0].options.threshold: 1.5: Input should be less than or equal to 1"),
    (ask("exact", threshold=float("nan")), "comparators[0].options.threshold: NaN: Input should be a finite number"),
    (ask("exact", threshold="0.5"), 'comparators[0].options.threshold: "0.5": Input should be a valid number'),
    (ask("json", numericTolerance=-1), "comparators[0].options.numericTolerance: -1: Input should be greater than or equal to 0"),
    (ask("json", numericTolerance={"relative": 2}), "comparators[0].options.numericTolerance.relative: 2: Input should be less than 1"),
    (ask("json", numericTolerance={"ratio": 2}), "comparators[0].options.numericTolerance.ratio: no such field"),
    (ask("json", ignoredPaths=["id"]), 'comparators[0].options.ignoredPaths[0]: "id": give a JSON pointer such as /choices/0/text; it starts with /'),
    (ask("json", ignoredPaths=["/a~b"]), 'comparators[0].options.ignoredPaths[0]: "/a~b": write ~ as ~0 and / within a name as ~1 (RFC 6901)'),
    (ask("json", ignoredPaths=[""]), 'comparators[0].options.ignoredPaths[0]: "": give a path below the root; nothing else would be compared'),
    (ask("json", unorderedLists="/a"), 'comparators[0].options.unorderedLists: "/a": Input should be a valid array'),
    (ask("text", maxChars=0), "comparators[0].options.maxChars: 0: Input should be greater than or equal to 1"),
    (ask("tokens", mode="suffix"), "comparators[0].options.mode: \"suffix\": Input should be 'prefix' or 'positional'"),
    (ask("embedding", combine="max"), "comparators[0].options.combine: \"max\": Input should be 'min' or 'mean'"),
    (ask("topk", k=0), "comparators[0].options.k: 0: Input should be greater than or equal to 1"),
    (ask("topk", by_rank=True), "comparators[0].options.by_rank: no such option; topk takes threshold, k, pointer, byRank, tieTolerance, labelField, scoreField, combine"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "sentence"), BAD, ids=[sentence[15:60] for _, sentence in BAD])
def test_a_problem_names_field_value_and_way_out(request_, sentence):
    assert check_comparators([request_]) == (sentence,)


def test_all_problems_are_told_at_once():
    asked = [ask("json", threshold=2, x=1), ask("json"), ask("no")]
    assert [problem.partition(": ")[0] for problem in check_comparators(asked)] == [
        "comparators[0].options.threshold",
        "comparators[0].options.x",
        "comparators[2].type",
    ]
    with pytest.raises(RoutingDocumentError) as raised:
        build_comparators(asked)
    assert str(raised.value).splitlines() == list(check_comparators(asked))


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (Score(0.89), True),
        (Score(0.9), False),
        (Score(0.0, is_comparable=False), False),
    ],
    ids=["below the threshold", "at the threshold", "what can't be judged"],
)
def test_only_a_score_below_the_threshold_is_a_mismatch(score, expected):
    assert is_mismatch(comparator("text", threshold=0.9), score) == expected
