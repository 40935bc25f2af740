"""Plans as GitOps tools see them: Argo CD by our scripts, run by a real Lua as it runs them; Flux by kstatus."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime, lua_type
from tests.contract.test_crd_admission import admit
from tests.unit.core.cutover.cutover_world import World, fail_when, make_facts
from tests.unit.core.cutover.told_plan import ToldPlan

from switchyard.cli import cutover_change
from switchyard.cli.cutover_change import Change
from switchyard.cli.cutover_plan import CutoverError, Plan, read_plan
from switchyard.core.cutover.types import TERMINAL, WindowFacts

ROOT = Path(__file__).parents[2]
GITOPS = ROOT / "charts" / "switchyard" / "gitops"
ACTIONS = ("approve", "pause", "resume", "abort", "retry")

# -- Argo CD's side


class ArgoLua:
    """Lua 5.1 with what Argo CD opens for scripts of its ConfigMap: package, base, table; os by `require` alone.

    https://github.com/argoproj/argo-cd/blob/master/util/lua/lua.go
    """

    _RESTRICT = """
        local safe = {time = os.time, date = os.date}
        for _, name in ipairs({"string", "math", "io", "debug", "coroutine", "os", "python"}) do
            _G[name] = nil
            package.loaded[name] = nil
        end
        package.preload["os"] = function() return safe end
        package.path, package.cpath = "", ""
    """

    def __init__(self) -> None:
        self._lua = LuaRuntime(register_eval=False, register_builtins=False)
        # methods of strings hang on their metatable, not on the library's name
        self._lua.execute('getmetatable("").__index = nil')
        self._lua.execute(self._RESTRICT)

    def run(self, script: str, obj: Mapping[str, Any]) -> Any:
        """What the script returns for the object, as JSON would have it."""
        self._lua.globals().obj = self._encode(obj)
        return self._decode(self._lua.execute(script))

    def _encode(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self._lua.table_from(
                {key: self._encode(each) for key, each in value.items() if each is not None}
            )
        if isinstance(value, list | tuple):
            return self._lua.table_from([self._encode(each) for each in value])
        return value

    def _decode(self, value: Any) -> Any:
        if lua_type(value) != "table":
            return value
        keys = list(value.keys())
        if keys == list(range(1, len(keys) + 1)):  # an empty one too: Lua knows no difference
            return [self._decode(value[key]) for key in keys]
        return {key: self._decode(value[key]) for key in keys}


@cache
def config_map() -> dict[str, Any]:
    return yaml.safe_load((GITOPS / "argocd-cm.yaml").read_text())["data"]


@cache
def actions() -> dict[str, str]:
    document = yaml.safe_load(config_map()["resource.customizations.actions.switchyard.dev_CutoverPlan"])
    return {
        "discovery": document["discovery.lua"],
        **{each["name"]: each["action.lua"] for each in document["definitions"]},
    }


def find_health(body: Mapping[str, Any]) -> dict[str, str]:
    script = config_map()[f"resource.customizations.health.switchyard.dev_{body['kind']}"]
    found = ArgoLua().run(script, body)
    assert found.keys() == {"status", "message"}
    assert found["status"] in {"Healthy", "Progressing", "Degraded", "Suspended"}
    return found


def list_actions(body: Mapping[str, Any]) -> set[str]:
    """The ones that are offered."""
    found = ArgoLua().run(actions()["discovery"], body)
    assert set(found) == set(ACTIONS)
    return {name for name, each in found.items() if not each["disabled"]}


def act(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """The merge patch (RFC 7396) that Argo CD would send."""
    returned = _restore_empty(ArgoLua().run(actions()[name], body), body)
    return _diff(body, returned)


def _restore_empty(new: Any, old: Any) -> Any:
    """As Argo CD: an empty table that was an object before is one still."""
    if new == [] and isinstance(old, dict):
        return old
    if isinstance(new, dict) and isinstance(old, dict):
        return {key: _restore_empty(each, old.get(key)) for key, each in new.items()}
    if isinstance(new, list) and isinstance(old, list):
        return [
            _restore_empty(each, old[index] if index < len(old) else None) for index, each in enumerate(new)
        ]
    return new


def _diff(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {key: None for key in old if key not in new and old[key] is not None}
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            inner = _diff(old[key], value)
            if inner:
                patch[key] = inner
        elif old.get(key) != value:
            patch[key] = value
    return patch


# -- Flux's side


def find_kstatus(body: Mapping[str, Any]) -> str:
    """The status by the rules of kstatus for kinds that it does not know.

    https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/status/generic.go, and core.go for Ready
    """
    if body["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = body.get("status", {})
    if "observedGeneration" in status and status["observedGeneration"] != body["metadata"]["generation"]:
        return "InProgress"
    for condition in status.get("conditions", ()):
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            return "InProgress"
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return "Failed"
    ready = _condition(body, "Ready")
    return "Current" if ready is None or ready["status"] == "True" else "InProgress"


def _condition(body: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    found = [each for each in body.get("status", {}).get("conditions", ()) if each["type"] == name]
    return found[0] if found else None


# -- situations that the real machine comes into


def _reach(phase: str, **world: Any) -> Callable[[], ToldPlan]:
    def come() -> ToldPlan:
        plan = ToldPlan(World(**world))
        plan.run_to(phase)
        return plan

    return come


def _edited(phase: str, until: str, **changes: Any) -> Callable[[], ToldPlan]:
    def come() -> ToldPlan:
        plan = _reach(phase)()
        plan.world.edit(**changes)
        plan.run_to(until)
        return plan

    return come


def _failing(until: str, segment: str = "", **facts: Any) -> Callable[[], ToldPlan]:
    def come() -> ToldPlan:
        plan = _reach("Canary", facts=make_facts(**facts))()
        plan.world.judge = fail_when(lambda _: True, segment)
        plan.run_to(until)
        return plan

    return come


def _waiting_for_approval() -> ToldPlan:
    return _reach("Paused", facts=make_facts(approvals=frozenset({"canary"})))()


def _refused() -> ToldPlan:
    plan = ToldPlan()
    target = replace(plan.world.observe().target, refusal=("InsufficientCapacity", "no device is free"))
    plan.world.changes = {"target": target}
    plan.look()
    plan.look()
    return plan


def _behind_another() -> ToldPlan:
    plan = ToldPlan()
    plan.world.changes = {"other_plan": "older"}
    plan.look()
    plan.look()
    return plan


def _blind() -> ToldPlan:
    plan = _reach("Canary")()
    plan.look()
    plan.world.changes = {"is_blind": True}
    plan.run_to("Paused")
    return plan


def _halted() -> ToldPlan:
    plan = _reach("Canary")()
    plan.world.judge = fail_when(lambda _: True)
    plan.world.baseline_ready = 0
    plan.run_to("RollingBack")
    plan.look()
    return plan


def _read_by_nobody() -> ToldPlan:
    return ToldPlan()


def _edited_after_the_end() -> ToldPlan:
    plan = _reach("Completed")()
    plan.world.edit()
    return plan


@dataclass(frozen=True)
class Expected:
    come: Callable[[], ToldPlan]
    health: str
    kstatus: str
    ready: str | None
    stalled: str = ""
    offered: frozenset[str] = frozenset({"pause", "abort"})
    spec: Mapping[str, Any] | None = None


UNDER_WAY = ("Progressing", "InProgress", "Unknown")
HELD = ("Suspended", "InProgress", "Unknown")
STUCK = ("Degraded", "Failed", "False")
RETRY = frozenset({"retry"})
OUTSIDE = (WindowFacts(frozenset({0}), 0, 60, "UTC"),)  # Mondays; it begins on a Saturday

SITUATIONS = {
    "nobody has read it": Expected(_read_by_nobody, "Progressing", "InProgress", None),
    "Provisioning": Expected(_reach("Provisioning"), *UNDER_WAY),
    "Shadowing": Expected(_reach("Shadowing"), *UNDER_WAY),
    "Canary": Expected(_reach("Canary"), *UNDER_WAY),
    "Soaking": Expected(_reach("Soaking"), *UNDER_WAY),
    "Completing": Expected(_reach("Completing"), *UNDER_WAY, offered=frozenset({"abort"})),
    "Completed": Expected(_reach("Completed"), "Healthy", "Current", "True", offered=frozenset()),
    "edited after the end": Expected(_edited_after_the_end, "Progressing", "InProgress", "True"),
    "waits for another plan": Expected(_behind_another, *UNDER_WAY),
    "waits for approval": Expected(
        _waiting_for_approval,
        *HELD,
        offered=frozenset({"approve", "pause", "abort"}),
        spec={"approvals": ["canary"]},
    ),
    "suspended": Expected(
        _edited("Canary", "Paused", is_suspended=True),
        *HELD,
        offered=frozenset({"resume", "abort"}),
        spec={"suspend": True},
    ),
    "outside of all windows": Expected(_reach("Paused", facts=make_facts(windows=OUTSIDE)), *HELD),
    "no evidence": Expected(_blind, *HELD),
    "refused": Expected(_refused, *STUCK, stalled="InsufficientCapacity"),
    "a gate failed, and a person decides": Expected(
        _failing("Paused", is_automatic=False), *STUCK, stalled="GateFailed"
    ),
    "on its way back": Expected(_failing("RollingBack"), *UNDER_WAY, offered=frozenset({"abort"})),
    "its way back halts": Expected(_halted, *STUCK, stalled="RollbackHalted", offered=frozenset({"abort"})),
    "rolled back": Expected(_failing("RolledBack"), *STUCK, stalled="RolledBack", offered=RETRY),
    "aborted": Expected(
        _edited("Canary", "Aborted", is_aborted=True),
        *STUCK,
        stalled="Aborted",
        offered=RETRY,
        spec={"abort": True},
    ),
    "aborted before anything moved": Expected(
        _edited("Provisioning", "Aborted", is_aborted=True),
        *STUCK,
        stalled="Aborted",
        offered=RETRY,
        spec={"abort": True},
    ),
    "never got its pods": Expected(
        _reach("RolledBack", room=0), *STUCK, stalled="RolledBack", offered=RETRY
    ),
}  # fmt: skip


def come_to(situation: str) -> dict[str, Any]:
    """The plan there, as an object of its own."""
    return copy.deepcopy(_come_to(situation))


@cache
def _come_to(situation: str) -> dict[str, Any]:
    expected = SITUATIONS[situation]
    return expected.come().build_body(**(expected.spec or {}))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_plan_is_seen_as_it_is_by_argo_and_flux(situation: str) -> None:
    expected = SITUATIONS[situation]
    body = come_to(situation)
    ready, stalled = _condition(body, "Ready"), _condition(body, "Stalled")
    assert (ready["status"] if ready else None) == expected.ready
    assert (stalled["reason"] if stalled else "") == expected.stalled
    assert find_kstatus(body) == expected.kstatus
    health = find_health(body)
    assert health["status"] == expected.health
    if ready is not None and situation != "edited after the end":
        assert health["message"] == f"{body['status']['phase']}: {ready['message']}"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_actions_that_help_are_offered(situation: str) -> None:
    assert list_actions(come_to(situation)) == SITUATIONS[situation].offered


def test_reconciling_and_stalled_are_there_only_while_true_and_never_together() -> None:
    for body in map(come_to, SITUATIONS):
        abnormal = [
            each
            for each in body["status"].get("conditions", ())
            if each["type"] in {"Reconciling", "Stalled"}
        ]
        assert [each["status"] for each in abnormal] in ([], ["True"])


def test_a_plan_that_is_being_deleted_is_no_success_whatever_it_was() -> None:
    body = _reach("Completed")().build_body()
    body["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert find_health(body)["status"] == "Progressing"
    assert find_kstatus(body) == "Terminating"


def test_the_ends_are_seen_in_one_look_and_stay() -> None:
    plan = ToldPlan()
    told = []
    while plan.phase not in TERMINAL:
        plan.look()
        told.append((find_health(plan.build_body())["status"], find_kstatus(plan.build_body())))
    assert set(told[:-1]) == {("Progressing", "InProgress")}
    assert told[-1] == ("Healthy", "Current")


# -- actions


def _apply(body: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    assert patch.keys() <= {"spec"}, "an action changes the spec and nothing else"
    for key, value in patch.get("spec", {}).items():
        if value is None:
            changed["spec"].pop(key, None)
        else:
            changed["spec"][key] = value
    return changed


def _as_patch(change: Change, body: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of the merge patch that says the same."""
    return {name: value for name, value in change.fields if value is not None or name in body["spec"]}


CLI: Mapping[str, Callable[[Plan], Change]] = {
    "approve": lambda plan: cutover_change.approve(plan, []),
    "pause": cutover_change.pause,
    "resume": cutover_change.resume,
    "abort": cutover_change.abort,
    "retry": lambda plan: cutover_change.retry(plan, datetime(2026, 11, 21, 12, tzinfo=UTC)),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_action_is_offered_where_the_command_works_and_changes_the_same(
    situation: str, action: str
) -> None:
    body = come_to(situation)
    try:
        change = CLI[action](read_plan(body))
    except CutoverError:
        change = Change("refused")
    assert (action in list_actions(body)) == bool(change.fields)
    if not change.fields:
        return
    patch = act(action, body)
    if action == "retry":
        token = patch["spec"].pop("restartToken")
        assert datetime.strptime(token, "%Y%m%dT%H%M%S%z")
        change = Change(change.told, tuple(each for each in change.fields if each[0] != "restartToken"))
    assert patch.get("spec", {}) == _as_patch(change, body)
    _, problems = admit({key: each for key, each in _apply(body, patch).items() if key != "status"})
    assert problems == []


def test_approving_keeps_what_was_approved_and_adds_what_waits() -> None:
    plan = _reach("Paused", facts=make_facts(approvals=frozenset({"shadow", "segment:batch", "canary"}),
                                             approved=frozenset({"shadow"})))()  # fmt: skip
    body = plan.build_body(approvals=["shadow", "canary", "segment:batch", "promote"], approved=["shadow"])
    patch = act("approve", body)
    assert patch["spec"]["approved"][0] == "shadow"
    assert set(patch["spec"]["approved"]) == {"shadow", "canary", "segment:batch"}
    assert "approve" not in list_actions(_apply(body, patch))


def test_an_action_made_twice_changes_nothing_more() -> None:
    for situation, action in (("Canary", "abort"), ("Canary", "pause"), ("waits for approval", "approve")):
        body = come_to(situation)
        assert act(action, _apply(body, act(action, body))) == {}


def test_a_split_end_can_still_be_returned() -> None:
    """With segment scope the plan ends while an earlier segment stays on the candidate."""
    plan = _reach("Canary")()
    while plan.status.get("segment") != "rest":
        plan.look()
    plan.world.judge = fail_when(lambda _: True, "rest")
    plan.run_to("RolledBack")
    body = plan.build_body()
    assert any(each["weight"] for each in body["status"]["segments"])
    assert list_actions(body) == {"abort", "retry"}


def test_scripts_have_no_more_than_argo_gives_them() -> None:
    lua = ArgoLua()
    script = (
        "return {string == nil, math == nil, os == nil, io == nil, pcall(function() return ('x'):rep(2) end)}"
    )
    assert lua.run(script, {})[:5] == [True, True, True, True, False]
    assert lua.run("local os = require('os') return {os.execute == nil, os.time() > 0}", {}) == [True, True]


# -- workloads and pools


@pytest.mark.parametrize(
    ("conditions", "health"),
    [
        ({}, "Progressing"),
        ({"Ready": "Unknown"}, "Progressing"),
        ({"Ready": "True"}, "Healthy"),
        ({"Ready": "False"}, "Degraded"),
        ({"Ready": "True", "Degraded": "True"}, "Degraded"),
        ({"Ready": "False", "Reconciling": "True"}, "Progressing"),
        ({"Ready": "True", "Reconciling": "True"}, "Progressing"),
        ({"Ready": "False", "Stalled": "True"}, "Degraded"),
        ({"Ready": "True", "ObjectivesMet": "Unknown"}, "Healthy"),
    ],
)
@pytest.mark.parametrize("kind", ["InferenceWorkload", "AcceleratorPool"])
def test_workloads_and_pools_are_seen_by_their_conditions(kind: str, conditions: dict, health: str) -> None:
    told = [{"type": name, "status": status, "message": f"of {name}"} for name, status in conditions.items()]
    body = {
        "kind": kind,
        "metadata": {"name": "chat", "generation": 3},
        "status": {"observedGeneration": 3, "conditions": told},
    }
    assert find_health(body)["status"] == health
    body["status"]["observedGeneration"] = 2
    assert find_health(body)["status"] == "Progressing"
    body["status"]["observedGeneration"] = 3
    body["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert find_health(body)["status"] == "Progressing"


@pytest.mark.parametrize("kind", ["CutoverPlan", "InferenceWorkload", "AcceleratorPool"])
def test_a_new_object_is_not_taken_for_a_healthy_one(kind: str) -> None:
    """kstatus calls an object without conditions Current, unless its status says that nobody has read it."""
    plural = {"CutoverPlan": "cutoverplans", "InferenceWorkload": "inferenceworkloads"}.get(
        kind, "acceleratorpools"
    )
    definition = yaml.safe_load((ROOT / "crds" / f"switchyard.dev_{plural}.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    body = {
        "kind": kind,
        "metadata": {"name": "new", "generation": 1},
        "status": schema["properties"]["status"]["default"],
    }
    assert find_kstatus(body) == "InProgress"
    assert find_health(body)["status"] == "Progressing"


# -- the files


def test_every_kind_has_a_health_check_and_nothing_else_is_set() -> None:
    kinds = ("CutoverPlan", "InferenceWorkload", "AcceleratorPool")
    assert set(config_map()) == {
        *(f"resource.customizations.health.switchyard.dev_{kind}" for kind in kinds),
        "resource.customizations.actions.switchyard.dev_CutoverPlan",
    }
    assert set(actions()) == {"discovery", *ACTIONS}


def test_flux_waits_for_workloads_and_not_for_plans() -> None:
    documents = list(yaml.safe_load_all((GITOPS / "flux.yaml").read_text()))
    by_name = {each["metadata"]["name"]: each["spec"] for each in documents}
    assert by_name["workloads"]["wait"] is True
    assert by_name["plans"]["wait"] is False
    assert by_name["plans"]["dependsOn"] == [{"name": "workloads"}]
