"""The presets that the API names are those that the catalog describes."""

from __future__ import annotations

from typing import get_args

from switchyard.api.signals import PROXY_PRESETS, TELLING_PRESETS, Preset
from switchyard.catalog.signal_presets import load_signal_presets


def test_every_preset_of_the_api_is_described_and_no_other() -> None:
    assert set(get_args(Preset)) == set(load_signal_presets())


def test_the_presets_of_proxies_are_those_that_tell_of_a_service() -> None:
    assert set(PROXY_PRESETS) == {
        each.name for each in load_signal_presets().values() if each.kind == "service"
    }


def test_the_presets_to_learn_from_are_those_that_tell_the_batch_and_its_pace() -> None:
    assert set(TELLING_PRESETS) == {each.name for each in load_signal_presets().values() if each.has_learning}
