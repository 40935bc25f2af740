"""The catalog that ships: complete, sourced, honest about what nobody knows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.catalog import Accelerator, CatalogError, describe_entry, load_catalog, read_catalog

CATALOG = load_catalog()

EXPECTED = [
    "nvidia-t4",
    "nvidia-a10g",
    "nvidia-l4",
    "nvidia-l40s",
    "nvidia-a100-40gb",
    "nvidia-a100-80gb",
    "nvidia-h100",
    "nvidia-h200",
    "nvidia-b200",
    "nvidia-a100-40gb-mig-1g.5gb",
    "nvidia-a100-80gb-mig-7g.80gb",
    "nvidia-jetson-orin",
    "amd-mi250",
    "amd-mi300x",
    "intel-gaudi2",
    "intel-gaudi3",
    "intel-flex-170",
    "intel-max-1100",
    "intel-max-1550",
    "aws-inferentia1",
    "aws-inferentia2",
    "aws-trainium1",
    "aws-trainium2",
    "google-tpu-v4",
    "google-tpu-v5e",
    "google-tpu-v5p",
    "google-tpu-v6e",
    "google-coral-edge-tpu",
    "hailo-8",
    "intel-arria-10",
    "intel-stratix-10",
    "amd-alveo-u250",
    "intel-loihi-2",
    "brainchip-akida",
    "cpu",
    "cpu-amx",
]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_part_is_known(name: str) -> None:
    assert CATALOG.get(name) is not None


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("nvidia-l4", "resource_name", "nvidia.com/gpu"),
        ("nvidia-l4", "memory_bytes", 22888 * 2**20),
        ("nvidia-l4", "power_watts", 72),
        ("nvidia-a100-40gb-mig-1g.5gb", "resource_name", "nvidia.com/mig-1g.5gb"),
        ("amd-mi300x", "memory_bytes", 192 * 10**9),
        ("aws-inferentia2", "unit_devices", (1, 4, 8, 16)),
        ("aws-trainium1", "resource_name", "aws.amazon.com/neuron"),
        ("google-tpu-v5e", "resource_name", "google.com/tpu"),
        ("google-tpu-v5e", "memory_bandwidth_gbps", 819),
        ("google-tpu-v5e", "peak_tflops", {"bf16": 197, "int8": 393}),
        ("aws-trainium1", "peak_tflops", {"fp16": 190, "bf16": 190, "cfp8": 190, "tf32": 190}),
        ("nvidia-l4", "memory_bandwidth_gbps", 300),
        ("nvidia-a10g", "peak_tflops", {"bf16": 70, "fp16": 70}),
        ("nvidia-h100", "memory_bandwidth_gbps", 3350),
        ("amd-mi300x", "memory_bandwidth_gbps", 5300),
        ("intel-gaudi3", "peak_tflops", {"bf16": 1677, "fp8": 1677}),
        ("google-tpu-v6e", "peak_tflops", {"bf16": 918, "int8": 1836}),
        ("cpu", "resource_name", "cpu"),
        ("nvidia-t4", "power_watts", 70),
    ],
)
def test_a_fact_is_as_its_source_has_it(name: str, field: str, value: object) -> None:
    assert getattr(CATALOG.get(name), field) == value


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("intel-loihi-2", "resource_name"),
        ("brainchip-akida", "resource_name"),
        ("google-coral-edge-tpu", "resource_name"),
        ("hailo-8", "memory_bytes"),
        ("amd-alveo-u250", "power_watts"),
        ("aws-inferentia2", "power_watts"),
        ("google-tpu-v5p", "power_watts"),
        ("nvidia-jetson-orin", "memory_bytes"),
        ("intel-max-1100", "memory_bandwidth_gbps"),
        ("nvidia-a100-80gb-mig-1g.10gb", "memory_bandwidth_gbps"),
    ],
)
def test_what_nobody_publishes_is_unknown(name: str, field: str) -> None:
    assert getattr(CATALOG.get(name), field) is None


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("nvidia-t4", "power_watts"),
        ("nvidia-a10g", "power_watts"),
        ("google-tpu-v5p", "memory_bytes"),
        ("aws-trainium2", "power_watts"),
        ("intel-max-1550", "memory_bytes"),
        ("google-coral-edge-tpu", "power_watts"),
    ],
)
def test_what_nobody_read_at_a_source_is_marked(name: str, field: str) -> None:
    entry = CATALOG.get(name)
    assert entry is not None
    assert not entry.is_from_source(field)
    assert entry.evidence[field] == "general-knowledge"


@pytest.mark.parametrize("entry", list(CATALOG), ids=lambda entry: entry.name)
def test_an_entry_says_where_it_comes_from_and_how_to_find_its_nodes(entry: Accelerator) -> None:
    assert entry.sources or entry.evidence
    assert entry.as_of is not None
    assert entry.node_selectors or "nodeSelector" in entry.notes, "no label known: the notes say what to give"
    assert entry.resource_name or "device.resourceName" in entry.notes
    assert all(selector for selector in entry.node_selectors)
    if entry.resource_name is not None:
        assert re.fullmatch(r"([a-z0-9.-]+/)?[a-z0-9.-]+", entry.resource_name)
    if entry.memory_bytes is not None:
        assert 10**9 < entry.memory_bytes < 10**12


def test_entries_stand_by_family() -> None:
    families = [entry.family for entry in CATALOG]
    assert families == sorted(families, key=families.index)
    assert len(set(families)) == 8


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("nvidia-l5", "nvidia-l4"),
        ("tpu-v5e", "google-tpu-v5e"),
        ("Inferentia2", "aws-inferentia2"),
        ("NVIDIA H100", "nvidia-h100"),
        ("a100", "nvidia-a100-40gb"),
    ],
)
def test_a_name_near_one_that_is_known_finds_it(written: str, meant: str) -> None:
    assert meant in CATALOG.closest(written)


@given(st.text(max_size=40))
def test_any_text_has_at_most_three_names_near_it_and_all_are_known(text: str) -> None:
    near = CATALOG.closest(text)
    assert len(near) <= 3
    assert all(CATALOG.get(name) is not None for name in near)


@pytest.mark.parametrize(
    ("memory", "text"), [(None, None), ("16384Mi", "16 GiB"), ("22888Mi", "22.35 GiB"), ("96G", "96 GB")]
)
def test_memory_is_shown_as_on_a_data_sheet(memory: str | None, text: str | None) -> None:
    line = f"memory: {memory}" if memory else "memory: null"
    (entry,) = read_catalog([("file.yaml", FILE.replace("memory: 8G", line))])
    assert entry.memory_text == text


def test_the_document_of_an_entry_keeps_unknown_as_null() -> None:
    entry = CATALOG.get("intel-loihi-2")
    assert entry is not None
    document = describe_entry(entry)
    assert (document["resourceName"], document["memoryBytes"]) == (None, None)
    assert document["evidence"]["powerWatts"] == "general-knowledge"


FILE = """
asOf: 2026-08-22
sources:
  sheet: {title: a data sheet, version: "1"}
accelerators:
  - name: part
    family: gpu
    vendor: Maker
    model: Part
    resourceName: example.com/part
    nodeSelectors: [{example.com/device: part}]
    taints: [{key: example.com/part}]
    memory: 8G
    powerWatts: 10
    memoryBandwidthGBps: 300
    peakTflops: {fp16: 60}
    precisions: [fp16]
    runtimes: []
    unitDevices: []
    sources: [sheet]
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("family: gpu", "family: abacus", "family"),
        ("    memory: 8G\n", "", "memory"),
        ("memory: 8G", "memory: 8 GB", "memory"),
        ("powerWatts: 10", "powerWatts: 0", "powerWatts"),
        ("memoryBandwidthGBps: 300", "memoryBandwidthGBps: 0", "memoryBandwidthGBps"),
        ("{fp16: 60}", "{fp16: fast}", "peakTflops"),
        ("sources: [sheet]", "sources: [hearsay]", "hearsay"),
        ("sources: [sheet]", "sources: []", "name a source"),
        ("sources: [sheet]", "sources: [sheet]\n    generalKnowledge: [price]", "price"),
        ("nodeSelectors: [{example.com/device: part}]", "nodeSelectors: [{}]", "every node"),
        ("precisions: [fp16]", "precisions: [fp16]\n    speed: fast", "speed"),
        ("asOf: 2026-08-22", "asOf: lately", "asOf"),
    ],
)
def test_a_data_file_that_can_not_be_right_is_refused_by_name(old: str, new: str, told: str) -> None:
    assert old in FILE
    with pytest.raises(CatalogError) as caught:
        read_catalog([("file.yaml", FILE.replace(old, new))])
    assert told in str(caught.value)
    assert "file.yaml" in str(caught.value)


def test_one_name_in_two_files_is_refused() -> None:
    with pytest.raises(CatalogError, match="twice"):
        read_catalog([("a.yaml", FILE), ("b.yaml", FILE)])


@pytest.mark.parametrize(
    "entry", [each for each in CATALOG if each.peak_tflops], ids=lambda entry: entry.name
)
def test_a_peak_is_of_a_precision_that_the_part_has(entry: Accelerator) -> None:
    assert set(entry.peak_tflops) <= set(entry.precisions)
    assert entry.memory_bandwidth_gbps is not None


@pytest.mark.parametrize(
    "entry", [each for each in CATALOG if each.peak_tflops], ids=lambda entry: entry.name
)
def test_a_peak_does_not_count_sparsity(entry: Accelerator) -> None:
    """Eight bits are at most twice as fast as sixteen; with one figure dense and one sparse it would be four."""
    peaks = entry.peak_tflops
    for wide, narrow in (("bf16", "fp8"), ("bf16", "int8"), ("fp16", "int8"), ("tf32", "bf16")):
        if wide in peaks and narrow in peaks:
            assert peaks[wide] <= peaks[narrow] * 1.01
            assert peaks[narrow] <= 2.1 * peaks[wide]
