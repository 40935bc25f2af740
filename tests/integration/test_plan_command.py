"""`switchyard plan` on files, as a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.what_if_files import (
    GPU,
    node,
    pool,
    start_switchyard,
    switchyard,
    variant,
    workload,
    write,
)

EXAMPLES = Path(__file__).parents[2] / "crds" / "examples"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    return write(
        tmp_path / "fleet.yaml",
        pool("cheap", "1.00"),
        pool("dear", "3.00"),
        node("c1", "cheap", 2),
        node("d1", "dear", 8),
        workload("chat", "60", objectives=[{"percentile": 95, "target": "400ms"}]),
    )


def entry(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in document["workloads"] if each["name"] == name)


def test_the_cheaper_pool_is_planned_with_its_figures(fleet: Path) -> None:
    ran = switchyard("plan", "-f", fleet, "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    chat = entry(ran.document, "chat")
    assert chat["isPlaced"]
    assert [(each["pool"], each["variant"], each["replicas"]) for each in chat["placements"]] == [
        ("cheap", "v", 2)
    ]
    assert (chat["devices"], chat["costPerHour"]) == (2, "2.00")
    assert chat["objectives"] == [
        {
            "metric": "latency",
            "percentile": 95,
            "target": "400ms",
            "predicted": chat["placements"][0]["predicted"]["p95"],
        }
    ]
    assert [(each["pool"], each["reason"]) for each in chat["rejected"]] == [("dear", "CostHigher")]
    totals = ran.document["totals"]
    assert (totals["placed"], totals["workloads"], totals["costPerHour"]) == (1, 1, "2.00")
    assert totals["method"]
    assert totals["gapRatio"] == pytest.approx(0, abs=1e-6)


def test_a_pipe_gets_one_line_per_row_without_colours(fleet: Path) -> None:
    ran = start_switchyard("plan", "-f", fleet, environment={"COLUMNS": "40", "FORCE_COLOR": "1"})
    assert ran.code == 0
    assert "\x1b" not in ran.out
    lines = ran.out.splitlines()
    assert lines[0].split()[:3] == ["WORKLOAD", "TIER", "PLACEMENT"]
    row = next(line for line in lines if line.startswith("team/chat"))
    assert "cheap/v x2" in row
    assert "(400ms)" in row
    assert "1 of 1 workloads placed on 2 devices: 2.00 USD per hour" in ran.out


def test_wide_shows_rates_and_pools_with_idle_capacity(tmp_path: Path) -> None:
    files = write(
        tmp_path / "w.yaml",
        pool("owned", capacityType="reserved"),
        node("o1", "owned", 4),
        workload("chat"),
    )
    ran = switchyard("plan", "-f", files, "-o", "wide")
    assert ran.code == 0, ran.err
    assert "RATE" in ran.out
    assert "Idle although paid for: 3.00 USD per hour (owned 3 of 4)" in ran.out


def test_standard_input_lists_and_what_kubectl_prints_are_read(fleet: Path) -> None:
    items = list(yaml.safe_load_all(fleet.read_text()))
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    ran = switchyard("plan", "-f", "-", "-o", "json", stdin=json.dumps(listed))
    assert ran.code == 0, ran.err
    typed = {"apiVersion": "v1", "kind": "NodeList", "items": [items[2]]}
    rest = [each for each in items if each is not items[2]]
    text = yaml.safe_dump_all([typed, *rest, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}])
    ran = switchyard("plan", "-f", "-", "-o", "json", stdin=text)
    assert ran.code == 0, ran.err
    assert entry(ran.document, "chat")["placements"][0]["pool"] == "cheap"
    assert "ignored: 1 of kind ConfigMap" in ran.document["notes"]


def test_the_examples_plan_from_their_directory() -> None:
    ran = switchyard("plan", "-f", EXAMPLES, "-o", "json")
    assert ran.code == 0, ran.err
    assert all(each["isPlaced"] for each in ran.document["workloads"])
    assert all(each["devices"] is None for each in ran.document["pools"] if each["name"] == "gpu-l4")
    assert any("unlimited" in note for note in ran.document["notes"])


@pytest.mark.parametrize(
    ("changes", "status", "devices", "note"),
    [
        ({}, {"devices": {"allocatable": 2}}, 2, "status.devices.allocatable"),
        ({"capacity": {"reservedDevices": 3}}, {}, 3, "capacity.reservedDevices"),
        ({"capacity": {"mode": "elastic", "maxDevices": 5}}, {}, 5, "capacity.maxDevices"),
        ({}, {}, None, "unlimited"),
    ],
)
def test_without_nodes_devices_come_from(
    tmp_path: Path, changes: dict[str, Any], status: dict[str, Any], devices: int | None, note: str
) -> None:
    files = write(tmp_path / "w.yaml", {**pool("a", **changes), "status": status}, workload("chat"))
    ran = switchyard("plan", "-f", files, "-o", "json")
    assert ran.code == 0, ran.err
    assert ran.document["pools"][0]["devices"] == devices
    assert any(note in each for each in ran.document["notes"])


def test_what_cannot_be_placed_ends_with_1_its_reason_and_a_way_out_that_works(tmp_path: Path) -> None:
    files = write(
        tmp_path / "w.yaml",
        pool("us"),
        node("n1", "us"),
        workload("chat", constraints={"residency": ["eu"]}),
    )
    ran = switchyard("plan", "-f", files)
    assert ran.code == 1
    assert "team/chat cannot be placed: ResidencyMismatch: needs residency eu" in ran.err
    assert "--set 'pool/us.location.residency=[eu]'" in ran.err
    assert switchyard("plan", "-f", files, "--set", "pool/us.location.residency=[eu]").code == 0


def test_a_shortage_says_how_many_devices_are_missing(tmp_path: Path) -> None:
    files = write(tmp_path / "w.yaml", pool("a"), node("n1", "a", 1), workload("chat", "90"))
    ran = switchyard("plan", "-f", files)
    assert ran.code == 1
    assert "InsufficientCapacity" in ran.err
    assert "2 more devices in pool a" in ran.err
    assert switchyard("plan", "-f", files, "--set", "pool/a.devices=3").code == 0


def test_a_part_that_is_served_ends_with_1_too(tmp_path: Path) -> None:
    short = workload("chat", "170", placement={"mode": "mixed"})
    files = write(tmp_path / "w.yaml", pool("a"), pool("b"), node("n1", "a", 2), node("n2", "b", 1), short)
    ran = switchyard("plan", "-f", files, "-o", "json")
    assert ran.code == 1
    chat = entry(ran.document, "chat")
    assert (chat["isPlaced"], chat["devices"]) == (True, 3)
    assert chat["unservedRatio"] == pytest.approx(0.4, abs=0.1)
    assert "team/chat is placed in part only: InsufficientCapacity" in ran.err


def test_a_what_if_shows_before_after_moves_and_money(fleet: Path) -> None:
    setting = "pool/dear.cost.devicePerHour=0.40"
    ran = switchyard("plan", "-f", fleet, "--set", setting, "-o", "json")
    assert ran.code == 0, ran.err
    assert entry(ran.document, "chat")["placements"][0]["pool"] == "dear"
    assert entry(ran.document["before"], "chat")["placements"][0]["pool"] == "cheap"
    assert ran.document["change"] == {
        "marginalPerHour": "-1.20",
        "percent": -60.0,
        "workloads": [
            {
                "namespace": "team",
                "name": "chat",
                "before": [{"variant": "v", "pool": "cheap", "replicas": 2}],
                "after": [{"variant": "v", "pool": "dear", "replicas": 2}],
                "marginalPerHour": "-1.20",
            }
        ],
    }
    text = switchyard("plan", "-f", fleet, "--set", setting).out
    assert "cheap/v x2" in text
    assert "dear/v x2" in text
    assert "Difference: -1.20 per hour (-60.0 %)" in text


@pytest.mark.parametrize(
    ("setting", "pool_name", "replicas"),
    [
        ("pool/cheap.devices=1", "dear", 2),
        ("iw/team/chat.demand.requestsPerSecond=10", "cheap", 1),
        ("iw/chat.demand.requestsPerSecond=100", "dear", 4),
        ("iw/chat.constraints.accelerators=[gpu]", "cheap", 2),
        ("pool/cheap.cordoned=true", "dear", 2),
        ("iw/chat.objectives=null", "cheap", 2),
    ],
)
def test_a_setting_changes_the_plan(fleet: Path, setting: str, pool_name: str, replicas: int) -> None:
    ran = switchyard("plan", "-f", fleet, "-o", "json", "--set", setting)
    assert ran.code == 0, ran.err
    placement = entry(ran.document, "chat")["placements"][0]
    assert (placement["pool"], placement["replicas"]) == (pool_name, replicas)


def test_a_target_is_set_by_position_and_by_name(fleet: Path) -> None:
    for item in ("0", "latency,95"):
        ran = switchyard("plan", "-f", fleet, "--set", f"iw/chat.objectives[{item}].target=1ms")
        assert ran.code == 1
        assert "ObjectiveUnreachable" in ran.err


def test_namespace_labels_open_a_pool(tmp_path: Path) -> None:
    files = write(
        tmp_path / "w.yaml",
        pool("a", allowedNamespaces={"matchLabels": {"team": "search"}}),
        node("n1", "a"),
        workload("chat"),
    )
    ran = switchyard("plan", "-f", files)
    assert ran.code == 1
    assert "--namespace-labels team:team=search" in ran.err
    assert switchyard("plan", "-f", files, "--namespace-labels", "team:team=search").code == 0
    assert switchyard("plan", "-f", files, "--namespace-labels", "team=search").code == 0


def test_a_quota_holds_a_namespace_back(tmp_path: Path) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus", "namespace": "team"},
        "spec": {"hard": {f"requests.{GPU}": "1"}},
        "status": {"hard": {f"requests.{GPU}": "1"}, "used": {f"requests.{GPU}": "0"}},
    }
    files = write(tmp_path / "w.yaml", pool("a"), node("n1", "a"), workload("chat", "90"), quota)
    ran = switchyard("plan", "-f", files)
    assert ran.code == 1
    assert "uota" in ran.err


BAD = """\
apiVersion: switchyard.dev/v1alpha1
kind: AcceleratorPool
metadata: {name: l4}
spec:
  accelerater: nvidia-l4
  cost:
    devicePerHour: 0.5
---
apiVersion: switchyard.dev/v1alpha1
kind: InferenceWorkload
metadata: {name: chat, namespace: team}
spec:
  demand:
    requestsPerSecond: ten
  objectives:
    - {percentile: "95", target: 300ms}
  variants:
    - name: a
      accelerators: [gpu]
      container: {image: x}
    - name: a
      accelerators: [gpu]
      container: {image: x}
"""


def test_bad_input_ends_with_2_and_names_line_field_value_and_way_out(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    ran = switchyard("plan", "-f", path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        f"{path}:5: AcceleratorPool l4: spec.accelerater: no such field; did you mean accelerator?",
        (
            f"{path}:7: AcceleratorPool l4: spec.cost.devicePerHour: 0.5: must be a string; write it in quotes: "
            '"0.5"'
        ),
        (
            f"{path}:14: InferenceWorkload team/chat: spec.demand.requestsPerSecond: 'ten': give a rate as a decimal "
            "string such as '12.5'"
        ),
        (
            f"{path}:16: InferenceWorkload team/chat: spec.objectives[0].percentile: '95': must be an integer; write "
            "it without quotes"
        ),
        f"{path}:21: InferenceWorkload team/chat: spec.variants[1]: a is given twice: keep one",
    ]


def test_rules_between_fields_hold_here_too(tmp_path: Path) -> None:
    demand = {"requestsPerSecond": "5", "requestsPerDay": 7}
    files = write(tmp_path / "w.yaml", workload("chat", demand=demand))
    ran = switchyard("plan", "-f", files)
    assert ran.code == 2
    assert "spec.demand: " in ran.err
    assert "requestsPerDay" in ran.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", ": not YAML"),
        ("kind: Node\nkind: Node", ":2: key 'kind' is given twice"),
        ("- 1", ":1: not a Kubernetes object"),
        ("apiVersion: switchyard.dev/v1alpha1\nkind: AcceleratorPol\nmetadata: {name: a}", ":2: kind: "),
        ("apiVersion: v2\nkind: AcceleratorPool\nmetadata: {name: a}", "give switchyard.dev/v1alpha1"),
        ("apiVersion: v1\nkind: Node\nmetadata: {}", "metadata.name: must be given"),
        (
            "apiVersion: switchyard.dev/v1alpha1\nkind: AcceleratorPool\nmetadata:\n  name: a\n  lables: {}",
            ":5: AcceleratorPool a: metadata.lables: no such field; did you mean labels?",
        ),
        ("apiVersion: v1\nkind: Node\nmetadata: {name: n}", "nothing to plan"),
        ("", "nothing to plan"),
    ],
)
def test_what_is_no_input_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    ran = switchyard("plan", "-f", path)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_a_missing_file_and_an_empty_directory_are_refused(tmp_path: Path) -> None:
    ran = switchyard("plan", "-f", tmp_path / "none.yaml", "-f", tmp_path)
    assert ran.code == 2
    assert "none.yaml: can't be read" in ran.err
    assert "no .yaml, .yml or .json file" in ran.err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("iw/chatt.tier=batch", "no InferenceWorkload is called 'chatt'; did you mean chat?"),
        ("iw/chat.tiers=batch", "no field 'tiers' in spec; did you mean tier?"),
        ("iw/chat.tier=bach", "spec.tier: 'bach'"),
        ("iw/chat.variants[w].precision=fp8", "no item 'w' in variants"),
        ("pool/cheap.devices=many", "give a number of devices"),
        ("chat.tier=batch", "give KIND/NAME.PATH=VALUE"),
        ("iw/chat.tier", "give KIND/NAME.PATH=VALUE"),
    ],
)
def test_a_setting_that_cannot_be_applied_is_refused(fleet: Path, setting: str, message: str) -> None:
    ran = switchyard("plan", "-f", fleet, "--set", setting)
    assert ran.code == 2
    assert message in ran.err


def test_a_field_may_be_taken_away_to_make_room_for_another(fleet: Path) -> None:
    ran = switchyard(
        *("plan", "-f", fleet, "-o", "json"),
        *("--set", "iw/chat.demand.requestsPerSecond=null", "--set", "iw/chat.demand.requestsPerDay=864000"),
    )
    assert ran.code == 0, ran.err
    assert entry(ran.document, "chat")["placements"][0]["replicas"] == 1


def test_the_same_input_gives_the_same_document_in_any_order(fleet: Path) -> None:
    items = list(yaml.safe_load_all(fleet.read_text()))
    turned = yaml.safe_dump_all(items[::-1])
    first = switchyard("plan", "-f", fleet, "-o", "json")
    second = switchyard("plan", "-f", "-", "-o", "json", stdin=turned)
    assert first.out == second.out


def test_yaml_holds_what_json_holds(fleet: Path) -> None:
    as_json = switchyard("plan", "-f", fleet, "-o", "json").document
    assert yaml.safe_load(switchyard("plan", "-f", fleet, "-o", "yaml").out) == as_json


def test_every_field_of_the_document_is_described(fleet: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "explain.md").read_text()
    document = switchyard("plan", "-f", fleet, "-o", "json", "--set", "pool/dear.cordoned=true").document
    del document["before"]["workloads"]
    for each in document["workloads"]:
        each["placements"] = each["rejected"] = []
    for name in _field_names(document):
        assert f"`{name}" in page or f".{name}" in page, name


def _field_names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_field_names, value.values()))
    return set().union(*map(_field_names, value)) if isinstance(value, list) else set()


def test_a_podtemplate_is_found_in_the_files(tmp_path: Path) -> None:
    template = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "t", "namespace": "team"},
        "template": {"spec": {"containers": [{"name": "c", "image": "x"}]}},
    }
    referring = variant(podTemplateRef={"name": "t"})
    del referring["container"]
    chat = workload("chat", variants=[referring])
    without = write(tmp_path / "w.yaml", pool("a"), node("n1", "a"), chat)
    ran = switchyard("plan", "-f", without)
    assert ran.code == 1
    assert "PodTemplateNotFound" in ran.err
    assert switchyard("plan", "-f", without, "-f", write(tmp_path / "t.yaml", template)).code == 0


def test_an_example_without_a_profile_is_placed_and_noted_as_an_estimate() -> None:
    files = ("-f", EXAMPLES, "-f", EXAMPLES / "language-models")
    ran = switchyard("plan", *files, "-o", "json")
    assert ran.code == 0
    summaries = entry(ran.document, "summaries")
    assert summaries["isPlaced"]
    assert summaries["reason"] == "ProfileEstimated"
    assert "what bf16 carries is estimated from data sheets" in summaries["message"]
    assert [each["name"] for each in ran.document["workloads"] if each["reason"]] == ["summaries"]
    shown = switchyard("explain", "iw/summaries", *files)
    assert "Note:       ProfileEstimated: " in shown.out


def test_without_leave_to_estimate_the_same_example_has_no_place() -> None:
    files = ("-f", EXAMPLES, "-f", EXAMPLES / "language-models")
    ran = switchyard("plan", *files, "--set", "iw/default/summaries.placement.estimate=never", "-o", "json")
    summaries = entry(ran.document, "summaries")
    assert (summaries["isPlaced"], summaries["reason"]) == (False, "ProfileMissing")
