"""The router's own state in Prometheus' text format: documents, workers, drain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from switchyard.dataplane.control.config import ERRORS, ConfigHolder
from switchyard.dataplane.control.fleet import WorkerState

_PREFIX = "switchyard_router_"


def render_state(
    holder: ConfigHolder, workers: tuple[WorkerState, ...], *, is_draining: bool, has_samples: bool
) -> str:
    """The families as text."""
    return "".join(
        (
            _render(
                "config_documents_total",
                "counter",
                "Documents and failed readings, by source and what became of them.",
                [
                    ({"source": source, "outcome": outcome.value}, count)
                    for (source, outcome), count in sorted(holder.taken.items())
                ],
            ),
            _render(
                "config_error",
                "gauge",
                "1 while the last document of a source could not be brought into force.",
                [
                    ({"source": source}, int(report.outcome in ERRORS))
                    for source, report in sorted(holder.reports.items())
                ],
            ),
            _render(
                "worker_up",
                "gauge",
                "1 for a worker that listens.",
                [({"worker": each.name}, int(each.is_listening)) for each in workers],
            ),
            _render(
                "worker_restarts_total",
                "counter",
                "How often a worker ended by itself and was started again.",
                [({"worker": each.name}, each.restarts) for each in workers],
            ),
            _render("draining", "gauge", "1 from SIGTERM on.", _plain(int(is_draining))),
            _render(
                "samples_missing",
                "gauge",
                "1 where a worker's counts could not be had, so that this page has none.",
                _plain(int(not has_samples)),
            ),
        )
    )


def _plain(value: int) -> list[tuple[Mapping[str, str], int]]:
    return [({}, value)]


def _render(name: str, kind: str, text: str, values: Iterable[tuple[Mapping[str, str], int]]) -> str:
    lines = [f"# HELP {_PREFIX}{name} {text}", f"# TYPE {_PREFIX}{name} {kind}"]
    for labels, value in values:
        shown = ",".join(f'{key}="{label}"' for key, label in labels.items())
        lines.append(f"{_PREFIX}{name}{{{shown}}} {value}" if shown else f"{_PREFIX}{name} {value}")
    return "\n".join(lines) + "\n"
