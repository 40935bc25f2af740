"""Events: one object per thing said, counted when said again, never a flood."""

from __future__ import annotations

from datetime import UTC, datetime

from switchyard.adapters.connection import Answer
from switchyard.adapters.events import BURST, REFILL_SECONDS, EventRecorder, TokenBuckets, build_event
from switchyard.core.decisions import EventNote
from switchyard.engine.ports import Denied, Failed, Written

from .operator_fakes import META, FakeApi, run

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def note(message: str = "on l4", reason: str = "Placed") -> EventNote:
    return EventNote("InferenceWorkload", META, "Normal", reason, message)


def counts(api: FakeApi) -> list[int]:
    return sorted(event["count"] for event in api.objects.values())


def test_the_same_note_is_counted_and_another_is_another_event() -> None:
    api = FakeApi()
    recorder = EventRecorder(api, "me")  # type: ignore[arg-type]

    async def scenario() -> None:
        for _ in range(3):
            assert await recorder.record(note()) == Written()
        await recorder.record(note("on h100"))

    run(scenario())
    assert counts(api) == [1, 3]


def test_a_restarted_operator_goes_on_counting() -> None:
    api = FakeApi()
    for _ in range(4):
        run(EventRecorder(api, "me").record(note()))  # type: ignore[arg-type]
    assert counts(api) == [4]


def test_an_event_that_expired_meanwhile_is_made_anew() -> None:
    api = FakeApi()
    recorder = EventRecorder(api, "me")  # type: ignore[arg-type]

    async def scenario() -> None:
        await recorder.record(note())
        api.objects.clear()
        await recorder.record(note())

    run(scenario())
    assert counts(api) == [1]


def test_an_object_that_says_too_much_is_cut_short_without_an_error() -> None:
    api = FakeApi()
    clock = [0.0]
    buckets = TokenBuckets(now_seconds=lambda: clock[0])
    recorder = EventRecorder(api, "me", buckets)  # type: ignore[arg-type]

    async def scenario() -> None:
        for number in range(BURST * 4):
            assert await recorder.record(note(f"message {number}")) == Written()
        assert len(api.objects) == BURST
        clock[0] += 2 * REFILL_SECONDS
        for number in range(10):
            await recorder.record(note(f"later {number}"))

    run(scenario())
    assert len(api.objects) == BURST + 2


def test_a_refusal_comes_back_as_a_value() -> None:
    api = FakeApi(refuse=lambda method, path: Answer(403, {"message": "no"}))
    assert run(EventRecorder(api, "me").record(note())) == Denied(403, "no")  # type: ignore[arg-type]
    api = FakeApi(refuse=lambda method, path: Failed("no answer"))
    assert run(EventRecorder(api, "me").record(note())) == Failed("no answer")  # type: ignore[arg-type]


def test_an_event_names_its_object_and_keeps_within_the_apis_bounds() -> None:
    event = build_event(note("x" * 5000), "me", NOW)
    assert event["involvedObject"]["uid"] == "uid-1"
    assert event["involvedObject"]["apiVersion"].startswith("switchyard.dev/")
    assert event["metadata"]["namespace"] == "shop"
    assert len(event["message"]) == 1024
    assert len(event["metadata"]["name"]) <= 253


def test_an_event_of_a_cluster_scoped_object_goes_to_the_default_namespace() -> None:
    meta = type(META)(name="l4", namespace="", uid="u", resource_version="1", generation=1)
    event = build_event(EventNote("AcceleratorPool", meta, "Warning", "Unhealthy", "x"), "me", NOW)
    assert event["metadata"]["namespace"] == "default"
