"""Writes what is generated from the sources; with --check, says what differs and exits with 1.

To generate one more file, add an entry to `render_all`.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from chart_files import chart_files
from reference_pages import render_api, render_catalog, render_reasons
from router_pages import render_router

from switchyard.adapters.metric_catalog import render_reference as render_metrics
from switchyard.api.crd import KINDS, render_definition
from switchyard.catalog.signal_presets import render_preset_page

ROOT = Path(__file__).resolve().parents[1]


def render_all() -> dict[Path, str]:
    """Text by path, relative to the repository."""
    definitions = {kind.file_name: render_definition(kind) for kind in KINDS}
    return {
        **{Path("crds") / name: text for name, text in definitions.items()},
        **chart_files(definitions),
        Path("docs/reference/api.md"): render_api(),
        Path("docs/reference/catalog.md"): render_catalog(),
        Path("docs/reference/metrics.md"): render_metrics(),
        Path("docs/reference/reasons.md"): render_reasons(),
        Path("docs/reference/router.md"): render_router(),
        Path("docs/reference/signal-presets.md"): render_preset_page(),
    }


def find_drift(rendered: dict[Path, str], root: Path) -> str:
    """A diff from what is there to what should be; empty when all is as rendered."""
    parts: list[str] = []
    for path, text in rendered.items():
        there = (root / path).read_text(encoding="utf-8") if (root / path).exists() else ""
        parts += difflib.unified_diff(
            there.splitlines(keepends=True), text.splitlines(keepends=True), str(path), f"{path} (generated)"
        )
    return "".join(parts)


def find_leftovers(rendered: dict[Path, str], root: Path) -> list[Path]:
    """Files in generated folders that nothing generates any more."""
    folders = {path.parent for path in rendered if path.parent.name == "crds"}
    return sorted(
        path.relative_to(root)
        for folder in folders
        for path in (root / folder).glob("*.yaml")
        if path.relative_to(root) not in rendered
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 when something differs"
    )
    rendered = render_all()
    if parser.parse_args().check:
        drift = find_drift(rendered, ROOT)
        leftovers = find_leftovers(rendered, ROOT)
        if drift or leftovers:
            print(drift, end="")
            for path in leftovers:
                print(f"{path}: nothing generates this file any more")
            print("generated files differ from their sources; run: make generate", file=sys.stderr)
            return 1
        return 0
    for path, text in rendered.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    for path in find_leftovers(rendered, ROOT):
        (ROOT / path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
