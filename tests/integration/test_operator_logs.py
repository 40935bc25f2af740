"""Log lines for machines and for people."""

from __future__ import annotations

import json
import logging
import sys

from switchyard.adapters.logs import FirstAttempts, JsonFormatter, TextFormatter


def record(message: str = "placed", **extra: object) -> logging.LogRecord:
    return logging.getLogger("switchyard.test").makeRecord(
        "switchyard.test", logging.INFO, "file", 1, message, (), None, extra=extra
    )


def test_a_json_line_carries_its_fields() -> None:
    line = json.loads(JsonFormatter().format(record(object="shop/chat", cost=1.5)))
    assert (line["message"], line["object"], line["cost"], line["level"]) == (
        "placed",
        "shop/chat",
        1.5,
        "info",
    )


def test_a_json_line_is_one_line_even_with_a_traceback() -> None:
    made = record("it\nbroke")
    try:
        int("x")
    except ValueError:
        made.exc_info = sys.exc_info()
    text = JsonFormatter().format(made)
    assert "\n" not in text
    assert "ValueError: invalid literal" in json.loads(text)["traceback"]


def test_a_text_line_reads_well() -> None:
    assert TextFormatter().format(record(pool="l4")).endswith("placed  pool=l4")


def test_whole_objects_that_kopf_attaches_stay_out() -> None:
    line = json.loads(JsonFormatter().format(record(k8s_ref={"secret": "x"}, settings=object())))
    assert "k8s_ref" not in line
    assert "settings" not in line


def test_of_the_retries_of_one_request_only_the_first_is_told() -> None:
    passes = FirstAttempts().filter
    assert passes(record("Request attempt #1 failed; will retry: GET /x -> refused"))
    assert not passes(record("Request attempt #2 failed; will retry: GET /x -> refused"))
    assert not passes(record("Request attempt #117 failed; will retry: GET /x -> refused"))
    assert passes(record("Request attempt #3 failed; escalating: GET /x -> refused"))
