"""Counts by track and values of signal gates: from pods, from Prometheus, and why not where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from switchyard.adapters.signals.bounded_http import Bounds
from switchyard.adapters.signals.evidence import EvidenceReader
from switchyard.api import labels
from switchyard.core.cutover.orders import SignalQuery, SignalValue, TrackCounts, TrackWatch
from switchyard.core.world import Pod, World
from switchyard.engine.ports import Failed, NotSynced
from switchyard.engine.settings import parse_settings

from .operator_fakes import run
from .signal_fakes import NOW, FakePrometheus, serving_pods, vector
from .test_operator_signals_collector import Clock, deployment, pod, workload, world

OLD, NEW = "chat-gpu-l4", "chat-gpu-a10"
KEY = "latency:0.5"
WATCH = TrackWatch(
    ("shop", "chat"), {"baseline": OLD, "candidate": NEW}, {KEY: ("latency", 0.5)}, preset="vllm"
)
BY_SERIES = replace(WATCH, source="main")
TEMPLATES = [
    {"name": "refused", "query": 'sum(refused{namespace="{namespace}",pod=~"{track}-.*"})'},
    {
        "name": "answered",
        "query": 'sum(vllm:request_success_total{namespace="{namespace}",pod=~"{track}-.*"})',
    },
    {"name": "by-service", "query": 'up{namespace="{namespace}",service="{service}"}'},
]
Told = Mapping[str, TrackCounts] | Failed


def page(good: float, failed: float = 0, *, edge: str = "0.5", within: float | None = None) -> str:
    """What a vLLM shows."""
    kept = good if within is None else within
    return "\n".join(
        (
            "# TYPE vllm:request_success_total counter",
            f'vllm:request_success_total{{finished_reason="stop"}} {good}',
            "# TYPE http_requests_total counter",
            f'http_requests_total{{handler="/v1/completions",status="2xx"}} {good}',
            f'http_requests_total{{handler="/v1/completions",status="5xx"}} {failed}',
            "# TYPE vllm:e2e_request_latency_seconds histogram",
            f'vllm:e2e_request_latency_seconds_bucket{{le="{edge}"}} {kept}',
            f'vllm:e2e_request_latency_seconds_bucket{{le="+Inf"}} {good}',
            f"vllm:e2e_request_latency_seconds_count {good}",
            "",
        )
    )


def track_pod(number: int, track: str = OLD, **fields: Any) -> Pod:
    """A ready pod at 127.0.0.NUMBER."""
    made = pod(f"{track}-aaaaa-{number}", address=f"127.0.0.{number}", **fields)
    return replace(made, labels={**made.labels, labels.TRACK: track})


def at_work(*pods: Pod, port: int = 80) -> World:
    children = [deployment(), deployment(track=NEW)]
    return world(workload(port=port), pods=pods or (track_pod(2), track_pod(3, NEW)), children=children)


@dataclass
class Scene:
    """A reader over a world that the test changes."""

    seen: World | NotSynced = field(default_factory=at_work)
    url: str = "http://127.0.0.1:9"
    clock: Clock = field(default_factory=Clock)
    reader: EvidenceReader = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        sources = [{"name": "main", "url": self.url}, {"name": "cost", "url": self.url, "type": "opencost"}]
        settings = parse_settings({"metricSources": sources, "metricTemplates": TEMPLATES})
        bounds = Bounds(timeout_seconds=2.0)
        self.reader = EvidenceReader(
            lambda _: self.seen, settings, self.clock, page_bounds=bounds, query_bounds=bounds
        )

    async def count(self, watch: TrackWatch = WATCH) -> Mapping[str, TrackCounts]:
        found = await self.reader.count_tracks(watch)
        assert not isinstance(found, Failed), found
        return found

    async def fail(self, watch: TrackWatch = WATCH) -> str:
        found = await self.reader.count_tracks(watch)
        assert isinstance(found, Failed), found
        return found.message


def look_at_pages(
    pages: Mapping[str, str | int], *pods: Pod, watch: TrackWatch = WATCH
) -> Mapping[str, TrackCounts] | Failed:
    """What one look at pods with these pages says."""

    async def scenario() -> Told:
        async with serving_pods(pages) as port:
            return await Scene(at_work(*pods, port=port)).reader.count_tracks(watch)

    found: Told = run(scenario())
    return found


# -- from the pods


def test_both_tracks_are_counted_together_from_their_pages() -> None:
    pages = {"127.0.0.2": page(100, 1), "127.0.0.3": page(50, within=40), "127.0.0.4": page(7, 2, within=5)}
    found = look_at_pages(pages, track_pod(2), track_pod(3, NEW), track_pod(4, NEW))
    assert isinstance(found, Mapping)
    old, new = found["baseline"], found["candidate"]
    assert (old.requests, old.failures, old.timed, old.within) == (101, 1, {KEY: 101}, {KEY: 100})
    assert (new.requests, new.failures, new.timed, new.within) == (59, 2, {KEY: 59}, {KEY: 45})
    assert {old.at, new.at} == {NOW}
    assert old.epoch != new.epoch


def test_a_bound_that_one_arm_has_no_edge_for_is_left_out_of_that_arm() -> None:
    found = look_at_pages({"127.0.0.2": page(100), "127.0.0.3": page(50, edge="0.4")})
    assert isinstance(found, Mapping)
    assert (found["baseline"].within, found["candidate"].within) == ({KEY: 100}, {})


def test_only_ready_pods_count_and_an_arm_without_any_is_left_out() -> None:
    found = look_at_pages({"127.0.0.2": page(100), "127.0.0.3": page(50)}, track_pod(2))
    assert isinstance(found, Mapping)
    assert found.keys() == {"baseline"}
    unready = track_pod(3, NEW, is_ready=False)
    found = look_at_pages({"127.0.0.2": page(100), "127.0.0.3": 503}, track_pod(2), unready)
    assert isinstance(found, Mapping)
    assert found.keys() == {"baseline"}


def test_a_restart_a_new_pod_and_a_count_that_fell_make_other_epochs() -> None:
    async def scenario() -> None:
        pages: dict[str, str | int] = {
            "127.0.0.2": page(100),
            "127.0.0.3": page(50),
            "127.0.0.4": page(1),
        }
        async with serving_pods(pages) as port:
            scene = Scene(at_work(port=port))

            async def epoch() -> str:
                return (await scene.count())["candidate"].epoch

            first = await epoch()
            pages["127.0.0.3"] = page(60)
            assert await epoch() == first
            scene.seen = at_work(track_pod(2), track_pod(3, NEW, restarts=1), port=port)
            restarted = await epoch()
            scene.seen = at_work(track_pod(2), track_pod(3, NEW), track_pod(4, NEW), port=port)
            joined = await epoch()
            scene.seen = at_work(port=port)
            assert await epoch() == first
            pages["127.0.0.3"] = page(3)
            fallen = await epoch()
            assert len({first, restarted, joined, fallen}) == 4

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (503, "HTTP 503"),
        ("not a page {", "there is no vllm:request_success_total"),
        (page(float("nan")), "is nan, which is no count"),
        (page(1.5), "is 1.5, which is no count"),
        (page(9).replace("http_requests", "other"), "there is no http_requests_total"),
        (page(9).replace('"stop"} 9', f'"stop"}} 9 {(NOW.timestamp() - 600) * 1000:.0f}'), "is 600 s old"),
        ("# TYPE vllm:request_success_total counter\nvllm:request_success_total{ 3\n", "text format"),
    ],
    ids=["refusal", "another page", "NaN", "a fraction", "no failures told", "stale", "no text format"],
)
def test_a_pod_that_can_t_be_counted_is_told_with_its_side(answer: str | int, told: str) -> None:
    found = look_at_pages({"127.0.0.2": page(100), "127.0.0.3": answer})
    assert isinstance(found, Failed)
    assert found.message.startswith(
        f"1 of 1 ready pods of the candidate can't be counted: pod {NEW}-aaaaa-3: "
    )
    assert told in found.message


def test_one_of_ten_pods_may_be_silent_and_two_may_not() -> None:
    pods = [track_pod(2), *(track_pod(number, NEW) for number in range(3, 13))]
    pages: dict[str, str | int] = {f"127.0.0.{number}": page(10) for number in range(2, 13)}
    found = look_at_pages({**pages, "127.0.0.5": 500}, *pods)
    assert isinstance(found, Mapping)
    assert found["candidate"].requests == 90
    found = look_at_pages({**pages, "127.0.0.5": 500, "127.0.0.6": 500}, *pods)
    assert isinstance(found, Failed)
    assert found.message.startswith("2 of 10 ready pods of the candidate")


@pytest.mark.parametrize(
    ("seen", "watch", "told"),
    [
        (NotSynced(("pods",)), WATCH, "waiting for pods"),
        (at_work(), replace(WATCH, workload=("shop", "other")), "there is no InferenceWorkload shop/other"),
        (at_work(), replace(WATCH, preset=""), "give the workload signals.preset, one of istio, openai-http"),
        (at_work(), replace(WATCH, preset="sglang"), "preset sglang does not tell failed answers"),
        (at_work(), replace(WATCH, preset="none"), "there is no preset none"),
        (at_work(), replace(WATCH, preset="istio"), "preset istio is about a proxy"),
        (at_work(track_pod(2, is_ready=False)), WATCH, "no pod of either side is ready"),
        (
            at_work(),
            replace(WATCH, source="other"),
            "have no metric source other of type prometheus; there are: main",
        ),
        (at_work(), replace(WATCH, source="cost"), "have no metric source cost of type prometheus"),
        (at_work(), BY_SERIES, "source main: the query for "),
    ],
)
def test_what_is_missing_is_told_by_name(seen: World | NotSynced, watch: TrackWatch, told: str) -> None:
    message: str = run(Scene(seen).fail(watch))
    assert told in message


# -- from Prometheus

SUCCESS, HTTP = "vllm:request_success_total", "http_requests_total"
BUCKET = "vllm:e2e_request_latency_seconds_bucket"


def series(name: str, good: float | str, failed: float = 0, *, job: str = "pods", edge: str = "0.5") -> Any:
    """What a Prometheus keeps of one pod, by metric."""
    marks = {"namespace": "shop", "pod": name, "job": job, "instance": f"{name}:80"}
    return {
        SUCCESS: [({**marks, "finished_reason": "stop"}, good)],
        HTTP: [
            ({**marks, "handler": "/v1/completions", "status": "2xx"}, good),
            ({**marks, "handler": "/v1/completions", "status": "5xx"}, failed),
        ],
        BUCKET: [({**marks, "le": edge}, good), ({**marks, "le": "+Inf"}, good)],
    }


def table(*pods: Any, age_seconds: float = 5.0, without: Sequence[str] = ()) -> dict[str, Any]:
    """The answers of a Prometheus that keeps these."""
    rows: dict[str, list[Any]] = {SUCCESS: [], HTTP: [], BUCKET: []}
    for each in pods:
        for metric, found in each.items():
            rows[metric] += found
    ages = [(labels_, NOW.timestamp() - age_seconds) for labels_, _ in rows[SUCCESS]]
    kept = {metric: vector(*found) for metric, found in rows.items() if metric not in without}
    return {f"timestamp({SUCCESS}": vector(*ages), **kept}


OLD_POD, NEW_POD = f"{OLD}-aaaaa-2", f"{NEW}-aaaaa-3"


def look_at_series(answers: dict[str, Any], *, clock: Clock | None = None) -> tuple[Told, list[str]]:
    """What one look through a Prometheus that answers so says, and what it was asked."""

    async def scenario() -> tuple[Told, list[str]]:
        fake = FakePrometheus(answers)
        async with fake.serve() as url:
            scene = Scene(url=url, clock=clock or Clock())
            return await scene.reader.count_tracks(BY_SERIES), fake.queries

    found: tuple[Told, list[str]] = run(scenario())
    return found


def test_raw_counters_of_both_tracks_are_asked_as_of_one_moment() -> None:
    found, queries = look_at_series(table(series(OLD_POD, 100, 1), series(NEW_POD, 50, 2)))
    assert isinstance(found, Mapping)
    old, new = found["baseline"], found["candidate"]
    assert (old.requests, old.failures, old.within) == (101, 1, {KEY: 100})
    assert (new.requests, new.failures, new.timed) == (52, 2, {KEY: 52})
    assert old.at == new.at == NOW - timedelta(seconds=5)
    assert all('namespace="shop"' in each for each in queries)
    assert all(f'pod=~"{NEW}-.*|{OLD}-.*"' in each for each in queries)
    assert not any("rate(" in each or "increase(" in each for each in queries)
    assert any(f"{BUCKET}{{" in each and 'le=~"\\\\+Inf|0\\\\.5"' in each for each in queries)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            table(series(OLD_POD, 9)),
            f"of the candidate can't be counted: pod {NEW_POD}: there is no {SUCCESS}",
        ),
        (table(series(OLD_POD, 9), series(NEW_POD, "NaN")), "is nan, which is no count"),
        (table(series(OLD_POD, 9), series(NEW_POD, "+Inf")), "is inf, which is no count"),
        (
            table(series(OLD_POD, 9), series(NEW_POD, 5), series(NEW_POD, 5, job="twice")),
            "2 targets tell of it (job pods, twice) where one is wanted",
        ),
        (table(series(OLD_POD, 9), series(NEW_POD, 5), age_seconds=120), "its newest sample is 120 s old"),
        (table(series(OLD_POD, 9), series(NEW_POD, 5), without=[HTTP]), "there is no http_requests_total"),
        ({}, f"there is no {SUCCESS}"),
        ({SUCCESS: web.Response(status=503)}, "the query for "),
        ({**table(series(OLD_POD, 9)), HTTP: {"status": "error"}}, "no instant vector"),
    ],
    ids=[
        "empty",
        "NaN",
        "infinite",
        "several",
        "stale",
        "no failures told",
        "nothing",
        "refusal",
        "an error",
    ],
)
def test_series_that_can_t_be_counted_are_told(answers: dict[str, Any], told: str) -> None:
    found, _ = look_at_series(answers)
    assert isinstance(found, Failed)
    assert found.message.startswith("source main: ")
    assert told in found.message


def test_a_bound_without_an_edge_is_no_reason_to_count_nothing() -> None:
    found, _ = look_at_series(table(series(OLD_POD, 9), series(NEW_POD, 5, edge="0.4")))
    assert isinstance(found, Mapping)
    assert (found["baseline"].within, found["candidate"].within) == ({KEY: 9}, {})
    assert found["candidate"].requests == 5


def test_a_counter_that_fell_between_two_looks_makes_another_epoch() -> None:
    async def scenario() -> None:
        fake = FakePrometheus(table(series(OLD_POD, 9), series(NEW_POD, 50)))
        async with fake.serve() as url:
            scene = Scene(url=url)
            first = await scene.count(BY_SERIES)
            fake.table = table(series(OLD_POD, 99), series(NEW_POD, 4))
            second = await scene.count(BY_SERIES)
            assert first["baseline"].epoch == second["baseline"].epoch
            assert first["candidate"].epoch != second["candidate"].epoch

    run(scenario())


def mesh(track: str, good: float, failed: float, instance: str) -> list[Any]:
    marks = {
        "destination_workload": track,
        "destination_workload_namespace": "shop",
        "reporter": "destination",
        "instance": instance,
        "job": "mesh",
    }
    return [({**marks, "response_code": "200"}, good), ({**marks, "response_code": "503"}, failed)]


class MeshPrometheus(FakePrometheus):
    """Knows which track is asked for, as a server would."""

    def answer_for(self, rows: Sequence[Any]) -> None:
        for track in (OLD, NEW):
            own = [row for row in rows if row[0]["destination_workload"] == track]
            where = (
                f'istio_requests_total{{destination_workload_namespace="shop",destination_workload="{track}"'
            )
            self.table[f"timestamp({where}"] = vector(*((labels_, NOW.timestamp()) for labels_, _ in own))
            self.table[where] = vector(*own)


def test_a_mesh_tells_of_tracks_by_the_workload_that_answered() -> None:
    async def scenario() -> None:
        fake = MeshPrometheus()
        watch = replace(BY_SERIES, preset="istio", bounds={})
        fake.answer_for([*mesh(OLD, 90, 1, "a"), *mesh(OLD, 10, 0, "b"), *mesh(NEW, 20, 5, "c")])
        async with fake.serve() as url:
            scene = Scene(url=url)
            found = await scene.count(watch)
            assert (found["baseline"].requests, found["baseline"].failures) == (101, 1)
            assert (found["candidate"].requests, found["candidate"].failures) == (25, 5)
            fake.answer_for(mesh(OLD, 90, 1, "a"))
            message = await scene.fail(watch)
            assert message == f"source main: the candidate, track {NEW}: there is no istio_requests_total"

    run(scenario())


# -- signal gates


def ask(answers: dict[str, Any], **changes: Any) -> tuple[SignalValue, list[str]]:
    """What the gate's query gives, and what was asked."""
    query = SignalQuery("main", "refused", ("shop", "chat"), NEW, 60.0)

    async def scenario() -> tuple[SignalValue, list[str]]:
        fake = FakePrometheus(answers)
        async with fake.serve() as url:
            found = await Scene(url=url).reader.ask_signals({"gate": replace(query, **changes)})
            return found["gate"], fake.queries

    found: tuple[SignalValue, list[str]] = run(scenario())
    return found


def test_a_gate_asks_for_the_candidate_alone() -> None:
    value, queries = ask({"refused": vector(({}, 0.25))})
    assert value == SignalValue(0.25)
    assert queries == ['sum(refused{namespace="shop",pod=~"chat-gpu-a10-.*"})']
    _, queries = ask({}, template="by-service")
    assert queries == ['up{namespace="shop",service="chat-gpu-a10"}']
    assert ask({"refused": vector(({}, -3))})[0] == SignalValue(-3.0)


@pytest.mark.parametrize(
    ("answer", "changes", "told"),
    [
        (vector(), {}, "source main: template refused: an empty answer"),
        (vector(({}, "NaN")), {}, "source main: template refused: the value nan"),
        (vector(({}, "+Inf")), {}, "source main: template refused: the value inf"),
        (vector(({"a": "1"}, 1), ({"a": "2"}, 2)), {}, "template refused: 2 series where one is wanted"),
        (vector(({}, 1), at=NOW - timedelta(seconds=301)), {}, "a sample older than 300 s"),
        (web.Response(status=503), {}, "source main: template refused: HTTP 503"),
        (vector(), {"template": "other"}, "have no template other; there are: answered, by-service, refused"),
        (vector(), {"source": "other"}, "have no metric source other of type prometheus; there are: main"),
        (vector(), {"source": "cost"}, "have no metric source cost of type prometheus; there are: main"),
        (vector(), {"track": 'x"} or vector(0'}, "is no name of Kubernetes"),
    ],
    ids=["empty", "NaN", "infinite", "several", "stale", "refusal", "template", "source", "type", "name"],
)
def test_why_a_gate_has_no_value_is_told(answer: Any, changes: dict[str, Any], told: str) -> None:
    value, _ = ask({"": answer}, **changes)
    assert value.value is None
    assert told in value.problem
