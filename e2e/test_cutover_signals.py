"""Moves held to a query of the site's own, whose Prometheus goes away, stammers, and comes back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from e2e.installation import Operator
from e2e.move import ANALYSIS, ERRORS, TERMINAL, Move, moving, plan, verdicts
from e2e.providers.plain_http import poll
from e2e.scene import Scene
from e2e.way_back import measure_way_back

pytestmark = pytest.mark.timeout(400)  # on a machine that is busy with other things

SOURCE, TEMPLATE = "site", "refusals"
QUERY = 'chat_refusal_ratio{namespace="{namespace}",deployment="{track}"}'
HALF = [{"weight": 50, "minDuration": "60s", "minSamples": 30}, {"weight": 100}]
PATIENT = {**ANALYSIS, "inconclusiveAfter": "10m"}
# what is no value, by how it is told
UNUSABLE = {"HTTP 503": None, "the value nan": ["NaN"], "an empty answer": [], "2 series": ["0.1", "0.1"]}


@dataclass
class Prometheus:
    """The values of the series in its answer to anything, None for 503; and what it was asked."""

    values: list[str] | None
    url: str = ""
    queries: list[str] = field(default_factory=list)


@contextmanager
def prometheus(*values: str) -> Iterator[Prometheus]:
    """A server that speaks as a Prometheus does to instant queries."""
    state = Prometheus(list(values))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            state.queries.append(asked)
            rows = [
                {"metric": {"n": f"{number}"}, "value": [time.time(), value]}
                for number, value in enumerate(state.values or ())
            ]
            answer = {"status": "success", "data": {"resultType": "vector", "result": rows}}
            body = json.dumps(answer).encode()
            self.send_response(503 if state.values is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", f"{len(body)}")
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def site(operator: Operator) -> Iterator[Prometheus]:
    """A Prometheus that the operator knows, with 1 % of refusals."""
    with prometheus("0.01") as server:
        settings = {
            "metricSources": [{"name": SOURCE, "type": "prometheus", "url": server.url}],
            "metricTemplates": [{"name": TEMPLATE, "query": QUERY}],
        }
        operator.configure(yaml.safe_dump(settings))
        try:
            yield server
        finally:
            operator.configure()


def _gate(template: str = TEMPLATE) -> dict[str, object]:
    return {"name": "refusals", "signal": {"source": SOURCE, "template": template, "max": "0.05"}}


def _wait_for_pause(move: Move, word: str) -> None:
    seen = poll(
        lambda: move.status,
        lambda status: (
            status.get("phase") in TERMINAL or (status.get("phase") == "Paused" and word in status["message"])
        ),
        seconds=30,
        every=0.2,
    )
    assert (seen["phase"], seen["machine"]["pauseReason"]) == ("Paused", "EvidenceMissing"), move.tell(seen)
    assert word in seen["message"], move.tell(seen)


def test_a_query_without_a_usable_value_holds_the_plan_and_one_beyond_its_bound_returns_users(
    scene: Scene, operator: Operator, site: Prometheus
) -> None:
    del operator
    with moving(scene) as move:
        move.write(plan(steps=HALF, gates=[ERRORS, _gate()], analysis=PATIENT))
        move.wait_for_step("all", 50)
        for word, values in UNUSABLE.items():
            site.values = values
            _wait_for_pause(move, word)
            assert move.weights == {"all": 50}
            site.values = ["0.01"]
            move.wait_for("Canary")
        began = move.traffic.mark("refusals")
        site.values = ["0.2"]
        status = move.wait_for("RolledBack")
        measure_way_back(status, move.traffic, began).assert_prompt()
        assert verdicts(status)["refusals"] == "Fail"
        assert any("moved-new-" in query for query in site.queries), "the candidate's track is asked for"
        move.assert_stayed()
        move.traffic.assert_no_failures()


def test_a_query_that_nobody_wrote_never_lets_users_through(
    scene: Scene, operator: Operator, site: Prometheus
) -> None:
    del operator, site
    with moving(scene) as move:
        move.write(plan(gates=[ERRORS, _gate("refusal")], analysis=PATIENT))
        _wait_for_pause(move, TEMPLATE)  # those that there are
        move.hold_still(3)
        assert move.weights == {"all": 0}
        move.change(gates=[ERRORS, _gate()])
        move.wait_for("Completed")
        move.assert_moved()
        move.traffic.assert_no_failures()
