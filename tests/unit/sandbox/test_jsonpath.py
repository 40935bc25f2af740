from typing import Any

import pytest

from switchyard.sandbox.apiserver.jsonpath import find

_OBJECT = {
    "spec": {"mode": "Fast", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}], "zero": 0},
    "metadata": {"annotations": {"example.com/x": "y"}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Placed", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.mode", ["Fast"]),
        ("spec.mode", ["Fast"]),
        ("{.spec.mode}", ["Fast"]),
        (".spec.zero", [0]),
        (".spec.none", []),
        (".spec.ports[*].name", ["a", "b"]),
        (".spec.ports[1].port", [2]),
        (".spec.ports[-1].port", [2]),
        (".spec.ports[0:1].name", ["a"]),
        (".spec.ports[7].port", []),
        (".metadata.annotations.example\\.com/x", ["y"]),
        (".metadata.annotations['example.com/x']", ["y"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        ("status.conditions[?(@.type=='Placed')].status", ["False"]),
        ('.status.conditions[?(@.type!="Ready")].type', ["Placed"]),
        (".spec.ports[?(@.port>1)].name", ["b"]),
        (".spec.ports[?(@.nope)].name", []),
        (".spec.mode.deeper", []),
        (".spec[", []),
        ("..mode", []),
    ],
)
def test_a_path_finds(path: str, found: list[Any]) -> None:
    assert find(_OBJECT, path) == found
