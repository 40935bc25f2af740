"""Demand from a Prometheus: one query per number, and each way to fail is told and none is taken for zero."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from switchyard.adapters.signals.bounded_http import Bounds
from switchyard.adapters.signals.prometheus import PrometheusSource
from switchyard.catalog.signal_presets import load_signal_presets
from switchyard.engine.settings import MetricSource, MetricTemplate
from switchyard.engine.signals import Measured, PodRef, Want

from .operator_fakes import run
from .signal_fakes import CHAT, NOW, FakePrometheus, pod, serving, vector, want

POD = {"namespace": "shop", "pod": "one"}
TEMPLATES = {
    "gateway": MetricTemplate(
        name="gateway", query='x{namespace="{namespace}",a="{workload}"}', unit="requestsPerMinute"
    )
}
FRESH = vector((POD, NOW.timestamp() - 10))


def ask(
    fake: FakePrometheus, *wants: Want, bounds: Bounds | None = None, token_file: str | None = None
) -> Any:
    """The answers of a source that asks the fake."""

    async def scenario() -> list[Measured]:
        async with fake.serve() as url:
            source = PrometheusSource(
                MetricSource(name="main", url=url, token_file=token_file),
                load_signal_presets(),
                TEMPLATES,
                bounds or Bounds(timeout_seconds=5),
            )
            return list(await source.measure(wants, NOW))

    return run(scenario())


def rates(**more: Any) -> dict[str, Any]:
    """A table for one pod of vLLM with 3 requests a second."""
    return {
        "timestamp(": FRESH,
        **more,
        "rate(vllm:request_success_total": vector((POD, 3.0)),
        "delta(vllm:num_requests_running": vector((POD, 0.5)),
        "delta(vllm:num_requests_waiting": vector((POD, 0.5)),
        "rate(vllm:request_prompt_tokens_sum": vector((POD, 300.0)),
        "rate(vllm:request_prompt_tokens_count": vector((POD, 3.0)),
    }


def test_the_figures_of_a_workload_are_sums_over_its_pods() -> None:
    two = {"namespace": "shop", "pod": "two"}
    fake = FakePrometheus(
        {
            "timestamp(": vector((POD, NOW.timestamp()), (two, NOW.timestamp())),
            "rate(vllm:request_success_total": vector((POD, 3.0), (two, 1.0)),
            "rate(vllm:request_prompt_tokens_sum": vector((POD, 300.0), (two, 500.0)),
            "rate(vllm:request_prompt_tokens_count": vector((POD, 3.0), (two, 1.0)),
        }
    )
    (found,) = ask(fake, want(pod("one"), pod("two")))
    assert found.problem == ""
    assert found.figures.requests_per_second == pytest.approx(4.0)
    assert found.figures.input_tokens == pytest.approx(200.0)
    assert found.figures.output_tokens is None


def test_requests_that_came_and_have_not_ended_count() -> None:
    (found,) = ask(FakePrometheus(rates()), want(pod("one")))
    assert found.figures.requests_per_second == pytest.approx(4.0)


def test_many_workloads_cost_as_many_queries_as_one() -> None:
    one, many = FakePrometheus(rates()), FakePrometheus(rates())
    ask(one, want(pod("one")))
    names = [f"chat-{number}" for number in range(40)]
    wants = [
        want(pod(f"{name}-x", workload=(f"team-{name}", name)), workload=(f"team-{name}", name))
        for name in names
    ]
    ask(many, *wants)
    # alternatives of a metric are asked for pods that lack the first
    assert len(many.queries) <= len(one.queries) + 2
    assert 'namespace=~"team-chat-0|team-chat-1|' in many.queries[0]


def test_a_query_holds_names_and_constants_only() -> None:
    fake = FakePrometheus(rates())
    ask(fake, want(pod("one")))
    allowed = re.compile(
        r"(sum|max) by \(namespace, pod(, [a-z_]+)*\) "
        r"\((rate|delta|timestamp|avg_over_time)\([a-z_:]+\{namespace=\"shop\"\}(\[60s\])?\)( / 60)?\)"
    )
    assert [query for query in fake.queries if not allowed.fullmatch(query)] == []


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "no vllm:request_success_total of pod one within 300 s"),
        ({"timestamp(": vector((POD, NOW.timestamp() - 301))}, "of pod one within 300 s"),
        ({"timestamp(": FRESH}, "no rate of vllm:request_success_total over the window yet"),
        (rates(**{"rate(vllm:request_success": vector((POD, "NaN"))}), "requests.0 gives nan"),
        (rates(**{"rate(vllm:request_success": vector((POD, "+Inf"))}), "requests.0 gives inf"),
        (
            rates(**{"rate(vllm:request_success": web.Response(status=503, text="secret")}),
            "the query for requests.0 failed: HTTP 503",
        ),
        (
            rates(**{"rate(vllm:request_success": web.Response(status=302, headers={"Location": "/x"})}),
            "HTTP 302",
        ),
        (rates(**{"rate(vllm:request_success": web.Response(text="<html>")}), "no JSON"),
        (rates(**{"rate(vllm:request_success": {"status": "error", "error": "secret"}}), "no instant vector"),
        (
            rates(**{"rate(vllm:request_success": {"status": "success", "data": {"resultType": "matrix", "result": []}}}),
            "no instant vector",
        ),
        (
            rates(**{"rate(vllm:request_success": {"status": "success", "data": {"resultType": "vector", "result": [{}]}}}),
            "no instant vector",
        ),
        (rates(**{"rate(vllm:request_success": [1]}), "no JSON object"),
    ],
    ids=[
        "empty", "stale", "no rate yet", "NaN", "infinite", "an error", "a redirect", "no JSON", "refused",
        "a matrix", "malformed", "a list",
    ],
)  # fmt: skip
def test_an_answer_that_can_not_be_used_is_told_with_the_source(table: dict[str, Any], told: str) -> None:
    (found,) = ask(FakePrometheus(table), want(pod("one")))
    assert found.problem.startswith("source main: ")
    assert told in found.problem
    assert "secret" not in found.problem
    assert found.figures.requests_per_second is None


def test_a_server_that_is_not_there_and_one_that_says_too_much_are_told() -> None:
    async def gone() -> list[Measured]:
        source = PrometheusSource(MetricSource(name="main", url="http://127.0.0.1:9"), load_signal_presets())
        return list(await source.measure([want(pod("one"))], NOW))

    (found,) = run(gone())
    assert "failed: ClientConnectorError" in found.problem
    (found,) = ask(FakePrometheus(rates()), want(pod("one")), bounds=Bounds(most_bytes=40))
    assert "more than 40 bytes" in found.problem


def test_one_pod_without_samples_makes_the_whole_demand_unknown() -> None:
    (found,) = ask(FakePrometheus(rates()), want(pod("one"), pod("two")))
    assert "of pod two within 300 s" in found.problem


@pytest.mark.parametrize(
    "two",
    [pod("two", is_ready=False), pod("two", created_at=NOW - timedelta(seconds=5))],
    ids=["not ready", "young"],
)
def test_a_pod_that_need_not_be_measured_yet_is_not_missed(two: PodRef) -> None:
    (found,) = ask(FakePrometheus(rates()), want(pod("one"), two))
    assert found.figures.requests_per_second == pytest.approx(4.0)


def test_a_pod_that_left_counts_while_it_is_in_the_window() -> None:
    async def scenario() -> Measured:
        fake = FakePrometheus(rates())
        async with fake.serve() as url:
            source = PrometheusSource(MetricSource(name="main", url=url), load_signal_presets())
            await source.measure([want(pod("one"))], NOW)
            two = {"namespace": "shop", "pod": "two"}
            fake.table = {
                "timestamp(": vector((two, NOW.timestamp())),
                "rate(vllm:request_success": vector((POD, 1.0), (two, 3.0)),
            }
            (found,) = await source.measure([want(pod("two"))], NOW)
            return found

    assert run(scenario()).figures.requests_per_second == pytest.approx(4.0)


def test_pods_of_others_never_count() -> None:
    other = {"namespace": "shop", "pod": "chat-of-somebody-else"}
    fake = FakePrometheus(
        {"timestamp(": FRESH, "rate(vllm:request_success": vector((POD, 3.0), (other, 99.0))}
    )
    (found,) = ask(fake, want(pod("one")))
    assert found.figures.requests_per_second == pytest.approx(3.0)


def test_an_older_name_of_a_metric_is_asked_where_the_newer_is_not_there() -> None:
    fake = FakePrometheus(
        {
            "timestamp(sglang:e2e": FRESH,
            "rate(sglang:e2e_request_latency_seconds_count": vector((POD, 2.0)),
        }
    )
    (found,) = ask(fake, want(pod("one"), preset="sglang"))
    assert found.figures.requests_per_second == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (vector(), "template gateway: an empty answer"),
        (vector(({}, 60.0), ({"a": "b"}, 1.0)), "2 series where one is wanted"),
        (vector(({}, "NaN")), "the value nan"),
        (vector(({}, -1.0)), "the value -1.0"),
        (vector(({}, 60.0), at=NOW - timedelta(seconds=301)), "a sample older than 300 s"),
        (web.Response(status=422), "HTTP 422"),
    ],
    ids=["empty", "several series", "NaN", "negative", "stale", "refused"],
)
def test_what_a_template_brings_is_judged(answer: Any, told: str) -> None:
    (found,) = ask(FakePrometheus({"x{": answer}), want(preset="", template="gateway"))
    assert told in found.problem
    assert found.figures.requests_per_second is None


def test_a_template_is_asked_with_the_names_of_the_workload_in_its_unit() -> None:
    fake = FakePrometheus({"x{": vector(({}, 120.0))})
    (found,) = ask(fake, want(preset="", template="gateway"))
    assert fake.queries == ['x{namespace="shop",a="chat"}']
    assert found.figures.requests_per_second == pytest.approx(2.0)


def test_a_template_or_preset_that_is_not_there_is_told_with_those_that_are() -> None:
    found = ask(FakePrometheus(), want(preset="", template="other"), want(preset=""))
    assert found[0].problem == "the operator's settings have no template other; there are: gateway"
    assert "give demand.signal.preset" in found[1].problem


@pytest.mark.parametrize(
    ("preset", "labels", "selector"),
    [
        (
            "istio",
            {"destination_service_namespace": "shop", "destination_service_name": "chat"},
            (
                'istio_requests_total{destination_service_namespace="shop",destination_service_name="chat",'
                'reporter="destination"}'
            ),
        ),
        (
            "envoy-gateway",
            {"envoy_cluster_name": "httproute/shop/chat/rule/0"},
            'envoy_cluster_upstream_rq_total{envoy_cluster_name=~"httproute/(shop/chat)/rule/[0-9]+"}',
        ),
        (
            "nginx",
            {"exported_namespace": "shop", "exported_service": "chat"},
            'nginx_ingress_controller_requests{exported_namespace="shop",exported_service="chat"}',
        ),
        (
            "nginx",
            {"namespace": "shop", "service": "chat"},
            'nginx_ingress_controller_requests{namespace="shop",service="chat"}',
        ),
    ],
)
def test_a_proxy_tells_the_demand_of_a_service(preset: str, labels: dict[str, str], selector: str) -> None:
    fake = FakePrometheus(
        {
            f"timestamp({selector})": vector((labels, NOW.timestamp())),
            f"rate({selector}[60s])": vector((labels, 7.0)),
        }
    )
    (found,) = ask(fake, want(preset=preset))
    assert found.problem == ""
    assert found.figures.requests_per_second == pytest.approx(7.0)


def test_a_service_that_the_proxy_does_not_know_is_told() -> None:
    (found,) = ask(FakePrometheus(), want(preset="istio"))
    assert found.problem == "source main: no istio_requests_total of shop/chat within 300 s"


def test_the_token_goes_to_its_own_source_alone(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("meant-for-main\n")
    seen: list[str | None] = []

    def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response(vector())

    async def scenario() -> None:
        async with serving(answer) as port:
            url = f"http://127.0.0.1:{port}"
            for file in (str(token), None):
                source = PrometheusSource(
                    MetricSource(name="main", url=url, token_file=file), load_signal_presets(), TEMPLATES
                )
                await source.measure([want(preset="", template="gateway")], NOW)

    run(scenario())
    assert seen == ["Bearer meant-for-main", None]


def test_every_minute_of_each_replica_is_a_sample_and_a_restarted_one_is_not_warm() -> None:
    two = {"namespace": "shop", "pod": "two"}
    both = [POD, two]
    cache = {"num_gpu_blocks": "1000", "block_size": "16"}
    table = {
        "timestamp(": vector(*((each, NOW.timestamp()) for each in both)),
        "resets(": vector((POD, 0.0), (two, 1.0)),
        "avg_over_time(vllm:num_requests_running": vector((POD, 6.0), (two, 2.0)),
        "avg_over_time(vllm:kv_cache_usage_perc": vector((POD, 0.25)),
        "vllm:cache_config_info": vector(({**POD, **cache}, 1.0)),
        "rate(vllm:inter_token_latency_seconds_sum": vector((POD, 0.9), (two, 0.5)),
        "rate(vllm:inter_token_latency_seconds_count": vector((POD, 30.0), (two, 10.0)),
        "rate(vllm:request_success_total": vector((POD, 3.0), (two, 1.0)),
    }
    (found,) = ask(FakePrometheus(table), want(pod("one"), pod("two"), is_learning=True))
    one, other = found.samples
    assert (one.running, one.inter_token_seconds, one.is_warm) == (6.0, pytest.approx(0.03), True)
    assert one.kv_tokens == pytest.approx(0.25 * 16000)
    assert (other.running, other.kv_tokens, other.is_warm) == (2.0, None, False)
    assert not math.isnan(found.figures.requests_per_second)
    assert pod("one").workload == CHAT
