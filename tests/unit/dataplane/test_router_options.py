"""The router's options: flag over environment over default, and messages that name the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchyard.dataplane.options import PARAMETERS, RouterOptions, parse_router_options

HASH = "ab" * 32


@pytest.mark.parametrize(
    ("args", "environment", "expected"),
    [
        pytest.param((), {}, RouterOptions(), id="nothing given"),
        pytest.param(("--port", "0"), {}, RouterOptions(port=0), id="a flag"),
        pytest.param(
            ("--port=81",), {"SWITCHYARD_ROUTER_PORT": "82"}, RouterOptions(port=81), id="flag over variable"
        ),
        pytest.param(
            (), {"SWITCHYARD_ROUTER_ADMIN_PORT": "82"}, RouterOptions(admin_port=82), id="a variable alone"
        ),
        pytest.param(
            (),
            {"SWITCHYARD_ROUTER_PORT": "tcp://10.0.0.7:80", "SWITCHYARD_ROUTER_ADMIN_PORT": "tcp://[::1]:80"},
            RouterOptions(),
            id="variables that kubelet sets for Services of these names",
        ),
        pytest.param((), {"SWITCHYARD_ROUTER_MODE": ""}, RouterOptions(), id="an empty variable is absent"),
        pytest.param(
            (), {"SWITCHYARD_ROUTER_WORKER_CHANNEL": "9"}, RouterOptions(), id="a channel is never inherited"
        ),
        pytest.param(
            ("--mode", "replay", "--config", "/etc/router/routing.json", "--workers", "0"),
            {},
            RouterOptions(mode="replay", config=Path("/etc/router/routing.json"), workers=0),
            id="replay",
        ),
        pytest.param(
            ("--drain-delay", "250ms", "--grace", "1m30s"),
            {},
            RouterOptions(drain_delay_seconds=0.25, grace_seconds=90.0),
            id="durations",
        ),
        pytest.param(
            ("--admin-token-sha256", HASH.upper()), {}, RouterOptions(admin_token_sha256=HASH), id="a hash"
        ),
    ],
)
def test_options_come_from_flags_then_variables_then_defaults(
    args: tuple[str, ...], environment: dict[str, str], expected: RouterOptions
) -> None:
    assert parse_router_options(args, environment) == expected


@pytest.mark.parametrize(
    ("args", "environment", "parts"),
    [
        (("--port", "65536"), {}, ("--port", "'65536'", "from 0 to 65535")),
        (("--port", "http"), {}, ("--port", "'http'", "whole number")),
        ((), {"SWITCHYARD_ROUTER_PORT": "-1"}, ("SWITCHYARD_ROUTER_PORT", "'-1'", "from 0 to 65535")),
        ((), {"SWITCHYARD_ROUTER_HOST": "x", "SWITCHYARD_ROUTER_WORKERS": "tcp://a"}, ("ROUTER_WORKERS",)),
        (("--workers", "65"), {}, ("--workers", "'65'", "from 0 to 64")),
        (("--mode", "mirror"), {}, ("--mode", "'mirror'", "router or replay")),
        (("--grace", "30"), {}, ("--grace", "'30'", "300ms")),
        (("--grace", "2h"), {}, ("--grace", "'2h'", "at most 1h")),
        (("--backlog", "0"), {}, ("--backlog", "'0'", "from 1")),
        (("--log-level", "loud"), {}, ("--log-level", "'loud'", "warning")),
        (("--prot", "1"), {}, ("--prot",)),
        (
            ("--admin-token-sha256", HASH, "--admin-token-file", "/run/token"),
            {},
            ("--admin-token-file", "'/run/token'", "give one"),
        ),
    ],
)
def test_a_wrong_option_is_refused_with_its_name_its_value_and_the_way_out(
    args: tuple[str, ...], environment: dict[str, str], parts: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_router_options(args, environment)
    for part in parts:
        assert part in str(refusal.value)


@pytest.mark.parametrize("source", ["flag", "variable"])
def test_a_token_given_in_place_of_its_hash_is_not_repeated_in_the_message(source: str) -> None:
    token = "s3cret-token"
    args = ("--admin-token-sha256", token) if source == "flag" else ()
    environment = {} if source == "flag" else {"SWITCHYARD_ROUTER_ADMIN_TOKEN_SHA256": token}
    with pytest.raises(ValueError, match="64 hex digits") as refusal:
        parse_router_options(args, environment)
    assert token not in str(refusal.value)


def test_help_tells_of_every_option_but_the_workers_channel() -> None:
    shown = {each.name for each in PARAMETERS if not each.hidden}
    fields = {name.removesuffix("_seconds") for name in RouterOptions.__dataclass_fields__}
    assert shown == fields - {"worker_channel"}
    assert all("SWITCHYARD_ROUTER_" in (each.help or "") for each in PARAMETERS)
