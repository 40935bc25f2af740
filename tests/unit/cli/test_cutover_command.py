"""The `cutover` commands against a cluster in memory: what they say, what they change, how they end."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.unit.cli.cutover_objects import (
    AT,
    CANARY,
    FakeCluster,
    in_phase,
    make_cluster,
    plan_body,
    touch,
)

from switchyard.adapters.resources import EVENTS, PLANS, POOLS
from switchyard.cli.cutover import command

NAME = "chat-to-neuron"
ROOT = Path(__file__).parents[3]


def run(cluster: FakeCluster, *arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, obj=cluster)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# -- create


def test_create_writes_a_plan_and_changes_nothing() -> None:
    cluster = make_cluster()
    before = set(cluster.objects)
    result = run(cluster, "create", "chat", "--to", "neuron@inf2")
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout) == {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "CutoverPlan",
        "metadata": {"name": NAME, "namespace": "team"},
        "spec": {
            "workloadRef": {"name": "chat"},
            "target": {"variant": "neuron", "pool": "inf2"},
            "shadow": {"percent": 20},
            "steps": [{"weight": 5}, {"weight": 25}, {"weight": 50}, {"weight": 100}],
        },
    }
    assert set(cluster.objects) == before


def test_create_writes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    result = run(make_cluster(), "create", "chat", "--to", "neuron", "-f", str(path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert yaml.safe_load(path.read_text())["metadata"]["name"] == NAME


def test_create_applies() -> None:
    cluster = make_cluster()
    result = run(cluster, "create", "chat", "--to", "neuron", "--apply", "--steps", "10,100")
    assert result.exit_code == 0
    assert result.stdout == (
        f"cutoverplan.switchyard.dev/{NAME} created; `kubectl switchyard cutover watch {NAME}`\n"
    )
    assert cluster.plan()["spec"]["steps"] == [{"weight": 10}, {"weight": 100}]


def test_create_leaves_a_plan_that_is_there_alone() -> None:
    cluster = make_cluster(plan_body(status=CANARY))
    result = run(cluster, "create", "chat", "--to", "neuron", "--apply")
    assert result.exit_code == 1
    assert "is there already: give another --name" in result.stderr
    assert cluster.plan() == plan_body(status=CANARY)


def test_create_says_which_plan_goes_first() -> None:
    cluster = make_cluster(plan_body("older", CANARY), plan_body("done", in_phase("Completed")))
    result = run(cluster, "create", "chat", "--to", "neuron")
    assert result.exit_code == 0
    assert result.stderr == f"note: older moves chat now; {NAME} waits until it has ended\n"


REFUSED = {
    "a workload that is not there": (
        ("chatt", "--to", "neuron"),
        "InferenceWorkload 'chatt' is not in namespace team; did you mean chat?; there are: chat",
    ),
    "a variant that is not there": (("chat", "--to", "inf"), "has no variant 'inf'; it has gpu, neuron"),
    "a pool that is not there": (("chat", "--to", "neuron@x"), "there is no pool 'x'; there are inf2, l4"),
    "steps that do not rise": (("chat", "--to", "neuron", "--steps", "50,5,100"), "--steps '50,5,100'"),
    "a namespace without workloads": (
        ("chat", "--to", "neuron", "-n", "empty"),
        "is not in namespace empty; there are: none at all",
    ),
    "no target": (("chat",), "Missing option '--to'"),
    "a share above all": (("chat", "--to", "neuron", "--shadow", "101"), "'--shadow'"),
    "a file that can't be written": (("chat", "--to", "neuron", "-f", "/proc/x/y"), "--filename /proc/x/y"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_create_refuses(case: str) -> None:
    arguments, told = REFUSED[case]
    result = run(make_cluster(), "create", *arguments)
    assert result.exit_code == 1
    assert told in result.stderr
    assert result.stdout == ""


def test_create_writes_a_plan_also_where_plans_are_not_known() -> None:
    cluster = make_cluster()
    cluster.refusals[PLANS.plural] = "the cluster knows no cutoverplans"
    result = run(cluster, "create", "chat", "--to", "neuron")
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["kind"] == "CutoverPlan"
    assert result.stderr == (
        "note: whether another plan moves chat is not known: the cluster knows no cutoverplans\n"
    )


def test_create_needs_no_right_to_list_pools() -> None:
    cluster = make_cluster()
    cluster.refusals[POOLS.plural] = "pools can't be listed: forbidden"
    assert run(cluster, "create", "chat", "--to", "neuron@anything").exit_code == 0


# -- status, watch, list


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (in_phase("Completed"), 0),
        (in_phase("RolledBack"), 2),
        (in_phase("Aborted"), 2),
        (CANARY, 4),
        (in_phase("AwaitingApproval"), 4),
        ({"observedGeneration": -1}, 4),
    ],
)
@pytest.mark.parametrize("output", ["tree", "json"])
def test_status_ends_by_the_phase(status: dict[str, Any], code: int, output: str) -> None:
    result = run(make_cluster(plan_body(status=status)), "status", NAME, "-o", output)
    assert result.exit_code == code
    if output == "json":
        assert json.loads(result.stdout)["exitCode"] == code
    else:
        assert result.stdout.startswith(f"{NAME}: chat, ")


def test_status_in_a_pipe_wraps_no_line() -> None:
    message = "needs " + "many " * 60 + "requests"
    result = run(make_cluster(plan_body(status={**CANARY, "message": message})), "status", NAME)
    assert message in result.stdout


def test_status_of_a_plan_that_is_not_there_names_those_there_are() -> None:
    result = run(make_cluster(plan_body("one"), plan_body("two")), "status", "on")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: CutoverPlan 'on' is not in namespace team; did you mean one?; there are: one, two\n"
    )
    assert "none yet: `kubectl switchyard cutover create`" in run(make_cluster(), "status", "x").stderr


def test_status_that_waited_in_vain_says_so() -> None:
    cluster = make_cluster(plan_body(status=CANARY))
    result = run(cluster, "status", NAME, "--wait", "--timeout", "1ms", "-o", "json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert (document["exitCode"], document["outcome"], document["phase"]) == (3, "waiting", "Canary")


def test_status_waits_for_an_end() -> None:
    result = run(make_cluster(plan_body(status=in_phase("RolledBack"))), "status", NAME, "--wait")
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("status", NAME, "--timeout", "5m"), "--timeout goes with --wait"),
        (("status", NAME, "--wait", "--timeout", "soon"), "--timeout 'soon': give a duration"),
        (("status",), "Missing argument 'NAME'"),
        (("stauts",), "No such command"),
    ],
)
def test_wrong_usage_ends_with_1_as_2_means_rolled_back(arguments: tuple[str, ...], told: str) -> None:
    result = run(make_cluster(plan_body(status=CANARY)), *arguments)
    assert result.exit_code == 1
    assert told in result.stderr


def test_watch_writes_lines_where_there_is_no_terminal() -> None:
    result = run(make_cluster(plan_body(status=in_phase("Completed", message="moved"))), "watch", NAME)
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith(f"Z {NAME} Completed: moved")


def test_watch_ends_at_its_timeout() -> None:
    assert run(make_cluster(plan_body(status=CANARY)), "watch", NAME, "--timeout", "1ms").exit_code == 3


def test_watch_redraws_on_a_terminal_and_leaves_the_last_picture() -> None:
    """In a process of its own: a terminal is a property of a process's output."""
    script = (
        "import sys; from tests.unit.cli.cutover_objects import *; from switchyard.cli.cutover import command;"
        "cluster = make_cluster(plan_body(status=in_phase('Completed', message='moved')));"
        f"command(['watch', '{NAME}'], obj=cluster)"
    )
    primary, secondary = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen([sys.executable, "-c", script], stdout=secondary, env=environment, cwd=ROOT) as ran:
        os.close(secondary)
        shown = b""
        try:
            while chunk := os.read(primary, 65_536):
                shown += chunk
        except OSError:  # Linux ends a terminal that nobody writes to any more with EIO
            pass
        os.close(primary)
        assert ran.wait(30) == 0
    assert b"Completed" in shown
    assert b"moved" in shown
    assert b"\x1b[" in shown, "colours and cursor movements"


def test_an_interrupt_is_no_error_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("switchyard.cli.cutover_watch.follow", interrupt)
    assert run(make_cluster(plan_body(status=CANARY)), "watch", NAME).exit_code == 130


def test_list() -> None:
    cluster = make_cluster(plan_body(status=CANARY), plan_body("a", in_phase("Completed")))
    result = run(cluster, "list")
    assert result.exit_code == 0
    assert [line.split()[:4] for line in result.stdout.splitlines()] == [
        ["NAME", "WORKLOAD", "TARGET", "PHASE"],
        ["a", "chat", "neuron", "Completed"],
        [NAME, "chat", "neuron", "on"],
    ]
    assert [each["name"] for each in json.loads(run(cluster, "list", "-o", "json").stdout)] == ["a", NAME]
    assert run(cluster, "list", "-A").stdout.startswith("NAMESPACE")


def test_list_tells_of_plans_that_cannot_be_read() -> None:
    cluster = make_cluster(plan_body("bad", steps="all"), plan_body("good"))
    result = run(cluster, "list")
    assert "note: CutoverPlan bad can't be read: spec.steps" in result.stderr
    assert result.stdout.splitlines()[1].startswith("good")


def test_list_of_nothing() -> None:
    result = run(make_cluster(), "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("no cutover plans in namespace team")


# -- changes


WAITS = in_phase("AwaitingApproval", approvals=[{"stage": "canary", "requestedAt": AT}])
CHANGES = {
    "approve": (plan_body(status=WAITS, approvals=["canary"]), {"approved": ["canary"]}, "approved canary"),
    "pause": (plan_body(status=CANARY), {"suspend": True}, "paused in Canary, batch at 25 %"),
    "resume": (plan_body(status=CANARY, suspend=True), {"suspend": None}, "resumed"),
    "abort": (plan_body(status=CANARY), {"abort": True}, "all traffic returns to the baseline"),
}


@pytest.mark.parametrize("verb", CHANGES)
def test_a_change_is_made_and_told(verb: str) -> None:
    body, fields, told = CHANGES[verb]
    cluster = make_cluster(body)
    result = run(cluster, verb, NAME)
    assert result.exit_code == 0
    assert told in result.stdout
    assert {field: cluster.plan()["spec"].get(field) for field in fields} == fields


def test_retry_starts_anew() -> None:
    cluster = make_cluster(plan_body(status=in_phase("Aborted"), abort=True))
    assert run(cluster, "retry", NAME).exit_code == 0
    spec = cluster.plan()["spec"]
    assert spec["restartToken"]
    assert "abort" not in spec


def test_a_change_outlasts_a_write_of_somebody_else() -> None:
    cluster = make_cluster(plan_body(status=CANARY))

    def write_status(body: dict[str, Any]) -> None:
        body["status"]["message"] = "needs 900 more requests"
        touch(body)

    cluster.before_patch = [write_status, write_status]
    assert run(cluster, "pause", NAME).exit_code == 0
    assert cluster.plan()["spec"]["suspend"] is True
    assert cluster.plan()["status"]["message"] == "needs 900 more requests"


def test_a_change_is_judged_anew_when_the_plan_ended_in_between() -> None:
    cluster = make_cluster(plan_body(status=CANARY))

    def end(body: dict[str, Any]) -> None:
        body["status"]["phase"] = "Completed"
        touch(body)

    cluster.before_patch = [end]
    result = run(cluster, "abort", NAME)
    assert result.exit_code == 1
    assert "is Completed and its baseline is gone" in result.stderr
    assert "abort" not in cluster.plan()["spec"]


def test_a_change_gives_up_on_a_plan_that_never_rests() -> None:
    cluster = make_cluster(plan_body(status=CANARY))
    cluster.before_patch = [touch] * 9
    result = run(cluster, "pause", NAME)
    assert result.exit_code == 1
    assert "was changed by others 5 times in between: try again" in result.stderr


def test_a_change_of_nothing_writes_nothing() -> None:
    cluster = make_cluster(plan_body(status=CANARY, suspend=True))
    result = run(cluster, "pause", NAME)
    assert (result.exit_code, result.stdout) == (0, f"{NAME} is paused already\n")
    assert cluster.plan()["metadata"]["resourceVersion"] == "7"


# -- report


def test_report_collects_plan_workload_and_events() -> None:
    result = run(make_cluster(plan_body(status=CANARY)), "report", NAME)
    assert result.exit_code == 0
    bundle = json.loads(result.stdout)
    assert [each["message"] for each in bundle["events"]] == ["batch at 25 %"]
    assert bundle["workload"]["metadata"]["name"] == "chat"
    assert bundle["notes"] == []
    assert "hunter2" not in result.stdout


def test_report_writes_an_archive_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.tar.gz"
    assert run(make_cluster(plan_body(status=CANARY)), "report", NAME, "-f", str(path)).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        assert f"cutover-{NAME}/plan.json" in archive.getnames()


def test_report_says_what_it_could_not_read() -> None:
    cluster = make_cluster(plan_body(status=CANARY, workloadRef={"name": "gone"}))
    cluster.refusals[EVENTS.plural] = "events can't be listed: forbidden"
    bundle = json.loads(run(cluster, "report", NAME).stdout)
    assert bundle["notes"] == ["events can't be listed: forbidden"]
    assert bundle["workload"] is None
    cluster = make_cluster(plan_body(status=CANARY, workloadRef={"name": "gone"}))
    assert json.loads(run(cluster, "report", NAME).stdout)["notes"] == ["workload gone is not there"]


def test_an_api_server_that_is_away_is_told() -> None:
    cluster = make_cluster(plan_body())
    cluster.outages = 1
    result = run(cluster, "status", NAME)
    assert (result.exit_code, result.stderr) == (1, "error: the API server does not answer: refused\n")
