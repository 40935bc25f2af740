"""The router's own state in Prometheus' text format: documents, workers, drain."""

from __future__ import annotations

from switchyard.dataplane.control.config import ERRORS, ConfigHolder
from switchyard.dataplane.control.fleet import WorkerState
from switchyard.dataplane.measure import families
from switchyard.dataplane.measure.exposition import Line, write_family
from switchyard.dataplane.measure.families import STATE_FAMILIES, Family


def render_state(
    holder: ConfigHolder, workers: tuple[WorkerState, ...], *, is_draining: bool, has_samples: bool
) -> str:
    """The families as text."""
    lines: dict[Family, list[Line]] = {
        families.CONFIG_DOCUMENTS: [
            ("", (source, outcome.value), count) for (source, outcome), count in sorted(holder.taken.items())
        ],
        families.CONFIG_ERROR: [
            ("", (source,), int(report.outcome in ERRORS))
            for source, report in sorted(holder.reports.items())
        ],
        families.WORKER_UP: [("", (each.name,), int(each.is_listening)) for each in workers],
        families.WORKER_RESTARTS: [("", (each.name,), each.restarts) for each in workers],
        families.DRAINING: [("", (), int(is_draining))],
        families.SAMPLES_MISSING: [("", (), int(not has_samples))],
    }
    return "".join(write_family(family, lines[family]) for family in STATE_FAMILIES)
