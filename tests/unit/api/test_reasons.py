"""Reasons: one word, one sentence, and each used somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchyard.api import Reason, labels

SOURCES = Path(__file__).parents[3] / "operator" / "src" / "switchyard"


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_a_word_that_kubernetes_takes_and_has_a_sentence(reason: Reason) -> None:
    assert reason.value == reason.name == str(reason)
    assert re.fullmatch(r"[A-Z][A-Za-z]{1,62}", reason.value)
    assert reason.sentence[0].isupper()
    assert reason.sentence.endswith(".")
    assert reason.sentence.count(". ") == 0


def test_no_two_reasons_mean_the_same() -> None:
    assert len({reason.sentence for reason in Reason}) == len(Reason)


def test_every_reason_is_given_by_some_code_and_no_other_is() -> None:
    text = "".join(
        path.read_text()
        for layer in ("core", "engine", "adapters")
        for path in (SOURCES / layer).rglob("*.py")
    )
    assert set(re.findall(r"\bReason\.([A-Z]\w+)", text)) == {reason.value for reason in Reason}


def test_a_reason_is_found_by_its_word() -> None:
    assert Reason("Placed") is Reason.Placed
    with pytest.raises(ValueError):
        Reason("Nonsense")


def test_the_labels_are_keys_that_kubernetes_takes() -> None:
    keys = [labels.MANAGED_BY, labels.WORKLOAD, labels.TRACK, labels.VARIANT, labels.POOL]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z.]+/[a-z-]{1,63}", key) for key in keys)
