"""The catalog as loaded from its data files, each entry checked.

ValueError
 └── CatalogError    names the file, the entry, the field and what it may be
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from switchyard.catalog.accelerator import GENERAL_KNOWLEDGE, Accelerator, Catalog, Source, Taint

Family = Literal["gpu", "inferentia", "trainium", "tpu", "edge", "fpga", "neuromorphic", "cpu"]
Precision = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
FAMILIES: tuple[str, ...] = get_args(Family)  # in the order of the catalog
_BYTES = {"M": 10**6, "G": 10**9, "Mi": 2**20, "Gi": 2**30}


class CatalogError(ValueError):
    """A data file that can't be used."""


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class _SourceData(_Part):
    title: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]


class _TaintData(_Part):
    key: str
    value: str = ""
    effect: Literal["", "NoSchedule", "NoExecute", "PreferNoSchedule"] = ""


class _Entry(_Part):
    name: Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    family: Family
    vendor: str
    model: str
    # every entry states these, null or empty where nothing is known: silence would look like an oversight
    resource_name: str | None
    node_selectors: tuple[dict[str, str], ...]
    taints: tuple[_TaintData, ...]
    memory: Annotated[str, Field(pattern=r"^[1-9][0-9]*(M|G|Mi|Gi)$")] | None
    power_watts: Annotated[float, Field(gt=0)] | None
    memory_bandwidth_gbps: Annotated[float, Field(gt=0)] | None = Field(alias="memoryBandwidthGBps")
    peak_tflops: dict[Precision, Annotated[float, Field(gt=0)]]
    precisions: tuple[Precision, ...]
    runtimes: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")], ...]
    unit_devices: tuple[Annotated[int, Field(ge=1)], ...]
    sources: tuple[str, ...]
    general_knowledge: tuple[str, ...] = ()
    notes: str = ""

    @field_validator("node_selectors")
    @classmethod
    def _judge_selectors(cls, selectors: tuple[dict[str, str], ...]) -> tuple[dict[str, str], ...]:
        if not all(selectors):
            raise ValueError("an empty selector would take every node; leave it out")
        return selectors

    @field_validator("general_knowledge")
    @classmethod
    def _judge_marks(cls, marks: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [mark for mark in marks if mark not in _MARKED_FIELDS]
        if unknown:
            raise ValueError(f"no such field: {', '.join(unknown)}")
        return marks


_MARKED_FIELDS = {
    to_camel(name): name
    for name in (
        "resource_name",
        "node_selectors",
        "taints",
        "memory",
        "power_watts",
        "precisions",
        "runtimes",
        "unit_devices",
    )
}


class _File(_Part):
    as_of: date
    sources: dict[str, _SourceData]
    accelerators: tuple[_Entry, ...]


@cache
def load_catalog() -> Catalog:
    """The catalog that ships with the package. Loaded once."""
    folder = resources.files("switchyard.catalog") / "data"
    files = sorted(
        (each for each in folder.iterdir() if each.name.endswith(".yaml")), key=lambda each: each.name
    )
    return read_catalog((each.name, each.read_text(encoding="utf-8")) for each in files)


def read_catalog(files: Iterable[tuple[str, str]]) -> Catalog:
    """The catalog in data files, given as name and text. Raises CatalogError."""
    entries: dict[str, Accelerator] = {}
    for name, text in files:
        for entry in _read_file(name, text):
            if entry.name in entries:
                raise CatalogError(f"{name}: {entry.name} is in the catalog twice")
            entries[entry.name] = entry
    in_order = sorted(
        entries.values(), key=lambda each: (FAMILIES.index(each.family), each.vendor, each.name)
    )
    return Catalog(MappingProxyType({each.name: each for each in in_order}))


def _read_file(name: str, text: str) -> Iterable[Accelerator]:
    try:
        parsed = _File.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise CatalogError(f"{name}: {error}") from error
    for entry in parsed.accelerators:
        missing = [key for key in entry.sources if key not in parsed.sources]
        if missing:
            raise CatalogError(f"{name}: {entry.name}: sources lists no {', '.join(missing)}")
        if not entry.sources and not entry.general_knowledge:
            raise CatalogError(f"{name}: {entry.name}: name a source, or mark what is general knowledge")
        yield _build(entry, parsed)


def _build(entry: _Entry, file: _File) -> Accelerator:
    marks = {_field_name(mark): GENERAL_KNOWLEDGE for mark in entry.general_knowledge}
    return Accelerator(
        name=entry.name,
        family=entry.family,
        vendor=entry.vendor,
        model=entry.model,
        resource_name=entry.resource_name,
        node_selectors=tuple(MappingProxyType(each) for each in entry.node_selectors),
        taints=tuple(Taint(each.key, each.value, each.effect) for each in entry.taints),
        memory_bytes=_read_bytes(entry.memory),
        power_watts=entry.power_watts,
        memory_bandwidth_gbps=entry.memory_bandwidth_gbps,
        peak_tflops=MappingProxyType(entry.peak_tflops),
        precisions=entry.precisions,
        runtimes=entry.runtimes,
        unit_devices=tuple(sorted(entry.unit_devices)),
        sources=tuple(Source(file.sources[key].title, file.sources[key].version) for key in entry.sources),
        as_of=file.as_of,
        notes=" ".join(entry.notes.split()),
        evidence=MappingProxyType(marks),
    )


def _field_name(mark: str) -> str:
    return "memory_bytes" if mark == "memory" else _MARKED_FIELDS[mark]


def _read_bytes(text: str | None) -> int | None:
    if text is None:
        return None
    number = text.rstrip("MGi")
    return int(number) * _BYTES[text[len(number) :]]


def describe_entry(entry: Accelerator) -> Mapping[str, Any]:
    """The entry as a plain document, unknown values as None."""
    return {
        "name": entry.name,
        "family": entry.family,
        "vendor": entry.vendor,
        "model": entry.model,
        "resourceName": entry.resource_name,
        "nodeSelectors": [dict(each) for each in entry.node_selectors],
        "taints": [
            {
                name: value
                for name, value in (("key", each.key), ("value", each.value), ("effect", each.effect))
                if value
            }
            for each in entry.taints
        ],
        "memoryBytes": entry.memory_bytes,
        "powerWatts": entry.power_watts,
        "memoryBandwidthGBps": entry.memory_bandwidth_gbps,
        "peakTflops": dict(entry.peak_tflops),
        "precisions": list(entry.precisions),
        "runtimes": list(entry.runtimes),
        "unitDevices": list(entry.unit_devices),
        "evidence": {to_camel(name): mark for name, mark in entry.evidence.items()},
        "sources": [{"title": each.title, "version": each.version} for each in entry.sources],
        "asOf": entry.as_of.isoformat() if entry.as_of else None,
        "notes": entry.notes or None,
    }
