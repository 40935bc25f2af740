"""`switchyard profile` over real HTTP, against simulated model servers whose profile is known."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from switchyard.api.profile import Profile
from switchyard.cli.profile import command
from switchyard.core.placement.latency import ConcurrencyProfile, Objective, max_rate
from switchyard.sandbox.modelserver import ModelServer, parse_options


@contextmanager
def serve(*args: str) -> Iterator[tuple[str, ModelServer]]:
    server = ModelServer(parse_options(["--host", "127.0.0.1", "--port", "0", *args], {}))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield f"http://127.0.0.1:{server.port}", server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def profile(*args: str) -> Result:
    return CliRunner().invoke(command, args)


QUICK = ("--slots", "4", "--base-ms", "60", "--slope-ms", "6", "--cv2", "0.05")


def test_a_server_is_measured_to_its_parameters_and_promised_rate() -> None:
    with serve(*QUICK) as (url, _):
        result = profile(
            f"{url}/predict", "--duration", "12", "--max-callers", "12", "--environment", "driver=580.65"
        )
    assert result.exit_code == 0, result.output
    document = yaml.safe_load(result.stdout)["profile"]
    Profile.model_validate(document)
    seen = document["concurrency"]
    assert 3 <= seen["slots"] <= 5
    assert document["source"] == "benchmark"
    assert document["environment"] == {"driver": "580.65", "model": "sim"}
    assert "cold start" in result.stderr
    read = Profile.model_validate(document).concurrency
    assert read is not None
    found = ConcurrencyProfile(read.slots, read.base.seconds, read.slope.seconds, float(read.cv2))  # type: ignore[union-attr,arg-type]
    true = ConcurrencyProfile(4, 0.060, 0.006, 0.05)
    for objectives in ((), (Objective(95, 0.3),)):
        assert max_rate(found, objectives).rate == pytest.approx(max_rate(true, objectives).rate, rel=0.25)


def test_a_curve_of_points_can_be_pasted_and_read_as_json() -> None:
    with serve(*QUICK) as (url, _):
        result = profile(
            f"{url}/predict", "--kind", "points", "--duration", "4", "--max-callers", "4", "-o", "json"
        )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    points = Profile.model_validate(document["profile"]).points
    assert points is not None
    assert len(points) >= 3
    measurement = document["measurement"]
    assert measurement["phases"][0]["name"] == "alone"
    assert measurement["coldStartSeconds"] > 0
    assert {"average", "peak"} <= {each["name"] for each in measurement["phases"]}


def test_tokens_of_a_streamed_answer_are_timed_one_by_one() -> None:
    with serve(*QUICK) as (url, _):
        result = profile(
            url,
            "--duration",
            "4",
            "--max-callers",
            "4",
            "--output-tokens",
            "12",
            "--long-input-tokens",
            "900",
            "-o",
            "json",
        )
    phases = json.loads(result.stdout)["measurement"]["phases"]
    alone = phases[0]
    # The server spends a fifth of its 60 ms before the first token and spreads the rest over the others.
    assert 0.008 < alone["ttft"]["p50"] < 0.030
    assert 0.002 < alone["tpot"]["p50"] < 0.008
    assert [each["callers"] for each in phases if each["name"] == "long context"] == [1, 4]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/x", "none of an HTTP endpoint"),
        ("host:8000", "none of an HTTP endpoint"),
        ("http://host:999999", "no usable port"),
        ("http://127.0.0.1:1/predict", "nobody answers"),
    ],
)
def test_an_endpoint_that_can_not_be_measured_is_named_with_a_way_out(url: str, words: str) -> None:
    result = profile(url)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("path", "words"), [("/nope", "give the path"), ("/v1/models", "HTTP 405")])
def test_a_wrong_path_is_refused_with_a_hint(path: str, words: str) -> None:
    with serve(*QUICK) as (url, _):
        result = profile(f"{url}{path}")
    assert result.exit_code == 1
    assert words in result.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--environment", "driver"), "KEY=VALUE"),
        (("--duration", "0"), "--duration"),
        (("--max-callers", "1"), "--max-callers"),
    ],
)
def test_a_wrong_option_is_refused(args: tuple[str, ...], words: str) -> None:
    result = profile("http://127.0.0.1:1/x", *args)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_body_from_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"instances": [1, 2]}))
    with serve(*QUICK) as (url, _):
        good = profile(f"{url}/predict", "--body", str(body), "--duration", "1.5", "--max-callers", "4")
        body.write_text("[1]")
        refused = profile(f"{url}/predict", "--body", str(body))
    assert good.exit_code == 0, good.output
    assert refused.exit_code == 2
    assert "must hold a JSON object" in refused.stderr


def test_an_interruption_keeps_what_was_measured() -> None:
    with serve(*QUICK) as (url, server):
        _when(lambda: server.engine.running >= 3, lambda: os.kill(os.getpid(), signal.SIGINT))
        result = profile(f"{url}/predict", "--duration", "20", "--max-callers", "8", "-o", "json")
    assert result.exit_code == 130, result.output
    document = json.loads(result.stdout)
    assert document["profile"]["concurrency"]["base"]
    assert "interrupted: later phases are missing" in document["measurement"]["warnings"]


def test_a_server_that_always_fails_is_left_alone_at_once() -> None:
    with serve(*QUICK, "--error-ratio", "1") as (url, _):
        result = profile(f"{url}/predict")
    assert result.exit_code == 1
    assert "HTTP 500" in result.stderr


def _when(is_reached: Callable[[], bool], act: Callable[[], Any]) -> None:
    def wait() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if is_reached():
                act()
                return
            time.sleep(0.02)

    threading.Thread(target=wait, daemon=True).start()
