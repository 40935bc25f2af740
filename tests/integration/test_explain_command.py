"""`switchyard explain` on files: figures, turning points, text, pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.integration.what_if_files import (
    GPU,
    chat,
    node,
    options,
    pool,
    start_switchyard,
    switchyard,
    variant,
    workload,
    write,
)

from switchyard.cli.explanation import explain
from switchyard.cli.what_if import plan_files

KEY = ("team", "chat")


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Cheap small devices, dear large ones, and a pool that may not be used."""
    large = variant("large", accelerators=["big"], profile=_profile(slots=40))
    small = variant("small", accelerators=["gpu"])
    return write(
        tmp_path / "fleet.yaml",
        pool("small", "1.00"),
        pool("large", "5.50", accelerator="big", device={"family": "gpu", "resourceName": GPU}),
        pool("far", "0.50", cordoned=True),
        *(node(f"{name}-1", name, 8) for name in ("small", "large", "far")),
        workload("chat", "60", variants=[small, large], objectives=[{"percentile": 95, "target": "400ms"}]),
    )


def _profile(slots: int) -> dict[str, Any]:
    return {
        "concurrency": {"slots": slots, "base": "100ms", "slope": "0s", "cv2": "0.2"},
        "source": "benchmark",
    }


def test_every_option_has_a_verdict_with_its_figures(fleet: Path) -> None:
    ran = switchyard("explain", "iw/chat", "-f", fleet, "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    found = options(ran.document)
    chosen, other = found["small", "small"], found["large", "large"]
    assert (chosen["verdict"], chosen["replicas"], chosen["devices"]) == ("chosen", 2, 2)
    assert chosen["marginalPerHour"] == chosen["allocatedPerHour"] == "2.00"
    assert chosen["ratePerReplica"] == pytest.approx(31, rel=0.05)
    assert chosen["costPerThousandRequests"] == "0.009259"
    (figure,) = chosen["predicted"]
    assert (figure["percentile"], figure["targetSeconds"]) == (95, 0.4)
    assert 0.1 < figure["seconds"] < 0.4
    assert (other["verdict"], other["reason"], other["marginalPerHour"]) == ("possible", "CostHigher", "5.50")
    refused = found["small", "far"]
    assert (refused["verdict"], refused["reason"], refused["marginalPerHour"]) == (
        "refused",
        "PoolCordoned",
        "1.00",
    )
    assert refused["remedies"] == [
        {
            "reason": "PoolCordoned",
            "message": "pool far no longer cordoned",
            "option": "--set pool/far.cordoned=false",
        }
    ]


def test_demand_past_a_turning_point_changes_the_plan_and_short_of_it_does_not(fleet: Path) -> None:
    document = switchyard("explain", "chat", "-f", fleet, "-o", "json").document
    ranges = document["turningPoints"]["demand"]
    turn = next(each for each in ranges if (each["cheapest"] or {}).get("pool") == "large")
    at = turn["aboveRequestsPerSecond"]
    assert 60 < at < 240
    for demand, expected in ((at * 0.999, "small"), (at * 1.001, "large")):
        planned = plan_files([str(fleet)], [f"iw/chat.demand.requestsPerSecond={demand:.4f}"], ())[1]
        assert [seat[1] for seat in planned.seats[KEY]] == [expected]


def test_a_price_past_its_turning_point_changes_the_plan_and_short_of_it_does_not(fleet: Path) -> None:
    document = switchyard("explain", "chat", "-f", fleet, "-o", "json").document
    turns = {each["pool"]: each for each in document["turningPoints"]["prices"]}
    assert (turns["small"]["direction"], turns["small"]["devicePerHour"]) == ("rise", "2.75")
    assert (turns["large"]["direction"], turns["large"]["devicePerHour"]) == ("fall", "2.00")
    for pool_name, price, expected in (
        ("small", "2.74", "small"),
        ("small", "2.76", "large"),
        ("large", "2.01", "small"),
        ("large", "1.99", "large"),
    ):
        planned = plan_files([str(fleet)], [f"pool/{pool_name}.cost.devicePerHour={price}"], ())[1]
        assert [seat[1] for seat in planned.seats[KEY]] == [expected]


def test_overhead_is_taken_off_the_price_that_turns(fleet: Path) -> None:
    settings = ["pool/small.cost.overheadPercent=25", "pool/large.cost.overheadPercent=10"]
    explanation = explain(plan_files([str(fleet)], settings, ())[1], KEY)
    from switchyard.cli.explain_report import describe_explanation

    prices = describe_explanation(explanation)["turningPoints"]["prices"]
    assert {each["pool"]: (each["devicePerHourNow"], each["devicePerHour"]) for each in prices} == {
        "small": ("1.00", "2.42"),  # 5.5 x 1.1 = 2 x 1.25 x 2.42
        "large": ("5.50", "2.2727"),  # 2 x 1.25 = 1.1 x 2.2727
    }


def test_a_fallback_is_told_apart_from_full_service(tmp_path: Path) -> None:
    spec = {
        "variants": [variant("large"), variant("small", quality="0.9")],
        "fallback": [{"variant": "small"}],
        "objectives": [{"percentile": 95, "target": "400ms"}],
    }
    files = str(write(tmp_path / "w.yaml", pool("a"), node("n", "a"), chat(**spec)))
    rows = {each.name: each for each in explain(plan_files([files], (), ())[1], KEY).rows}
    assert rows["large", "a"].standing == "chosen"
    fallback = rows["small", "a"]
    assert (fallback.standing, fallback.degradation, fallback.reason) == ("possible", 1, "FallbackNotNeeded")
    assert fallback.offer is None  # no alternative to full service at any demand
    explanation = explain(plan_files([files], ["iw/chat.objectives[0].target=1ms"], ())[1], KEY)
    rows = {(each.variant, each.degradation): each for each in explanation.rows}
    assert rows["small", 1].standing == "chosen"
    assert rows["large", 0].reason == "ObjectiveUnreachable"
    assert explanation.cheapest == ("small", "a")


def test_a_mix_shows_each_of_its_options_with_its_share(tmp_path: Path) -> None:
    spec = {
        "demand": {"requestsPerSecond": "170"},
        "placement": {"mode": "mixed"},
        "constraints": {"spread": {"maxPercentPerPool": 60}},
        "objectives": [{"percentile": 95, "target": "400ms"}],
    }
    pools = [pool("a"), pool("b", "1.50"), node("n", "a", 4), node("m", "b", 8)]
    explanation = explain(plan_files([str(write(tmp_path / "w.yaml", *pools, chat(**spec)))], (), ())[1], KEY)
    chosen = [each for each in explanation.rows if each.standing == "chosen"]
    assert [each.pool for each in chosen] == ["a", "b"]
    assert all(0 < (each.replicas or 0) < 6 for each in chosen)
    (first,), (second,) = (each.predicted for each in chosen)
    assert first == second  # callers are spread evenly over all replicas


def test_a_recommendation_of_the_operator_is_shown(tmp_path: Path) -> None:
    recommended = chat()
    recommended["status"] = {
        "recommendation": {
            "placements": [{"variant": "v", "pool": "b", "replicas": 1}],
            "savingPerHour": "3.20",
            "payback": "15m",
            "message": "1 x v in b",
        }
    }
    running = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "other",
            "namespace": "team",
            "labels": {"app.kubernetes.io/managed-by": "switchyard"},
        },
    }
    files = write(tmp_path / "w.yaml", pool("a"), node("n", "a"), recommended, running)
    ran = switchyard("explain", "iw/chat", "-f", files)
    assert "  1 x v in b; saves 3.20 per hour; pays back in 15m; observed, not settled yet" in ran.out


def test_without_objectives_the_p95_is_shown(tmp_path: Path) -> None:
    files = write(tmp_path / "w.yaml", pool("a"), node("n", "a"), chat())
    ran = switchyard("explain", "iw/chat", "-f", files, "-o", "json")
    (figure,) = options(ran.document)["v", "a"]["predicted"]
    assert (figure["percentile"], figure["targetSeconds"]) == (95, None)
    assert figure["seconds"] > 0.1


def test_text_tells_the_story_from_header_to_remedies(fleet: Path) -> None:
    ran = switchyard("explain", "iw/chat", "-f", fleet, environment={"COLUMNS": "60"})
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out
    for told in (
        r"^Workload:   team/chat, internal$",
        r"^Demand:     60 requests/s",
        r"^Placement:  small/small x2, 2.00 USD per hour, 0.009259 per thousand requests$",
        r"^Predicted:  p95 .* \(400ms\)$",
        r"^POOL +VARIANT +VERDICT",
        r"^small +small +chosen",
        r"^far +small +refused .*PoolCordoned: pool far is cordoned",
        r"small/small +now, at 60$",
        r"^  small +1.00 +above 2.75 +large/large is cheaper than small/small$",
        r"^  far/small: pool far no longer cordoned$",
        r"^    --set pool/far.cordoned=false$",
    ):
        assert re.search(told, ran.out, re.MULTILINE), f"{told}\n{ran.out}"


def test_a_narrow_terminal_wraps_at_words(fleet: Path) -> None:
    from switchyard.cli.explain_report import describe_explanation, format_explanation

    explanation = explain(plan_files([str(fleet)], (), ())[1], KEY)
    document = describe_explanation(explanation)
    whole = format_explanation(explanation, document, width=None)
    for width in (50, 60, 100, 120):
        text = format_explanation(explanation, document, width=width)
        assert max(map(len, text.splitlines())) <= width
        words = {word.strip(",") for word in whole.split()}
        assert {word.strip(",") for word in text.split()} <= words  # none is broken
        assert {"264ms", "PoolCordoned:", "large/large", "--set", "pool/far.cordoned=false"} <= set(
            text.split()
        )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("iw/chatt", "InferenceWorkload chatt is not there; did you mean chat?"),
        ("iw/other/chat", "InferenceWorkload chat is not there in namespace other; there is one in team"),
        ("pod/x/chat", "give iw/NAME"),
    ],
)
def test_a_workload_that_is_not_there_is_named(fleet: Path, asked: str, message: str) -> None:
    ran = switchyard("explain", asked, "-f", fleet)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_an_unplaced_workload_is_explained_and_ends_with_1(tmp_path: Path) -> None:
    files = write(tmp_path / "w.yaml", pool("a", cordoned=True), node("n", "a"), workload("chat"))
    ran = switchyard("explain", "iw/chat", "-f", files)
    assert ran.code == 1
    assert "PoolCordoned" in ran.out


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_plot_is_written_as_its_name_says(fleet: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cost.{suffix}"
    ran = switchyard("explain", "iw/chat", "-f", fleet, "--plot", path)
    assert ran.code == 0, ran.err
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in content
    assert len(content) > 10_000


def test_a_plot_in_the_terminal_names_every_option(fleet: Path) -> None:
    ran = switchyard("explain", "iw/chat", "-f", fleet, "--plot", "-", environment={"COLUMNS": "80"})
    assert ran.code == 0, ran.err
    drawing = ran.out[ran.out.index("What team/chat would cost by demand") :]
    assert "small/small (chosen, x2)" in drawing
    assert "large/large" in drawing
    assert "now, 60/s" in drawing
    assert all(len(line) <= 80 for line in drawing.splitlines())


def test_without_matplotlib_the_extra_is_named(fleet: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "matplotlib"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not installed')")
    ran = start_switchyard(
        *("explain", "iw/chat", "-f", fleet, "--plot", tmp_path / "x.png"),
        environment={"PYTHONPATH": str(hidden.parent)},
    )
    assert ran.code == 2
    assert "pip install 'switchyard[plot]'" in ran.err


def test_a_plot_of_an_unknown_form_is_refused(fleet: Path) -> None:
    ran = switchyard("explain", "iw/chat", "-f", fleet, "--plot", "cost.bmp")
    assert ran.code == 2
    assert "ends in .png or .svg" in ran.err


def test_every_field_of_the_document_is_described(fleet: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "explain.md").read_text()
    document = switchyard("explain", "iw/chat", "-f", fleet, "-o", "json").document
    document["placements"] = []
    for name in _field_names(document):
        assert f"`{name}" in page or f".{name}" in page, name


def _field_names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_field_names, value.values()))
    return set().union(*map(_field_names, value)) if isinstance(value, list) else set()
