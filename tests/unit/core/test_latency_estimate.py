"""Profiles from data sheets: the roofline's figures, its limits, and how little of it is promised."""

from __future__ import annotations

import pytest

from switchyard.core.errors import ProfileError
from switchyard.core.placement.estimate import PRECISION_BYTES, DeviceSheet, estimate_tokens
from switchyard.core.placement.latency import Traffic, max_rate

SHEET = DeviceSheet(32e9, 820e9, 190e12)
EIGHT_BILLION = {"parameters": 8e9, "weight_bytes": PRECISION_BYTES["bf16"], "kv_bytes_per_token": 131_072}


def test_an_iteration_reads_the_weights_at_half_the_bandwidth():
    profile = estimate_tokens(**EIGHT_BILLION, device=SHEET)
    assert profile.iteration_seconds == pytest.approx(16e9 / 410e9 + 0.002)
    assert profile.per_cached_token_seconds == pytest.approx(131_072 / 410e9)
    assert profile.per_prefill_token_seconds == pytest.approx(16e9 / 95e12)


def test_the_cache_is_what_the_weights_leave():
    assert estimate_tokens(**EIGHT_BILLION, device=SHEET).cache_tokens == int((28.8e9 - 16e9) / 131_072)


def test_twice_the_devices_halve_the_work_and_not_the_overhead():
    one, two = (estimate_tokens(**EIGHT_BILLION, device=SHEET, devices=count) for count in (1, 2))
    assert two.per_prefill_token_seconds == pytest.approx(one.per_prefill_token_seconds / 2)
    assert two.iteration_seconds - 0.002 == pytest.approx((one.iteration_seconds - 0.002) / 2)


def test_a_model_that_does_not_fit_is_refused_with_its_size():
    with pytest.raises(ProfileError, match="140 GB of weights"):
        estimate_tokens(parameters=70e9, weight_bytes=2, kv_bytes_per_token=327_680, device=SHEET)


@pytest.mark.parametrize("field", ["parameters", "weight_bytes", "kv_bytes_per_token"])
def test_an_estimate_without_a_figure_is_refused(field):
    with pytest.raises(ProfileError):
        estimate_tokens(**{**EIGHT_BILLION, field: 0}, device=SHEET)


def test_a_sheet_without_a_figure_is_refused():
    with pytest.raises(ProfileError):
        DeviceSheet(32e9, 0, 190e12)


def test_seventy_percent_of_an_estimate_is_promised_where_ninety_of_a_benchmark_are():
    profile, traffic = estimate_tokens(**EIGHT_BILLION, device=SHEET), Traffic(500, 1, 200, 1)
    rates = [max_rate(profile, (), 0.0, source, traffic).rate for source in ("estimate", "benchmark")]
    assert rates[0] / rates[1] == pytest.approx(7 / 9, rel=1e-5)
