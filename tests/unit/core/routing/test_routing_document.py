"""A routing document is taken whole or refused with every problem named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.core.errors import RoutingDocumentError
from switchyard.core.routing.document import (
    Arm,
    Arms,
    Match,
    RoutingDocument,
    Segment,
    parse_routing_document,
)

ARMS = {"baseline": {"url": "http://10.0.0.1:8000"}, "candidate": {"url": "http://[fd00::1]:8000"}}


def document(**fields):
    return json.dumps({"version": 1, "arms": ARMS, **fields})


def problems(text):
    with pytest.raises(RoutingDocumentError) as caught:
        parse_routing_document(text)
    return str(caught.value).splitlines()


def test_a_document_with_arms_alone_sends_all_to_the_baseline():
    read = parse_routing_document(json.dumps({"version": 3, "arms": {"baseline": ARMS["baseline"]}}))
    assert [(each.name, each.match, each.candidate_percent) for each in read.segments] == [
        ("default", None, 0.0)
    ]


def test_what_is_encoded_reads_back_equal():
    read = parse_routing_document(
        document(
            segments=[
                {
                    "name": "batch",
                    "match": {"tier": "batch"},
                    "candidatePercent": 12.5,
                    "sticky": {"cookie": "s"},
                },
                {"name": "rest", "shadowPercent": 20},
            ],
            comparators=[{"type": "json", "options": {"ignoredPaths": ["/id"]}}],
        )
    )
    assert parse_routing_document(read.encode()) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ("[]", "[]: "),
        ('{"version": 1}', "arms: must be given"),
        (document(version=-1), "version: -1: "),
        (document(colour="red"), "colour: no such field"),
        (
            document(arms={"baseline": {"url": "https://a:1"}}),
            'arms.baseline.url: "https://a:1": give http://host:port',
        ),
        (document(arms={"baseline": {"url": "http://a:1/v1"}}), "give http://host:port"),
        (document(arms={"baseline": {"url": "http://u:p@a:1"}}), "give http://host:port and nothing more"),
        (document(arms={"baseline": {"url": "http://a:99999"}}), "give http://host:port"),
        (document(segments=[]), "segments: []: "),
        (document(segments=[{"name": "a", "candidatePercent": 101}]), "segments[0].candidatePercent: 101: "),
        (document(segments=[{"name": "A"}]), 'segments[0].name: "A": '),
        (document(segments=[{"name": "a"}, {"name": "a"}]), "given twice: a"),
        (document(segments=[{"name": "a"}, {"name": "b"}]), "a has no match and hides those after it"),
        (document(segments=[{"name": "a", "match": {"tier": "batch"}}]), "the last one must have no match"),
        (document(segments=[{"name": "a", "match": {}}, {"name": "b"}]), "give headers, pathPrefix or tier"),
        (document(segments=[{"name": "a", "sticky": {}}]), "give exactly one of header and cookie"),
        (document(shadow={"exclude": [{}]}), "give method or pathPrefix"),
        (document(strata={"promptEdges": [5, 5]}), "edges must be above 0 and rise"),
        (document(measure={"latencyEdges": [0.2, 0.1]}), "edges must rise"),
        (
            json.dumps(
                {
                    "version": 1,
                    "arms": {"baseline": ARMS["baseline"]},
                    "segments": [{"name": "a", "shadowPercent": 1}],
                }
            ),
            "segments: a sends to a candidate, and arms.candidate is absent",
        ),
    ],
)
def test_a_problem_is_named_with_its_place(text, said):
    assert any(said in line for line in problems(text)), problems(text)


def test_all_problems_are_named_at_once():
    found = problems(document(shadow={"queue": -1, "maxConcurrency": 0}, limits={"maxHeadBytes": 1}))
    assert [line.partition(":")[0] for line in found] == [
        "shadow.maxConcurrency",
        "shadow.queue",
        "limits.maxHeadBytes",
    ]


def test_thresholds_are_edges_of_their_metric_alone():
    read = parse_routing_document(
        document(measure={"latencyEdges": [0.1, 1.0], "thresholds": [{"metric": "latency", "seconds": 0.25}]})
    )
    assert read.measure.edges("latency") == (0.1, 0.25, 1.0)
    assert 0.25 not in read.measure.edges("ttft")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["version", "arms", "baseline", "url", "segments", "name", "match"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_is_answered_with_anything_but_a_document_or_a_refusal(value):
    try:
        read = parse_routing_document(json.dumps(value))
    except RoutingDocumentError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(read, RoutingDocument)


def test_a_document_built_in_python_is_judged_alike():
    with pytest.raises(ValueError, match="hides those after it"):
        RoutingDocument(
            version=1,
            arms=Arms(baseline=Arm(url="http://a:1")),
            segments=(Segment(name="a"), Segment(name="b", match=Match(tier="batch")), Segment(name="c")),
        )
