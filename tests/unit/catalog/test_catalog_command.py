"""`switchyard catalog`: what a person sees."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from switchyard.catalog import load_catalog
from switchyard.cli import main


def run(*arguments: str):
    return CliRunner().invoke(main, ["catalog", *arguments])


def test_the_list_has_every_entry_and_marks_what_is_unknown_or_unread() -> None:
    result = run()
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert {entry.name for entry in load_catalog()} <= set(rows)
    assert "unknown" in rows["hailo-8"]
    assert "70 W *" in rows["nvidia-t4"]
    assert "72 W *" not in rows["nvidia-l4"]


def test_the_list_can_be_held_to_a_family() -> None:
    listed = json.loads(run("-o", "json", "--family", "tpu").output)
    assert {entry["family"] for entry in listed} == {"tpu"}


def test_a_family_that_does_not_exist_is_told_with_those_that_do() -> None:
    result = run("--family", "abacus")
    assert result.exit_code == 2
    assert "neuromorphic" in result.output


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_the_list_as_data_is_the_whole_catalog(form: str, read) -> None:
    listed = read(run("-o", form).output)
    assert [entry["name"] for entry in listed] == [entry.name for entry in load_catalog()]


def test_the_wide_list_names_sources() -> None:
    assert "karpenter" in run("-o", "wide").output


def test_one_entry_is_shown_with_sources_and_marks() -> None:
    shown = yaml.safe_load(run("show", "aws-trainium2").output)
    assert shown["resourceName"] == "aws.amazon.com/neuron"
    assert shown["evidence"]["powerWatts"] == "general-knowledge"
    assert all(source["version"] for source in shown["sources"])


def test_an_unknown_name_is_told_with_names_near_it() -> None:
    result = run("show", "nvidia-l5")
    assert result.exit_code == 2
    assert "nvidia-l4" in result.output


def test_a_name_near_none_is_told_where_to_look() -> None:
    result = run("show", "zzzzzzzz")
    assert result.exit_code == 2
    assert "switchyard catalog" in result.output
