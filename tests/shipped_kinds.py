"""The definitions of our kinds as they ship, read once in a process: a test that has a server installs them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

DIRECTORY = Path(__file__).parents[1] / "crds"
_FASTEST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def read_definitions() -> tuple[dict[str, Any], ...]:
    """Every CustomResourceDefinition, by file name. Not to be changed: all tests share them."""
    return tuple(
        document
        for file in sorted(DIRECTORY.glob("*.yaml"))
        for document in yaml.load_all(file.read_text(), Loader=_FASTEST)
    )
