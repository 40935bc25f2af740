"""The alert rules as Prometheus reads them: when each fires, when it doesn't, and what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from tests.contract.test_chart import CHART, render

from switchyard.adapters.metric_catalog import ALL_METRICS
from switchyard.api import Reason
from switchyard.api.cutover_status import Phase

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
MONITORING = {"metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
PLAN = 'namespace="shop",name="move"'
NAMES = {"namespace": "shop", "name": "move"}


def groups() -> list[dict]:
    (rule,) = [each for each in render(MONITORING) if each["kind"] == "PrometheusRule"]
    return rule["spec"]["groups"]


def alerts() -> dict[str, dict]:
    return {rule["alert"]: rule for group in groups() for rule in group["rules"]}


def _series(metric: str, values: str, **labels: str) -> dict[str, str]:
    told = "".join(f',{label}="{value}"' for label, value in labels.items())
    return {"series": f"switchyard_cutover_{metric}{{{PLAN}{told}}}", "values": values}


def _fires(alert: str, at: str, *labels: dict[str, str]) -> dict[str, Any]:
    """That the alert fires then, for each of the labels; for none: that it does not."""
    severity = alerts()[alert]["labels"]
    told = [{"exp_labels": {**severity, **each}} for each in labels]
    return {"eval_time": at, "alertname": alert, "exp_alerts": told}


# name -> series at intervals of a minute, and what is expected of which alert when
SCENES: dict[str, tuple[list[dict[str, str]], list[tuple[str, str, bool]]]] = {
    "a plan rolls back, and is started anew": (
        [_series("phase", "0x4 1x9 0x9", phase="RolledBack"), _series("condition", "1x22", condition="Stalled")],
        [
            ("SwitchyardCutoverRolledBack", "4m", False),
            ("SwitchyardCutoverRolledBack", "6m", True),
            ("SwitchyardCutoverRolledBack", "16m", False),
            ("SwitchyardCutoverStalled", "12m", False),
        ],
    ),
    "a plan completes": (
        [_series("phase", "1x20", phase="Completed"), _series("dual_run_cost", "99x20"), _series("dual_run_budget", "100x20")],
        [("SwitchyardCutoverRolledBack", "20m", False), ("SwitchyardCutoverBudgetNearlySpent", "20m", False)],
    ),
    "the baseline is lost on the way back": (
        [_series("waiting", "1x20", reason="RollbackHalted"), _series("condition", "1x20", condition="Stalled")],
        [
            ("SwitchyardCutoverReturnHeld", "30s", False),
            ("SwitchyardCutoverReturnHeld", "2m", True),
            ("SwitchyardCutoverStalled", "20m", False),  # one alert for one thing
        ],
    ),
    "a gate failed and nobody may roll back but a person": (
        [
            _series("waiting", "1x20", reason="GateFailed"),
            _series("phase", "1x20", phase="Paused"),
            _series("phase", "0x20", phase="RolledBack"),
            _series("condition", "1x20", condition="Stalled"),
        ],
        [
            ("SwitchyardCutoverStalled", "4m", False),
            ("SwitchyardCutoverStalled", "6m", True),
            ("SwitchyardCutoverInconclusive", "20m", False),
        ],
    ),
    "a phase should have ended at 10m": (
        [_series("deadline_timestamp_seconds", "600x30")],
        [("SwitchyardCutoverOverdue", "15m", False), ("SwitchyardCutoverOverdue", "16m", True)],
    ),
    "a phase should have ended, and the plan says why it has not": (
        [_series("deadline_timestamp_seconds", "600x30"), _series("condition", "1x30", condition="Stalled")],
        [("SwitchyardCutoverOverdue", "20m", False), ("SwitchyardCutoverStalled", "20m", True)],
    ),
    "evidence comes every 30 s": (
        [_series("evidence_age_seconds", "35x20"), _series("analysis_interval_seconds", "30x20")],
        [("SwitchyardCutoverEvidenceStale", "20m", False)],
    ),
    "evidence ends after 5m": (
        [_series("evidence_age_seconds", "30x5 60+60x15"), _series("analysis_interval_seconds", "30x20")],
        [("SwitchyardCutoverEvidenceStale", "7m", False), ("SwitchyardCutoverEvidenceStale", "12m", True)],
    ),
    "a slow plan waits for its window": (
        [_series("evidence_age_seconds", "0+60x20"), _series("analysis_interval_seconds", "600x20")],
        [("SwitchyardCutoverEvidenceStale", "20m", False)],
    ),
    "a pause for lack of evidence": (
        [_series("waiting", "1x50", reason="EvidenceMissing"), _series("phase", "1x50", phase="Paused")],
        [("SwitchyardCutoverInconclusive", "29m", False), ("SwitchyardCutoverInconclusive", "31m", True)],
    ),
    "a stage that is not decided": (
        [_series("waiting", "1x50", reason="StageOverdue"), _series("phase", "1x50", phase="Paused")],
        [("SwitchyardCutoverInconclusive", "31m", True)],
    ),
    "a person holds a plan": (
        [_series("waiting", "1x50", reason="Suspended"), _series("phase", "1x50", phase="Paused")],
        [("SwitchyardCutoverInconclusive", "50m", False), ("SwitchyardCutoverStalled", "50m", False)],
    ),
    "a budget is used up": (
        [
            _series("dual_run_cost", "76+1x20"),
            _series("dual_run_budget", "100x20"),
            _series("phase", "1x20", phase="Canary"),
            _series("phase", "0x20", phase="Completed"),
        ],
        [
            ("SwitchyardCutoverBudgetNearlySpent", "4m", False),
            ("SwitchyardCutoverBudgetNearlySpent", "5m", True),
        ],
    ),
    "a plan without a budget": (
        [_series("dual_run_cost", "0+100x20")],
        [("SwitchyardCutoverBudgetNearlySpent", "20m", False)],
    ),
    "somebody changes the route once": (
        [_series("route_drift_total", "0x5 1x40")],
        [
            ("SwitchyardCutoverRouteDrift", "5m", False),
            ("SwitchyardCutoverRouteDrift", "7m", True),
            ("SwitchyardCutoverRouteDrift", "30m", False),
        ],
    ),
}  # fmt: skip


@pytest.mark.real
@needs_promtool
@pytest.mark.parametrize("scene", SCENES)
def test_alerts_fire_when_they_should_and_not_before(scene: str, tmp_path: Path) -> None:
    series, expected = SCENES[scene]
    told = [_fires(alert, at, *([NAMES] if fires else [])) for alert, at, fires in expected]
    _run_promtool(tmp_path, series, told)


@pytest.mark.real
@needs_promtool
def test_a_change_of_the_acting_replica_raises_no_second_alert(tmp_path: Path) -> None:
    """For a while both have series of the plan: the old one's are not stale yet."""
    replicas = [
        {"series": f'switchyard_cutover_phase{{{PLAN},phase="RolledBack",pod="{pod}"}}', "values": values}
        for pod, values in (("a", "1x10"), ("b", "_x5 1x20"))
    ]
    _run_promtool(
        tmp_path, replicas, [_fires("SwitchyardCutoverRolledBack", at, NAMES) for at in ("3m", "8m", "20m")]
    )


@pytest.mark.real
@needs_promtool
def test_the_operators_own_absence_is_told(tmp_path: Path) -> None:
    up = {"series": 'up{job="try-switchyard-metrics",namespace="where"}', "values": "1x10 0x10"}
    told = [_fires("SwitchyardAbsent", "10m"), _fires("SwitchyardAbsent", "17m", {})]
    _run_promtool(tmp_path, [up], told)


@pytest.mark.real
@needs_promtool
def test_texts_of_alerts_name_the_plan_and_their_figure(tmp_path: Path) -> None:
    alert = "SwitchyardCutoverBudgetNearlySpent"
    told = _fires(alert, "10m", NAMES)
    told["exp_alerts"][0]["exp_annotations"] = {
        "summary": "Plan shop/move has spent 90% of its budget",
        "description": alerts()[alert]["annotations"]["description"],
    }
    series = [_series("dual_run_cost", "90x20"), _series("dual_run_budget", "100x20")]
    _run_promtool(tmp_path, series, [told], groups())


@pytest.mark.real
@needs_promtool
def test_promtool_finds_nothing_to_say_of_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups()}))
    _run(tmp_path, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")


@pytest.mark.parametrize("alert", alerts())
def test_alerts_have_a_severity_and_say_what_is_wrong_and_what_helps(alert: str) -> None:
    rule = alerts()[alert]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    texts = rule["annotations"]
    assert set(texts) == {"summary", "description"}
    assert texts["description"].endswith(".")
    assert not texts["summary"].endswith(".")
    if alert.startswith("SwitchyardCutover"):
        assert "{{ $labels.namespace }}/{{ $labels.name }}" in texts["summary"]


@pytest.mark.parametrize("alert", alerts())
def test_alerts_ask_for_metrics_and_labels_that_exist(alert: str) -> None:
    known = {spec.name: spec for spec in ALL_METRICS}
    asked = re.findall(r"(switchyard_[a-z_]+)(?:\{([^}]*)\})?", alerts()[alert]["expr"])
    assert asked or alert == "SwitchyardAbsent"
    for name, matchers in asked:
        labels = set(re.findall(r"([a-z_]+)[=!]", matchers))
        assert labels <= set(known[name].labels)


@pytest.mark.parametrize("alert", alerts())
def test_phases_and_reasons_in_alerts_are_ones_that_a_plan_can_have(alert: str) -> None:
    found = re.findall(r'(phase|reason|condition)=~?"([^"]*)"', alerts()[alert]["expr"])
    known = {
        "phase": set(get_args(Phase)),
        "reason": set(Reason.__members__),
        "condition": {"Stalled"},
    }
    for label, words in found:
        assert set(words.split("|")) <= known[label]


def test_the_readme_has_every_alert() -> None:
    readme = (CHART / "README.md").read_text()
    assert set(re.findall(r"^\| `(Switchyard\w+)`", readme, re.MULTILINE)) == set(alerts())


def test_series_keep_the_namespace_of_their_object() -> None:
    """Else Prometheus would call it exported_namespace, and alerts would name the operator's."""
    (monitor,) = [each for each in render(MONITORING) if each["kind"] == "ServiceMonitor"]
    assert [endpoint["honorLabels"] for endpoint in monitor["spec"]["endpoints"]] == [True]


def _run_promtool(
    folder: Path, series: list[dict[str, str]], told: list[dict[str, Any]], rules: list[dict] | None = None
) -> None:
    """Texts are compared as well: by default the rules are tried without any."""
    bare = [
        {
            **group,
            "rules": [{key: rule[key] for key in rule if key != "annotations"} for rule in group["rules"]],
        }
        for group in groups()
    ]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": told}],
    }
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": rules or bare}))
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    _run(folder, "test", "rules", "test.yaml")


def _run(folder: Path, *arguments: str) -> None:
    ran = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
