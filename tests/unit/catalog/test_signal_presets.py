"""The presets as data: all that users may name are there, and each can be asked for."""

from __future__ import annotations

from typing import get_args

import pytest

from switchyard.api.signals import Preset
from switchyard.catalog import CatalogError
from switchyard.catalog.signal_presets import load_signal_presets, read_signal_presets, render_preset_page

HEAD = "asOf: 2026-01-01\nsources: {s: {title: t, version: v}}\n"
ENGINE = "{name: e, title: E, kind: pods, requests: {counters: [a_total]}, sources: [s]}"


def test_every_preset_that_users_may_name_is_there() -> None:
    assert set(load_signal_presets()) == set(get_args(Preset))


def test_every_preset_tells_the_demand_and_names_its_terms_once() -> None:
    for preset in load_signal_presets().values():
        names = [term.name for term in preset.terms()]
        assert "requests.0" in names
        assert len(set(names)) == len(names)


def test_engines_that_batch_can_be_learned_from() -> None:
    teachers = {name for name, preset in load_signal_presets().items() if preset.has_learning}
    assert teachers == {"vllm", "sglang", "tensorrt-llm", "tgi"}


def test_alternatives_are_kept_in_order() -> None:
    terms = {term.name: term for term in load_signal_presets()["vllm"].terms()}
    assert terms["inter_token.sum"].metric == (
        "vllm:inter_token_latency_seconds_sum",
        "vllm:time_per_output_token_seconds_sum",
    )
    assert terms["kv_tokens.times"].labels == ("num_gpu_blocks", "block_size")


@pytest.mark.parametrize(
    ("presets", "told"),
    [
        (ENGINE.replace("a_total", "a total"), "string_pattern_mismatch|match pattern"),
        (ENGINE.replace("sources: [s]", "sources: [other]"), "sources lists no other"),
        (ENGINE.replace("kind: pods", "kind: service"), "labels of the service"),
        (f"{ENGINE}, {ENGINE}", "twice"),
        (ENGINE.replace("title: E", "title: E, url: http://x"), "Extra inputs"),
    ],
    ids=[
        "a metric that is none",
        "a source that is not listed",
        "a proxy without labels",
        "twice",
        "unknown key",
    ],
)
def test_a_mistake_in_the_data_is_told(presets: str, told: str) -> None:
    with pytest.raises(CatalogError, match=told):
        read_signal_presets(f"{HEAD}presets: [{presets}]")


def test_the_table_for_people_names_every_preset_and_metric() -> None:
    table = render_preset_page()
    for preset in load_signal_presets().values():
        assert f"`{preset.name}`" in table
        for term in preset.terms():
            assert all(f"`{name}`" in table for name in term.metric)
