import pytest

from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.resources import ResourceInfo
from switchyard.sandbox.apiserver.selectors import from_label_selector, parse_label_selector, selector

PODS = ResourceInfo(
    "",
    "v1",
    "pods",
    "pod",
    "Pod",
    "PodList",
    namespaced=True,
    selectable_fields=("spec.nodeName", "status.phase"),
)
LABELS = {"app": "web", "tier": "front", "n": "7", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app=web", True),
        ("app == web", True),
        ("app!=web", False),
        ("missing!=x", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("missing notin (db)", True),
        ("tier", True),
        ("!tier", False),
        ("!missing", True),
        ("n>6", True),
        ("n<7", False),
        ("app>3", False),
        ("app=web,tier=front,!missing", True),
        ("app=web,tier=back", False),
        ("empty=", True),
        ("empty=,app=web", True),
        ("app=", False),
        ("empty in ()", True),
        ("", True),
    ],
)
def test_labels_match_as_kubectl_users_expect(text, expected):
    assert all(term.matches(LABELS) for term in parse_label_selector(text)) is expected


@pytest.mark.parametrize(
    "text",
    ["a in (", "a in b", "=x", "a=b,", "a b", "a!b", "a in (x", "bad key!=x", "a=not ok", "n>x", "a=b=c"],
)
def test_a_selector_that_makes_no_sense_is_a_bad_request(text):
    with pytest.raises(ApiError) as refused:
        parse_label_selector(text)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("spec.nodeName=n1", True),
        ("spec.nodeName!=n1", False),
        ("spec.nodeName=", False),
        ("status.phase=", True),
        ("status.phase!=Running", True),
        ("metadata.name=p,spec.nodeName==n1", True),
        ("metadata.namespace=other", False),
    ],
)
def test_fields_match_and_absent_ones_are_empty(fields, expected):
    pod = {"metadata": {"name": "p", "namespace": "d"}, "spec": {"nodeName": "n1"}}
    assert selector(PODS, "", fields)(pod) is expected


@pytest.mark.parametrize("fields", ["spec.containers=x", "metadata.labels=x", "nonsense"])
def test_fields_that_cannot_be_selected_by_are_a_bad_request(fields):
    with pytest.raises(ApiError) as refused:
        selector(PODS, "", fields)
    assert refused.value.code == 400


def test_a_selector_object_says_the_same_as_its_text():
    given = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["front"]},
            {"key": "gone", "operator": "DoesNotExist"},
        ],
    }
    assert from_label_selector(given) == parse_label_selector("app=web,tier in (front),!gone")


def test_no_selector_means_no_test_at_all():
    assert selector(PODS, "", "") is None
