"""What a report tells, and what it keeps to itself."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli.cutover_objects import CANARY, event, plan_body, workload_body

from switchyard.cli.cutover_bundle import build_bundle, encode_bundle, pack_bundle, redact

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
SECRET = "hunter2-hunter2"


def build() -> dict[str, Any]:
    plan = plan_body(
        status=CANARY,
        segments=[{"name": "a", "match": {"headers": [{"name": "x-api-key", "value": SECRET}]}}],
    )
    plan["metadata"]["managedFields"] = [{"manager": SECRET}]
    plan["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": SECRET,
        "switchyard.dev/traffic-held-by": "chat-to-neuron",
    }
    told = event("chat-to-neuron", "Failed", f"GET http://user:{SECRET}@host/x?api_key={SECRET}&b=1: refused")
    return build_bundle(plan, workload_body(), [told], notes=["n"], now=NOW)


def test_a_report_tells_what_a_judge_needs() -> None:
    bundle = build()
    assert list(bundle) == ["schema", "madeAt", "status", "plan", "workload", "events", "notes"]
    assert bundle["madeAt"] == "2026-11-21T12:30:00Z"
    assert bundle["plan"]["metadata"]["annotations"] == {"switchyard.dev/traffic-held-by": "chat-to-neuron"}
    assert bundle["plan"]["status"]["gates"] == CANARY["gates"]
    assert bundle["workload"]["spec"]["variants"][0]["container"] == {
        "image": "example.com/model:1",
        "env": "redacted (1)",
        "args": "redacted (1)",
    }
    assert bundle["events"][0]["message"] == "GET http://redacted@host/x?api_key=redacted&b=1: refused"


def test_a_report_holds_no_secret() -> None:
    assert "hunter2" not in encode_bundle(build())


KEPT: dict[str, Any] = {
    "the word that restarts a plan": {"restartToken": "2026-11-21"},
    "counts of tokens": {"outputTokens": 180, "tokens": {"input": "1"}},
    "names of secrets to pull with": {"imagePullSecrets": [{"name": "registry"}]},
    "a key of a reference": {"configMapKeyRef": {"name": "settings", "key": "max-batch"}},
    "null": {"pool": None},
    "an address": {"url": "http://host:8000/v1?model=chat"},
}


@pytest.mark.parametrize("case", KEPT)
def test_what_is_no_secret_stays(case: str) -> None:
    assert redact(KEPT[case]) == KEPT[case]


HIDDEN: dict[str, Any] = {
    "a password": {"password": SECRET},
    "a token": {"token": SECRET},
    "a token of a kind": {"bearerToken": SECRET},
    "an API key": {"apiKey": SECRET},
    "a probe's header": {"httpGet": {"httpHeaders": [{"name": "a", "value": SECRET}]}},
    "a bearer in a sentence": {"message": f"refused: Bearer {SECRET} is old"},
    "environment from elsewhere": {"envFrom": [{"secretRef": {"name": SECRET}}]},
    "a command": {"command": ["run", SECRET]},
}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_is_a_secret_goes(case: str) -> None:
    assert SECRET not in json.dumps(redact(HIDDEN[case]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "env", "token", "headers", "value", "annotations"]), inner)
    ),
    max_leaves=12,
)  # fmt: skip - one shape


@given(JSON)
def test_redacting_twice_changes_nothing(value: Any) -> None:
    once = redact(value)
    assert redact(once) == once
    assert json.loads(json.dumps(once)) == once


@pytest.mark.parametrize("is_compressed", [False, True])
def test_an_archive_has_a_file_per_part(*, is_compressed: bool) -> None:
    bundle = build()
    packed = pack_bundle(bundle, "cutover-x", is_compressed=is_compressed)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz" if is_compressed else "r:") as archive:
        files = {member.name: member for member in archive.getmembers()}
        assert sorted(files) == [
            f"cutover-x/{part}.json" for part in ("events", "notes", "plan", "status", "workload")
        ]
        plan = archive.extractfile(files["cutover-x/plan.json"])
        assert plan is not None
        assert json.load(plan) == bundle["plan"]
        assert {member.mode for member in files.values()} == {0o600}
