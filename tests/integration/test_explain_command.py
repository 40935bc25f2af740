"""`switchyard explain` on files and on a cluster."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.providers import Cluster
from e2e.providers import start as start_cluster
from tests.integration.operator_process import API, OperatorProcess, install_definitions, wait_until
from tests.integration.what_if_files import GPU, node, pool, switchyard, variant, workload, write

from switchyard.cli.explanation import explain
from switchyard.cli.what_if import plan_files

KEY = ("team", "chat")


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Cheap small devices, dear large ones, and a pool that may not be used."""
    large = variant("large", accelerators=["big"], profile=_profile(slots=40))
    small = variant("small", accelerators=["gpu"])
    return write(
        tmp_path / "fleet.yaml",
        pool("small", "1.00"),
        pool("large", "5.50", accelerator="big", device={"family": "gpu", "resourceName": GPU}),
        pool("far", "0.50", cordoned=True),
        *(node(f"{name}-1", name, 8) for name in ("small", "large", "far")),
        workload("chat", "60", variants=[small, large], objectives=[{"percentile": 95, "target": "400ms"}]),
    )


def _profile(slots: int) -> dict[str, Any]:
    return {
        "concurrency": {"slots": slots, "base": "100ms", "slope": "0s", "cv2": "0.2"},
        "source": "benchmark",
    }


def options(document: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(each["variant"], each["pool"]): each for each in document["options"]}


def test_every_option_has_a_verdict_with_its_figures(fleet: Path) -> None:
    ran = switchyard("explain", "iw/chat", "-f", fleet, "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    found = options(ran.document)
    chosen, other = found["small", "small"], found["large", "large"]
    assert (chosen["verdict"], chosen["replicas"], chosen["devices"]) == ("chosen", 2, 2)
    assert chosen["marginalPerHour"] == chosen["allocatedPerHour"] == "2.00"
    assert chosen["ratePerReplica"] == pytest.approx(31, rel=0.05)
    assert chosen["costPerThousandRequests"] == "0.009259"
    (figure,) = chosen["predicted"]
    assert (figure["percentile"], figure["targetSeconds"]) == (95, 0.4)
    assert 0.1 < figure["seconds"] < 0.4
    assert (other["verdict"], other["reason"], other["marginalPerHour"]) == ("possible", "CostHigher", "5.50")
    refused = found["small", "far"]
    assert (refused["verdict"], refused["reason"], refused["marginalPerHour"]) == (
        "refused",
        "PoolCordoned",
        "1.00",
    )
    assert refused["remedies"] == [
        {
            "reason": "PoolCordoned",
            "message": "pool far no longer cordoned",
            "option": "--set pool/far.cordoned=false",
        }
    ]


def test_demand_past_a_turning_point_changes_the_plan_and_short_of_it_does_not(fleet: Path) -> None:
    document = switchyard("explain", "chat", "-f", fleet, "-o", "json").document
    ranges = document["turningPoints"]["demand"]
    turn = next(each for each in ranges if (each["cheapest"] or {}).get("pool") == "large")
    at = turn["aboveRequestsPerSecond"]
    assert 60 < at < 240
    for demand, expected in ((at * 0.999, "small"), (at * 1.001, "large")):
        planned = plan_files([str(fleet)], [f"iw/chat.demand.requestsPerSecond={demand:.4f}"], ())[1]
        assert [seat[1] for seat in planned.seats[KEY]] == [expected]


def test_a_price_past_its_turning_point_changes_the_plan_and_short_of_it_does_not(fleet: Path) -> None:
    document = switchyard("explain", "chat", "-f", fleet, "-o", "json").document
    turns = {each["pool"]: each for each in document["turningPoints"]["prices"]}
    assert (turns["small"]["direction"], turns["small"]["devicePerHour"]) == ("rise", "2.75")
    assert (turns["large"]["direction"], turns["large"]["devicePerHour"]) == ("fall", "2.00")
    for pool_name, price, expected in (
        ("small", "2.74", "small"),
        ("small", "2.76", "large"),
        ("large", "2.01", "small"),
        ("large", "1.99", "large"),
    ):
        planned = plan_files([str(fleet)], [f"pool/{pool_name}.cost.devicePerHour={price}"], ())[1]
        assert [seat[1] for seat in planned.seats[KEY]] == [expected]


def test_overhead_is_taken_off_the_price_that_turns(fleet: Path) -> None:
    settings = ["pool/small.cost.overheadPercent=25", "pool/large.cost.overheadPercent=10"]
    explanation = explain(plan_files([str(fleet)], settings, ())[1], KEY)
    from switchyard.cli.explain_report import describe_explanation

    prices = describe_explanation(explanation)["turningPoints"]["prices"]
    assert {each["pool"]: (each["devicePerHourNow"], each["devicePerHour"]) for each in prices} == {
        "small": ("1.00", "2.42"),  # 5.5 x 1.1 = 2 x 1.25 x 2.42
        "large": ("5.50", "2.2727"),  # 2 x 1.25 = 1.1 x 2.2727
    }


# What refuses the option, the reason in words with numbers, and what it would take.
_REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str, str]] = {
    "residency": (
        {"location": {"residency": ["us"]}},
        {"constraints": {"residency": ["eu"]}},
        "ResidencyMismatch",
        "needs residency eu; the pool states us",
        "--set 'pool/a.location.residency=[us,eu]'",
    ),
    "zone": (
        {"location": {"zones": ["z1", "z2"]}},
        {"constraints": {"zones": ["z1"]}},
        "ZoneMismatch",
        "allowed zones are z1; the pool states z1, z2",
        "--set 'iw/team/chat.constraints.zones=[z1,z2]'",
    ),
    "spot": (
        {"capacityType": "spot"},
        {"constraints": {"capacityTypes": ["on-demand"]}},
        "CapacityTypeMismatch",
        "allowed capacity types are on-demand; the pool is spot",
        "--set 'iw/team/chat.constraints.capacityTypes=[on-demand,spot]'",
    ),
    "pilot": (
        {"maturity": "pilot", "pilot": {"reviewBy": "2027-01-01"}},
        {},
        "MaturityMismatch",
        "allowed maturity is production; the pool is pilot",
        "--set 'iw/team/chat.constraints.maturity=[production,pilot]'",
    ),
    "cordon": ({"cordoned": True}, {}, "PoolCordoned", "pool a is cordoned", "--set pool/a.cordoned=false"),
    "namespace": (
        {"allowedNamespaces": {"matchLabels": {"team": "blue"}}},
        {},
        "NamespaceNotAllowed",
        "pool a does not take workloads of namespace team",
        "--namespace-labels team:team=blue",
    ),
    "budget": (
        {},
        {"budget": {"perHour": "0.75"}},
        "OverBudget",
        "1 replicas cost 1.00 per hour; the budget is 0.75",
        "--set iw/team/chat.budget.perHour=1.00",
    ),
    "budget per thousand": (
        {},
        {"budget": {"perThousandRequests": "0.005"}},
        "OverBudget",
        "per thousand requests; the budget is 0.005",
        "--set iw/team/chat.budget.perThousandRequests=0.0093",
    ),
    "memory": (
        {},
        {"model": {"name": "m", "memory": "40Gi"}},
        "InsufficientMemory",
        "the model needs 40Gi; 1 device of 24Gi hold 24Gi",
        "--set 'iw/team/chat.variants[v].devicesPerReplica=2'",
    ),
    "precision": (
        {"device": {"family": "gpu", "resourceName": GPU, "precisions": ["fp16"]}},
        {"variants": [variant(precision="fp8")]},
        "PrecisionUnsupported",
        "needs precision fp8; the pool has fp16",
        "",
    ),
    "runtime": (
        {"device": {"family": "gpu", "resourceName": GPU, "runtimes": ["onnxruntime"]}},
        {"variants": [variant(runtime="tensorrt")]},
        "RuntimeUnsupported",
        "needs runtime tensorrt; the pool has onnxruntime",
        "",
    ),
    "unit": (
        {"unitDevices": [1, 4, 8]},
        {"variants": [variant(devicesPerReplica=5)]},
        "AllocationUnit",
        "a replica needs 8 devices on one node; the largest open node has 4",
        "",
    ),
    "objective": (
        {"location": {"networkLatency": "30ms"}},
        {"objectives": [{"percentile": 95, "target": "50ms"}]},
        "ObjectiveUnreachable",
        "p95 ≤ 50ms is out of reach",
        "--set 'iw/team/chat.objectives[latency,95].target=",
    ),
    "most replicas": (
        {},
        {"demand": {"requestsPerSecond": "100"}, "scaling": {"maxReplicas": 2, "headroomPercent": 0}},
        "MaxReplicasExceeded",
        "need 3 replicas",
        "--set iw/team/chat.scaling.maxReplicas=3",
    ),
    "room": (
        {},
        {"demand": {"requestsPerSecond": "170"}},
        "InsufficientCapacity",
        "needs 5 x ",
        "--set pool/a.devices=5",
    ),
    "profile": ({}, {"variants": [variant(profile=None)]}, "ProfileMissing", "states no profile", ""),
    "accelerator": (
        {},
        {"constraints": {"families": ["tpu"]}},
        "AcceleratorMismatch",
        "constraints.families is tpu",
        "--set 'iw/team/chat.constraints.families=[tpu,gpu]'",
    ),
}


@pytest.mark.parametrize("case", _REFUSALS)
def test_a_refusal_is_told_with_its_numbers_and_what_lifts_it(tmp_path: Path, case: str) -> None:
    pool_spec, workload_spec, reason, message, option = _REFUSALS[case]
    files = str(write(tmp_path / "w.yaml", pool("a", **pool_spec), node("n", "a"), _chat(workload_spec)))
    planned = plan_files([files], (), ())[1]
    row = next(each for each in explain(planned, KEY).rows if each.pool == "a")
    assert row.standing == "refused"
    assert row.reason == reason
    assert message in row.message
    assert [each.reason for each in row.remedies] == [reason]
    assert row.remedies[0].message
    shown = switchyard("plan", "-f", files)
    assert shown.code == 1
    if not option:
        assert row.remedies[0].option == ""
        return
    assert option in shown.err
    settings, labels = _as_arguments(row.remedies[0].option)
    mended = plan_files([files], settings, labels)[1]
    assert mended.seats.get(KEY), explain(mended, KEY).rows


def _chat(spec: dict[str, Any]) -> dict[str, Any]:
    body = workload("chat", **spec)
    for each in body["spec"]["variants"]:
        if each["profile"] is None:
            del each["profile"]
    return body


def _as_arguments(option: str) -> tuple[list[str], list[str]]:
    flag, _, value = option.partition(" ")
    return ([value], []) if flag == "--set" else ([], [value])


def test_all_objections_are_listed_not_only_the_first(tmp_path: Path) -> None:
    spec = {"budget": {"perHour": "0.50"}, "constraints": {"residency": ["eu"], "maturity": ["pilot"]}}
    files = str(write(tmp_path / "w.yaml", pool("a", cordoned=True), node("n", "a"), _chat(spec)))
    (row,) = explain(plan_files([files], (), ())[1], KEY).rows
    assert [each.reason.value for each in row.remedies] == [
        "PoolCordoned",
        "ResidencyMismatch",
        "MaturityMismatch",
        "OverBudget",
    ]
    settings = [each.option.removeprefix("--set ") for each in row.remedies]
    assert plan_files([files], settings, ())[1].seats.get(KEY)


def test_a_fallback_is_told_apart_from_full_service(tmp_path: Path) -> None:
    spec = {
        "variants": [variant("large"), variant("small", quality="0.9")],
        "fallback": [{"variant": "small"}],
        "objectives": [{"percentile": 95, "target": "400ms"}],
    }
    files = str(write(tmp_path / "w.yaml", pool("a"), node("n", "a"), _chat(spec)))
    rows = {each.name: each for each in explain(plan_files([files], (), ())[1], KEY).rows}
    assert rows["large", "a"].standing == "chosen"
    fallback = rows["small", "a"]
    assert (fallback.standing, fallback.degradation, fallback.reason) == ("possible", 1, "FallbackNotNeeded")
    assert fallback.offer is None  # no alternative to full service at any demand
    explanation = explain(plan_files([files], ["iw/chat.objectives[0].target=1ms"], ())[1], KEY)
    rows = {(each.variant, each.degradation): each for each in explanation.rows}
    assert rows["small", 1].standing == "chosen"
    assert rows["large", 0].reason == "ObjectiveUnreachable"
    assert explanation.cheapest == ("small", "a")


def test_a_mix_shows_each_of_its_options_with_its_share(tmp_path: Path) -> None:
    spec = {
        "demand": {"requestsPerSecond": "170"},
        "placement": {"mode": "mixed"},
        "constraints": {"spread": {"maxPercentPerPool": 60}},
        "objectives": [{"percentile": 95, "target": "400ms"}],
    }
    pools = [pool("a"), pool("b", "1.50"), node("n", "a", 4), node("m", "b", 8)]
    explanation = explain(plan_files([str(write(tmp_path / "w.yaml", *pools, _chat(spec)))], (), ())[1], KEY)
    chosen = [each for each in explanation.rows if each.standing == "chosen"]
    assert [each.pool for each in chosen] == ["a", "b"]
    assert all(0 < (each.replicas or 0) < 6 for each in chosen)
    (first,), (second,) = (each.predicted for each in chosen)
    assert first == second  # callers are spread evenly over all replicas


def test_without_objectives_the_p95_is_shown(tmp_path: Path) -> None:
    files = write(tmp_path / "w.yaml", pool("a"), node("n", "a"), _chat({}))
    ran = switchyard("explain", "iw/chat", "-f", files, "-o", "json")
    (figure,) = options(ran.document)["v", "a"]["predicted"]
    assert (figure["percentile"], figure["targetSeconds"]) == (95, None)
    assert figure["seconds"] > 0.1


def test_text_tells_the_story_from_header_to_remedies(fleet: Path) -> None:
    ran = switchyard("explain", "iw/chat", "-f", fleet, environment={"COLUMNS": "60"})
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out
    for told in (
        r"^Workload:   team/chat, internal$",
        r"^Demand:     60 requests/s",
        r"^Placement:  small/small x2, 2.00 USD per hour, 0.009259 per thousand requests$",
        r"^Predicted:  p95 .* \(400ms\)$",
        r"^POOL +VARIANT +VERDICT",
        r"^small +small +chosen",
        r"^far +small +refused .*PoolCordoned: pool far is cordoned",
        r"small/small +now, at 60$",
        r"^  small +1.00 +above 2.75 +large/large is cheaper than small/small$",
        r"^  far/small: pool far no longer cordoned$",
        r"^    --set pool/far.cordoned=false$",
    ):
        assert re.search(told, ran.out, re.MULTILINE), f"{told}\n{ran.out}"


def test_a_narrow_terminal_wraps_at_words(fleet: Path) -> None:
    from switchyard.cli.explain_report import describe_explanation, format_explanation

    explanation = explain(plan_files([str(fleet)], (), ())[1], KEY)
    document = describe_explanation(explanation)
    whole = format_explanation(explanation, document, width=None)
    for width in (50, 60, 100, 120):
        text = format_explanation(explanation, document, width=width)
        assert max(map(len, text.splitlines())) <= width
        words = {word.strip(",") for word in whole.split()}
        assert {word.strip(",") for word in text.split()} <= words  # none is broken
        assert {"264ms", "PoolCordoned:", "large/large", "--set", "pool/far.cordoned=false"} <= set(
            text.split()
        )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("iw/chatt", "InferenceWorkload chatt is not there; did you mean chat?"),
        ("iw/other/chat", "InferenceWorkload chat is not there in namespace other; there is one in team"),
        ("pod/x/chat", "give iw/NAME"),
    ],
)
def test_a_workload_that_is_not_there_is_named(fleet: Path, asked: str, message: str) -> None:
    ran = switchyard("explain", asked, "-f", fleet)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_an_unplaced_workload_is_explained_and_ends_with_1(tmp_path: Path) -> None:
    files = write(tmp_path / "w.yaml", pool("a", cordoned=True), node("n", "a"), workload("chat"))
    ran = switchyard("explain", "iw/chat", "-f", files)
    assert ran.code == 1
    assert "PoolCordoned" in ran.out


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_plot_is_written_as_its_name_says(fleet: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cost.{suffix}"
    ran = switchyard("explain", "iw/chat", "-f", fleet, "--plot", path)
    assert ran.code == 0, ran.err
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in content
    assert len(content) > 10_000


def test_a_plot_in_the_terminal_names_every_option(fleet: Path) -> None:
    ran = switchyard("explain", "iw/chat", "-f", fleet, "--plot", "-", environment={"COLUMNS": "80"})
    assert ran.code == 0, ran.err
    drawing = ran.out[ran.out.index("What team/chat would cost by demand") :]
    assert "small/small (chosen, x2)" in drawing
    assert "large/large" in drawing
    assert "now, 60/s" in drawing
    assert all(len(line) <= 80 for line in drawing.splitlines())


def test_without_matplotlib_the_extra_is_named(fleet: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "matplotlib"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not installed')")
    ran = switchyard(
        *("explain", "iw/chat", "-f", fleet, "--plot", tmp_path / "x.png"),
        environment={"PYTHONPATH": str(hidden.parent)},
    )
    assert ran.code == 2
    assert "pip install 'switchyard[plot]'" in ran.err


def test_a_plot_of_an_unknown_form_is_refused(fleet: Path) -> None:
    ran = switchyard("explain", "iw/chat", "-f", fleet, "--plot", "cost.bmp")
    assert ran.code == 2
    assert "ends in .png or .svg" in ran.err


def test_every_field_of_the_document_is_described(fleet: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "explain.md").read_text()
    document = switchyard("explain", "iw/chat", "-f", fleet, "-o", "json").document
    document["placements"] = []
    for name in _field_names(document):
        assert f"`{name}" in page or f".{name}" in page, name


def _field_names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_field_names, value.values()))
    return set().union(*map(_field_names, value)) if isinstance(value, list) else set()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with the kinds, two pools, and nodes that nobody simulates."""
    with start_cluster("sandbox", tmp_path_factory.mktemp("cluster"), has_fleet=False) as made:
        install_definitions(made)
        documents = [pool("small", "1.00"), pool("far", "0.50", cordoned=True)]
        documents += [node("s1", "small", 8), node("f1", "far", 8)]
        for document in documents:
            made.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(document))
            if document["kind"] == "Node":
                status = json.dumps({"status": document["status"]})
                name = document["metadata"]["name"]
                made.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", status)
        made.kubectl("create", "namespace", "team")
        made.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(workload("chat", "60")))
        yield made


def test_a_cluster_is_explained_through_the_kubeconfig(cluster: Cluster) -> None:
    environment = {"KUBECONFIG": str(cluster.kubeconfig)}
    ran = switchyard("explain", "iw/chat", "-n", "team", "-o", "json", environment=environment)
    assert (ran.code, ran.err) == (0, "")
    found = options(ran.document)
    assert found["v", "small"]["verdict"] == "chosen"
    assert found["v", "far"]["reason"] == "PoolCordoned"
    assert ran.document["notes"] == []


def test_a_cluster_is_explained_by_kubectl(cluster: Cluster) -> None:
    beside = str(Path(sys.executable).parent)
    done = subprocess.run(
        [str(cluster.kubectl_path), "switchyard", "explain", "iw/chat", "-n", "team"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"KUBECONFIG": str(cluster.kubeconfig), "PATH": beside, "HOME": beside},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "small/v x2" in done.stdout


def test_what_serves_is_explained_as_it_stands(cluster: Cluster, tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(cluster.kubeconfig)}
    with OperatorProcess(cluster, tmp_path, "--no-leader-elect"):
        wait_until(
            "the operator placed chat",
            lambda: (
                cluster.http.get(f"{API}/namespaces/team/inferenceworkloads/chat")
                .body.get("status", {})
                .get("placements")
            ),
        )
    ran = switchyard("explain", "iw/chat", "-n", "team", "-o", "json", environment=environment)
    assert ran.code == 0, ran.err
    stored = cluster.http.get(f"{API}/namespaces/team/inferenceworkloads/chat").body["status"]
    told = [(each["pool"], each["replicas"]) for each in ran.document["placements"]]
    assert told == [(each["pool"], each["replicas"]) for each in stored["placements"]]


def test_missing_rights_are_named(cluster: Cluster, tmp_path: Path) -> None:
    cluster.kubectl("create", "serviceaccount", "reader", "-n", "team")
    token = cluster.kubectl("create", "token", "reader", "-n", "team").stdout.strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    command = ("explain", "iw/chat", "-n", "team", "--kubeconfig", path)
    ran = switchyard(*command)
    assert ran.code == 2
    assert "no right to list acceleratorpools" in ran.err
    assert "no right to list inferenceworkloads" in ran.err
    cluster.kubectl(
        *("create", "clusterrole", "reads-kinds", "--verb=get,list"),
        "--resource=acceleratorpools.switchyard.dev,inferenceworkloads.switchyard.dev",
    )
    cluster.kubectl(
        "create",
        "clusterrolebinding",
        "reads-kinds",
        "--clusterrole=reads-kinds",
        "--serviceaccount=team:reader",
    )
    ran = switchyard(*command)
    assert ran.code in {0, 1}, ran.err
    assert "no right to list nodes" in ran.err
    assert "no right to list pods" in ran.err
    assert "Traceback" not in ran.err


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path) -> None:
    ran = switchyard(
        "explain", "iw/chat", environment={"KUBECONFIG": str(tmp_path / "none"), "HOME": "/nowhere"}
    )
    assert ran.code == 2
    assert "no cluster to work on" in ran.err
    assert "Traceback" not in ran.err
