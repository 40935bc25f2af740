"""What is known of one accelerator. Unknown stays None or empty; nothing is filled in by guessing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

GENERAL_KNOWLEDGE = "general-knowledge"  # nobody read it at a source: a default, to be overruled by a pool


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint that nodes with the device usually carry. An empty value or effect stands for any."""

    key: str
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where facts were read, and of which version or day that was."""

    title: str
    version: str


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One entry of the catalog.

    `node_selectors` are alternatives: a node with all labels of any of them has the device. `resource_name`
    is None where no vendor defines one. `evidence` has the mark of each field that was not read at a source.
    """

    name: str
    family: str
    vendor: str
    model: str
    resource_name: str | None = None
    node_selectors: tuple[Mapping[str, str], ...] = ()
    taints: tuple[Taint, ...] = ()
    memory_bytes: int | None = None
    power_watts: float | None = None
    memory_bandwidth_gbps: float | None = None  # 10^9 bytes per second
    peak_tflops: Mapping[str, float] = field(
        default_factory=dict
    )  # 10^12 operations per second, by precision
    precisions: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    unit_devices: tuple[int, ...] = ()
    sources: tuple[Source, ...] = ()
    as_of: date | None = None
    notes: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)

    @property
    def memory_text(self) -> str | None:
        """The memory as it is written on data sheets: `16 GiB` or `96 GB`; None when unknown."""
        if self.memory_bytes is None:
            return None
        is_decimal = self.memory_bytes % 10**9 == 0
        scale, unit = (10**9, "GB") if is_decimal else (2**30, "GiB")
        return f"{self.memory_bytes / scale:.4g} {unit}"

    def is_from_source(self, field_name: str) -> bool:
        """True when the field was read at a source of this entry."""
        return field_name not in self.evidence


@dataclass(frozen=True, slots=True)
class Catalog:
    """All entries, by name in alphabetical order within their family."""

    entries: Mapping[str, Accelerator]

    def get(self, name: str) -> Accelerator | None:
        """The entry of that name."""
        return self.entries.get(name)

    def closest(self, name: str) -> tuple[str, ...]:
        """Up to three names that a person may have meant, the closest first."""
        written = name.lower().replace("_", "-").replace(" ", "-")
        found = difflib.get_close_matches(written, self.entries, n=3, cutoff=0.6)
        found += [each for each in self.entries if written and written in each and each not in found]
        return tuple(found[:3])

    def __iter__(self) -> Iterator[Accelerator]:
        """The entries, by family, then by name."""
        return iter(self.entries.values())

    def __len__(self) -> int:
        """The number of entries."""
        return len(self.entries)
