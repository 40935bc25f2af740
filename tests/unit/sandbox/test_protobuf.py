"""Bodies written by hand in the wire format; real kubectl sends the rest in the integration tests."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.sandbox.apiserver.builtins.schemas import component
from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.protobuf import MAGIC, _numbers, decode_protobuf


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, *values: bytes | str) -> bytes:
    raw = b"".join(value.encode() if isinstance(value, str) else value for value in values)
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _body(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + _part(1, _part(1, api_version), _part(2, kind)) + _part(2, raw) + _part(4, "")


def _map(field: int, key: str, value: bytes | str) -> bytes:
    return _part(field, _part(1, key), _part(2, value))


def test_a_config_map_keeps_texts_and_bytes() -> None:
    raw = (
        _part(1, _part(1, "c"), _part(3, "ns"), _map(11, "k", "v"))
        + _map(2, "a", "1")
        + _map(3, "b", b"\xff")
    )
    assert decode_protobuf(_body("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "ns", "labels": {"k": "v"}},
        "data": {"a": "1"},
        "binaryData": {"b": "/w=="},
    }


def test_a_deployment_keeps_quantities_ports_and_an_explicit_zero() -> None:
    container = (
        _part(1, "c")
        + _part(2, "i:1")
        + _part(8, _map(1, "cpu", _part(1, "500m")))
        + _part(6, _number(3, 80))
        + _part(11, _part(1, _part(2, _part(2, _number(1, 1) + _part(3, "http")))))
    )
    spec = _number(1, 0) + _part(3, _part(2, _part(2, container)))
    got = decode_protobuf(_body("apps/v1", "Deployment", _part(2, spec)))
    assert got["spec"]["replicas"] == 0
    assert got["spec"]["template"]["spec"]["containers"] == [
        {
            "name": "c",
            "image": "i:1",
            "resources": {"limits": {"cpu": "500m"}},
            "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": "http"}},
        }
    ]


def test_an_embedded_volume_source_is_found_and_an_empty_one_kept() -> None:
    volume = _part(1, "v") + _part(2, _part(2, b""))
    got = decode_protobuf(_body("v1", "Pod", _part(2, _part(1, volume))))
    assert got["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_empty_values_that_go_always_writes_are_left_out() -> None:
    raw = (
        _part(1, _part(1, "n"), _part(2, ""), _number(7, 0), _part(8, b""))
        + _part(2, b"")
        + _part(3, _part(1, ""))
    )
    assert decode_protobuf(_body("v1", "Namespace", raw)) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "n"},
    }


def test_times_keep_their_precision() -> None:
    raw = _part(2, _part(4, _number(1, 1_767_225_600) + _number(2, 1_500_000)))
    lease = decode_protobuf(_body("coordination.k8s.io/v1", "Lease", raw))
    assert lease["spec"]["renewTime"] == "2026-01-01T00:00:00.001500Z"


def test_a_negative_number_stays_negative() -> None:
    assert decode_protobuf(_body("apps/v1", "Deployment", _part(2, _number(1, -1))))["spec"]["replicas"] == -1


def test_a_kind_without_field_numbers_is_an_unsupported_media_type() -> None:
    with pytest.raises(ApiError) as refusal:
        decode_protobuf(_body("node.k8s.io/v1", "RuntimeClass", b""))
    assert refusal.value.code == 415
    assert "application/json" in refusal.value.message


@pytest.mark.parametrize(
    "body", [b"", b"{}", MAGIC + b"\x0a\x7f", _body("v1", "Pod", b"\x0a\xff"), _body("v1", "Pod", b"\x0b")]
)
def test_a_broken_body_is_a_value_error(body: bytes) -> None:
    with pytest.raises((ValueError, ApiError)):
        decode_protobuf(body)


@given(st.binary(max_size=200))
def test_no_bytes_lead_to_anything_but_an_object_or_a_refusal(raw: bytes) -> None:
    with suppress(ValueError, ApiError):
        assert decode_protobuf(_body("v1", "Pod", raw))["kind"] == "Pod"


def test_field_numbers_name_fields_that_exist_and_no_number_twice() -> None:
    for model, fields in _numbers().items():
        assert set(fields) <= set(component(model)["properties"]), model
        paths = [path for path, _ in fields.values()]
        assert len(paths) == len(set(paths)), model
