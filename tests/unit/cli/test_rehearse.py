"""What a rehearsal makes of words, files and plans, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api.parsing import parse_plan, parse_pool, parse_workload
from switchyard.api.values import Duration
from switchyard.api.workload import Variant
from switchyard.catalog import load_catalog
from switchyard.cli.manifest_checks import check_body
from switchyard.cli.manifests import BadInputError
from switchyard.cli.rehearse import command
from switchyard.cli.rehearse_duration import estimate_stages, find_bad_ratios
from switchyard.cli.rehearse_faults import Fault, make_faulty, parse_faults
from switchyard.cli.rehearse_input import Cast, read_cast
from switchyard.cli.rehearse_objects import (
    build_fleet,
    build_pool,
    build_workload,
    estimate_service,
    find_rate,
    list_callers,
)
from switchyard.cli.rehearse_scaling import SEGMENT_HEADER, choose_speed, scale_plan
from switchyard.core.cutover.facts import read_plan
from switchyard.core.cutover.types import PlanFacts

EXAMPLES = Path(__file__).resolve().parents[3] / "crds" / "examples"
POOLS = [str(EXAMPLES / f"{number}-pools-{kind}.yaml") for number, kind in ((10, "gpu"), (11, "cloud"))]
EMBED = [*POOLS, str(EXAMPLES / "21-embed.yaml"), str(EXAMPLES / "cutover" / "60-embed.yaml")]
CHAT = [*POOLS, str(EXAMPLES / "20-chat.yaml"), str(EXAMPLES / "cutover" / "63-chat.yaml")]


@cache
def read_embed() -> Cast:
    return read_cast(EMBED, "embed-to-inferentia", None)


@cache
def read_chat() -> Cast:
    return read_cast(CHAT, None, None)


@pytest.fixture
def embed() -> Cast:
    return read_embed()


@pytest.fixture
def chat() -> Cast:
    return read_chat()


def read_facts(cast: Cast, document: Any = None) -> PlanFacts:
    spec = parse_plan(document).spec if document else cast.plan
    return read_plan(spec, cast.workload_spec, namespace=cast.namespace, name=cast.name, uid="", generation=1)


# -- faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("errors=0.05", Fault("errors", 0.05, "candidate")),
        ("errors=1@baseline", Fault("errors", 1.0, "baseline")),
        ("slow=2.5@candidate", Fault("slow", 2.5, "candidate")),
        ("wrong=0.1", Fault("wrong", 0.1, "candidate")),
        ("crash@candidate", Fault("crash", 0.0, "candidate")),
    ],
)
def test_faults_are_read_and_written_alike(text: str, fault: Fault) -> None:
    assert parse_faults([text]) == (fault,)
    assert parse_faults([str(fault)]) == (fault,)


def test_no_fault_can_be_told() -> None:
    assert parse_faults(["none"]) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("error=0.05", "did you mean errors?"),
        ("errors", "'': give a share of requests above 0 and at most 1, as errors=0.05"),
        ("errors=5", "'5': give a share"),
        ("errors=0", "'0': give a share"),
        ("wrong=nan", "'nan': give a share"),
        ("slow=1", "'1': give a factor above 1"),
        ("slow=fast", "'fast': give a factor above 1"),
        ("crash=2", "crash takes no amount"),
        ("crash@candiate", "did you mean candidate?"),
        ("crash@", "is no side"),
        ("", "is no fault"),
    ],
)
def test_a_fault_that_is_none_is_named_with_a_way_out(text: str, told: str) -> None:
    with pytest.raises(BadInputError) as refused:
        parse_faults([text])
    assert f"--fault {text!r}: " in str(refused.value)
    assert told in str(refused.value)


def test_a_fault_of_a_side_is_given_once() -> None:
    with pytest.raises(BadInputError, match="given twice"):
        parse_faults(["slow=2", "slow=3@candidate"])
    assert len(parse_faults(["slow=2", "slow=3@baseline"])) == 2


def test_a_fault_strikes_its_own_side_and_as_much_more_often_as_its_margin_is_wider() -> None:
    faults = parse_faults(["errors=0.001", "slow=3", "errors=0.5@baseline"])
    candidate = make_faulty(faults, "candidate", {"errors": 100.0})
    assert candidate.arguments == ("--error-ratio=0.1",)
    assert candidate.latency_factor == 3
    baseline = make_faulty(faults, "baseline", {"errors": 100.0})
    assert baseline.arguments == ("--error-ratio=0.9",)
    assert baseline.latency_factor == 1


# -- time


def test_a_plan_is_so_much_faster_that_its_shortest_times_last_a_minute(embed: Cast) -> None:
    assert choose_speed(read_facts(embed)) == 90  # 10m of copies, four steps of 5m, an hour of warmth


def test_what_is_rehearsed_is_a_plan_of_the_kind_with_the_same_stages(chat: Cast) -> None:
    facts = read_facts(chat)
    scaled = scale_plan(chat.name, chat.namespace, chat.plan, facts, 500)
    rehearsed = read_facts(chat, scaled.document)
    assert [each.name for each in rehearsed.segments] == [each.name for each in facts.segments]
    assert [each.stays for each in rehearsed.segments] == [each.stays for each in facts.segments]
    assert [each.name for each in rehearsed.gates] == [each.name for each in facts.gates]
    assert not rehearsed.windows
    assert rehearsed.approvals == rehearsed.approved == facts.approvals
    assert rehearsed.interval_seconds == 1
    body = {**scaled.document, "metadata": {"name": chat.name, "namespace": chat.namespace}}
    assert check_body(body) == []  # by the rules between fields too
    assert any("windows" in note for note in scaled.notes)
    assert any("approved at once" in note for note in scaled.notes)


@given(speed=st.floats(1, 5000))
def test_durations_are_divided_but_never_longer_than_in_the_plan(speed: float) -> None:
    cast = read_chat()
    facts = read_facts(cast)
    rehearsed = read_facts(cast, scale_plan(cast.name, cast.namespace, cast.plan, facts, speed).document)
    assert rehearsed.shadow.min_seconds <= max(2.0, facts.shadow.min_seconds / speed * 1.001)
    assert rehearsed.shadow.min_samples <= facts.shadow.min_samples
    for before, after in zip(facts.segments, rehearsed.segments, strict=True):
        assert sum(each.min_seconds for each in after.steps) <= sum(
            max(2.0, each.min_seconds / speed * 1.001) for each in before.steps
        )
        weights = [each.weight_percent for each in after.steps]
        assert weights == sorted(set(weights))
        assert not weights or (weights[0] >= 10 and weights[-1] == 100)
        assert all(each.min_seconds <= each.max_seconds for each in after.steps)


def test_margins_and_faults_are_magnified_alike(embed: Cast) -> None:
    facts = read_facts(embed)
    scaled = scale_plan(embed.name, embed.namespace, embed.plan, facts, 90)
    (before,) = [each for each in facts.gates if each.kind == "errors"]
    (after,) = [each for each in read_facts(embed, scaled.document).gates if each.kind == "errors"]
    assert after.absolute_ratio == pytest.approx(before.absolute_ratio * scaled.magnified["errors"])
    assert after.odds_ratio == before.odds_ratio
    assert after.hard_stop_ratio == 1  # else a fault within the margin would end it at once


def change_plan(cast: Cast, change: Callable[[dict[str, Any]], None]) -> Any:
    """The spec of the cast's plan after a change of its fields."""
    told = cast.plan.model_dump(mode="json", by_alias=True, exclude_none=True)
    change(told)
    document = {"metadata": {"name": cast.name}, "spec": told}
    return parse_plan(document).spec


def test_a_path_gets_a_header_in_its_place_and_signals_are_left_out(embed: Cast) -> None:
    def change(told: dict[str, Any]) -> None:
        told["segments"] = [{"name": "api", "match": {"pathPrefix": "/v1/x"}}, {"name": "others"}]
        signal = {"source": "prometheus", "template": "refusals", "max": "1"}
        told["gates"] = [{"name": "errors", "errors": {}}, {"name": "refusals", "signal": signal}]
        told["traffic"] = {"router": "istio"}

    spec = change_plan(embed, change)
    facts = read_plan(spec, embed.workload_spec, namespace="default", name="p", uid="", generation=1)
    scaled = scale_plan("p", "default", spec, facts, 90)
    told = parse_plan(scaled.document).spec
    assert told.traffic.router == "builtin"
    assert [each.name for each in told.gates] == ["errors"]
    matches = {each.name: each.match for each in told.segments or ()}
    rate = find_rate(embed.workload_spec.demand)
    assert rate is not None
    callers = {each.name: each for each in list_callers(facts, matches, rate)}
    assert callers["api"].headers == {SEGMENT_HEADER: "api"}
    assert callers["others"].headers == {}
    assert len(scaled.notes) == len(set(scaled.notes)) >= 3


def test_a_stage_takes_the_longest_of_its_minima_and_the_evidence(embed: Cast) -> None:
    facts = read_facts(embed)
    slow = estimate_stages(facts, 1, {})
    usual = estimate_stages(facts, 30, {})
    quick = estimate_stages(facts, 100_000, {})
    assert [each.stage for each in usual] == ["shadow", "canary", "canary", "canary", "canary", "soak"]
    assert [each.weight_percent for each in usual] == [20, 5, 25, 50, 100, 100]
    for few, some, many in zip(slow, usual, quick, strict=True):
        assert few.seconds >= some.seconds >= many.seconds
    shortest = [600, 300, 300, 300, 300, 3600]
    assert [each.seconds for each in quick] == shortest
    assert {each.because for each in quick} == {"shortestTime"}
    assert usual[1].because == "evidence"
    assert usual[1].seconds > 600


def test_pairs_of_a_canary_are_of_what_the_baseline_answers_and_none_at_the_whole_weight(chat: Cast) -> None:
    facts = read_facts(chat)
    (parity,) = (each for each in facts.gates if each.kind == "parity")
    shadow, *canary, _ = estimate_stages(replace(facts, gates=(parity,)), 8, {})
    found = {each.weight_percent: each for each in canary if each.segment == "batch"}
    assert (shadow.because, found[20].because, found[100].because) == ("evidence", "evidence", "shortestTime")
    settling = facts.interval_seconds
    assert 0.8 * (found[20].seconds - settling) == pytest.approx(shadow.seconds - settling)


def test_a_side_that_just_keeps_its_objectives_is_slow_that_often(embed: Cast) -> None:
    ratios = find_bad_ratios(read_facts(embed), embed.workload_spec)
    assert ratios == {"latency": pytest.approx(0.01)}  # the gate goes by the p99
    facts = read_facts(embed)
    with_slow, without = estimate_stages(facts, 30, ratios), estimate_stages(facts, 30, {})
    assert sum(each.seconds for each in with_slow) > sum(each.seconds for each in without)


# -- stand-ins


def test_servers_are_simulated_by_their_profiles_and_only_the_candidate_is_faulty(embed: Cast) -> None:
    rate = find_rate(embed.workload_spec.demand)
    assert rate is not None
    faulty = make_faulty(parse_faults(["slow=2", "crash"]), "candidate", {})
    body = build_workload(embed, rate, {"neuron": faulty}, ["gpu", "neuron"])
    spec = parse_workload(body).spec
    containers = {each["name"]: each["container"] for each in body["spec"]["variants"]}
    assert list(containers) == ["neuron", "gpu"]
    assert all(each["command"] == ["switchyard", "model-server"] for each in containers.values())
    assert "--base-ms=110" in containers["gpu"]["args"]
    assert "--base-ms=180" in containers["neuron"]["args"]
    assert containers["neuron"]["resources"]["limits"] == {"memory": "512Mi"}
    assert "resources" not in containers["gpu"]
    assert str(spec.placement.migration) == "manual"


@pytest.mark.parametrize(
    ("profile", "slots", "base_ms", "slope_ms"),
    [
        (None, 8, 110, 4),  # that of an L4
        ({"concurrency": {"slots": 4, "base": "20ms", "slope": "5ms"}}, 4, 20, 5),
        (
            {
                "tokens": {
                    "iteration": "5ms",
                    "perSequence": "100us",
                    "perPrefillToken": "50us",
                    "maxBatch": 64,
                }
            },
            64,
            100 * 0.05 + 200 * 5,
            200 * 0.1,
        ),
        (
            {
                "linear": {
                    "decodeAlpha": "5ms",
                    "decodeBeta": "100us",
                    "prefillGamma": "10ms",
                    "prefillDelta": "50us",
                    "maxBatch": 32,
                }
            },
            32,
            10 + 100 * 0.05 + 200 * 5,
            200 * 0.1,
        ),
        ({"points": [{"rate": "20", "p50": "100ms", "p95": "150ms", "p99": "200ms"}]}, 3, 100, 0),
    ],
)
def test_a_replica_is_simulated_by_any_kind_of_profile(
    profile: Any, slots: int, base_ms: float, slope_ms: float, embed: Cast
) -> None:
    variant = Variant.model_validate(
        {
            "name": "v",
            "accelerators": ["nvidia-l4"],
            "container": {"image": "i"},
            **({"profile": profile} if profile else {}),
        }
    )
    tokens = {"inputTokens": {"mean": "100"}, "outputTokens": {"mean": "200"}}
    workload = {
        **embed.workload,
        "spec": {**embed.workload["spec"], "demand": {"requestsPerSecond": "1", **tokens}},
    }
    service = estimate_service(variant, parse_workload(workload).spec.demand)
    assert service.slots == slots
    assert service.base_seconds == pytest.approx(base_ms / 1000)
    assert service.slope_seconds == pytest.approx(slope_ms / 1000)


def test_every_pool_has_nodes_with_its_devices(embed: Cast) -> None:
    rate = find_rate(embed.workload_spec.demand)
    assert rate is not None
    fleet = {each["name"]: each for each in build_fleet(embed, rate, load_catalog())["pools"]}
    for name, (body, _) in embed.pools.items():
        nodes, pool = fleet[f"{name}-pool"], build_pool(name, body)
        assert parse_pool(pool).spec.node_selector == nodes["labels"]
    assert fleet["inferentia2-pool"]["devices"] == {"aws.amazon.com/neuron": 16}
    assert "devices" not in fleet["cpu-amx-pool"]


# -- files


def test_the_files_must_hold_the_plan_the_workload_and_pools(tmp_path: Path) -> None:
    plan = EMBED[-1]
    with pytest.raises(BadInputError, match="choose one with --plan: embed-to-inferentia, score-to-tpu"):
        read_cast([plan], None, None)
    with pytest.raises(BadInputError, match="did you mean embed-to-inferentia"):
        read_cast([plan], "embed-to-inferentias", None)
    with pytest.raises(BadInputError) as refused:
        read_cast([plan], "embed-to-inferentia", None)
    workload, pools = refused.value.problems
    assert "spec.workloadRef.name: 'embed': no InferenceWorkload default/embed is given" in workload
    assert "--from-cluster" in workload
    assert "no AcceleratorPool is given" in pools
    with pytest.raises(BadInputError, match="no CutoverPlan is given"):
        read_cast(POOLS, None, None)
    broken = tmp_path / "plan.yaml"
    broken.write_text(Path(plan).read_text().replace("variant: neuron", "variant: neuron\n    pol: x"))
    with pytest.raises(BadInputError, match=r"spec\.target\.pol: no such field; did you mean pool\?"):
        read_cast([str(broken)], "embed-to-inferentia", None)


@pytest.mark.parametrize(
    ("target", "serves", "told"),
    [
        ("neurn", None, "spec.target.variant: 'neurn'"),
        ("neuron", "gpuu@gpu-l4", "--serves 'gpuu'"),
        ("neuron", "gpu@gpu-l5", "--serves: pool 'gpu-l5'"),
        ("neuron", "neuron", "spec.target.pool: must be given for a rehearsal"),
    ],
)
def test_there_must_be_a_place_to_leave_and_another_to_reach(
    target: str, serves: str | None, told: str, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    text = Path(EMBED[-1]).read_text().replace("variant: neuron", f"variant: {target}")
    plan.write_text(text)
    with pytest.raises(BadInputError) as refused:
        read_cast([*EMBED[:-1], str(plan)], "embed-to-inferentia", serves)
    assert told in str(refused.value)


def test_a_variant_that_moves_between_pools_gets_a_twin(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    text = Path(EMBED[-1]).read_text()
    plan.write_text(text.replace("variant: neuron\n", "variant: neuron\n    pool: trainium1\n", 1))
    sources = [*EMBED[:-1], str(plan)]
    with pytest.raises(BadInputError, match="the plan's own target"):
        read_cast(sources, "embed-to-inferentia", "neuron@trainium1")
    cast = read_cast(sources, "embed-to-inferentia", "neuron@inferentia2")
    assert cast.is_twin
    assert (cast.serving.variant, cast.serving.pool) == ("neuron", "inferentia2")
    variants = {each.name: each for each in cast.workload_spec.variants}
    twin = variants[cast.plan.target.variant]
    assert twin.name != "neuron"
    assert twin.profile == variants["neuron"].profile
    facts = read_facts(cast)
    document = scale_plan(cast.name, cast.namespace, cast.plan, facts, 90).document
    assert document["spec"]["target"] == {"variant": twin.name, "pool": "trainium1"}


def test_where_a_workload_serves_is_read_from_its_status(tmp_path: Path, embed: Cast) -> None:
    placement = {"variant": "gpu", "pool": "gpu-l4", "replicas": 2, "ready": 2}
    live = {**embed.workload, "status": {"observedGeneration": 1, "placements": [placement]}}
    (tmp_path / "workload.json").write_text(json.dumps(live))
    sources = [*POOLS, str(tmp_path / "workload.json"), EMBED[-1]]
    serving = read_cast(sources, "embed-to-inferentia", None).serving
    assert (serving.variant, serving.pool) == ("gpu", "gpu-l4")
    stated = read_cast(sources, "embed-to-inferentia", "cores").serving
    assert (stated.variant, stated.pool) == ("cores", "")


def test_what_the_files_lack_can_come_from_a_cluster(embed: Cast) -> None:
    asked = []

    def read(namespace: str, name: str) -> tuple[Any, Any]:
        asked.append((namespace, name))
        return embed.workload, [body for body, _ in embed.pools.values()]

    cast = read_cast([EMBED[-1]], "embed-to-inferentia", None, read)
    assert asked == [("default", "embed")]
    assert cast.pools.keys() == embed.pools.keys()


# -- the command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-f", "nowhere.yaml"], "nowhere.yaml: can't be read"),
        (["--fault", "errors=7", "-f", EMBED[-1]], "--fault 'errors=7'"),
        (["--timeout", "soon", "-f", EMBED[-1]], "--timeout 'soon'"),
        (["--speed", "0.5", "-f", EMBED[-1]], "0.5 is not in the range"),
        ([], "Missing option '-f'"),
    ],
)
def test_bad_input_ends_with_1(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert told in result.output


def test_a_demand_without_a_rate_is_refused(tmp_path: Path) -> None:
    (workload,) = yaml.safe_load_all(Path(EMBED[2]).read_text())
    workload["spec"]["demand"] = {"signal": {"source": "prometheus", "preset": "vllm"}}
    (tmp_path / "workload.yaml").write_text(yaml.safe_dump(workload))
    sources = [*POOLS, str(tmp_path / "workload.yaml"), EMBED[-1]]
    arguments = [part for each in sources for part in ("-f", each)]
    result = CliRunner().invoke(command, [*arguments, "--plan", "embed-to-inferentia"])
    assert result.exit_code == 1
    assert "spec.demand: states no rate" in result.output


def test_durations_of_a_rehearsed_plan_are_such_as_authors_write(embed: Cast) -> None:
    document = scale_plan(embed.name, embed.namespace, embed.plan, read_facts(embed), 7.3).document
    assert Duration(document["spec"]["shadow"]["minDuration"]).seconds == pytest.approx(600 / 7.3, rel=1e-3)
