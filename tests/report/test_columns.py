"""Things that variants share stand side by side, and the lowest figures are marked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from analysis.findings.finding import Where
from analysis.report.columns import edge_rows, expectation_rows, finding_rows, path_rows
from analysis.report.view import VariantView
from hopbench.results.summary import Summary
from hopbench.results.variant import EntryMedians, Expected
from hopbench.results.view import view
from tests.report import build
from tests.report.build import printed


def of(baseline: dict[str, Any], batched: dict[str, Any]) -> tuple[VariantView, ...]:
    shop = build.shop()
    rows = tuple(
        replace(row, **other) for row, other in zip(shop.variants, (baseline, batched), strict=True)
    )
    return view(replace(shop, variants=rows)).variants


HERE = build.finding()
ELSEWHERE = build.finding(where=Where(caller="a", callee="b"))


@pytest.mark.parametrize(
    ("baseline", "batched", "told"),
    [
        ({"findings": (HERE,)}, {"findings": (HERE,)}, ("28.0 ms", "28.0 ms")),
        ({"findings": (HERE,)}, {"findings": ()}, ("28.0 ms", "gone")),
        ({"findings": (HERE,)}, {"findings": (), "minor": (HERE,)}, ("28.0 ms", "minor")),
        ({"findings": (HERE,)}, {"findings": (), "void_rounds": 1}, ("28.0 ms", "–")),
        ({"findings": ()}, {"findings": (HERE,)}, ("none", "28.0 ms")),
    ],
)
def test_a_finding_is_told_once_with_what_became_of_it(
    baseline: dict[str, Any], batched: dict[str, Any], told: tuple[str, ...]
) -> None:
    (row,) = finding_rows(of(baseline, batched))
    assert tuple(cell.text for cell in row.cells) == told


def test_a_row_leads_to_the_first_variant_that_has_its_finding() -> None:
    rows = finding_rows(of({"findings": (HERE,)}, {"findings": (HERE, ELSEWHERE)}))
    assert [(row.variant, row.index) for row in rows] == [("baseline", 0), ("batched", 1)]


def test_an_edge_is_one_row_whatever_its_protocol() -> None:
    edges = [build.edge("a.x", "b.y"), build.edge("a.x", "b.y", protocol="grpc")]
    trials = [
        build.trial(name, 1, [e]) for name, e in zip(("baseline", "grpc"), edges, strict=True)
    ]
    rows = [build.variant(trial.variant, 1.0) for trial in trials]
    (row,) = edge_rows(view(build.summary(trials, rows)).variants)
    assert (row.name, row.carrier) == ("a → b.y", "http")
    assert [[edge.protocol for edge in cell] for cell in row.cells] == [["http"], ["grpc"]]


def test_an_edge_that_a_variant_lacks_leaves_its_cell_empty() -> None:
    _, lacking = edge_rows(view(build.shop()).variants)
    assert [len(cell) for cell in lacking.cells] == [1, 0]


def test_paths_stand_root_by_root() -> None:
    shop = build.shop()
    paths = (
        (build.path("a.x", "a.x"), build.path("m.y", "m.y")),
        (build.path("a.x", "b.z"), build.path("m.y", "m.y")),
    )
    trials = (replace(t, critical_path=p) for t, p in zip(shop.trials, paths, strict=True))
    rows = path_rows(view(replace(shop, trials=tuple(trials))).variants)
    assert [(row.root, row.name) for row in rows] == [
        ("a.x", "a.x"),
        ("a.x", "b.z"),
        ("m.y", "m.y"),
    ]
    assert [cell is None for cell in rows[1].cells] == [True, False]


def test_what_is_not_expected_comes_last() -> None:
    expected = Expected("chain", {"caller": "a"}, met=True)
    rows = expectation_rows(
        of({"unexpected": (HERE,)}, {"expectations": (expected,), "unexpected": ()})
    )
    assert [(row.kind, [cell.text for cell in row.cells]) for row in rows] == [
        ("chain", ["", "met"]),
        ("not expected", ["found", ""]),
    ]


def lowest(summary: Summary) -> dict[str, list[str]]:
    return {v.name: sorted(v.lowest) for v in view(summary).variants if v.lowest}


def raced(*times: tuple[str, float | None], **tuned: Any) -> Summary:
    """P50 of each variant; ``tuned``: what is other about the row of that name."""
    rows = [build.variant(name, ms, response_p95_ms=None) for name, ms in times]
    rows = [replace(row, **tuned) if row.name == "tuned" else row for row in rows]
    return build.summary([build.trial(row.name, 1, []) for row in rows], rows)


BASELINE, BATCHED, TUNED = ("baseline", 30.0), ("batched", 20.0), ("tuned", 10.0)


def test_the_lowest_figure_is_marked() -> None:
    assert lowest(raced(BASELINE, BATCHED, TUNED)) == {"tuned": ["p50"]}


def test_figures_that_read_the_same_are_marked_alike() -> None:
    same = raced(BASELINE, ("batched", 10.001), TUNED)
    assert lowest(same) == {"batched": ["p50"], "tuned": ["p50"]}


@pytest.mark.parametrize(
    ("tuned", "why"),
    [
        ({"void_rounds": 1}, "no round of it is valid"),
        ({"rounds": 0}, "it has not run"),
        ({"response_p50_ms": None}, "its P50 is not identifiable"),
    ],
)
def test_what_was_not_measured_is_not_the_lowest(tuned: dict[str, Any], why: str) -> None:
    assert lowest(raced(BASELINE, BATCHED, TUNED, **tuned)) == {"batched": ["p50"]}, why


@pytest.mark.parametrize("batched", [30.0, 30.001, 40.0])
def test_nothing_is_marked_that_is_not_lower_than_the_baseline(batched: float) -> None:
    assert lowest(raced(BASELINE, ("batched", batched))) == {}


@pytest.mark.parametrize(
    "times", [[BATCHED, TUNED], [("baseline", None), BATCHED], [("baseline", 0.0), BATCHED]]
)
def test_without_a_figure_of_the_baseline_nothing_is_marked(
    times: list[tuple[str, float | None]],
) -> None:
    assert lowest(raced(*times)) == {}


def test_beside_a_void_baseline_nothing_is_marked() -> None:
    shop = raced(BASELINE, BATCHED)
    baseline, batched = shop.variants
    for rows in (
        (replace(baseline, void_rounds=1), batched),
        (replace(baseline, void_rounds=1), replace(batched, void_rounds=1)),
    ):
        assert lowest(replace(shop, variants=rows)) == {}


@pytest.mark.parametrize(
    ("load", "why"),
    [
        ({"failed": 1}, "what fails at once is no part of its times"),
        ({"model": "closed"}, "a closed load does not see the stalls that an open one does"),
    ],
)
def test_times_under_other_conditions_are_not_the_lowest(load: dict[str, Any], why: str) -> None:
    shop = raced(BASELINE, BATCHED, TUNED)
    *others, last = shop.trials
    other = replace(last, load=replace(last.load, **load))
    assert lowest(replace(shop, trials=(*others, other))) == {"batched": ["p50"]}, why


def test_the_lead_compares_no_valid_round_with_a_void_one() -> None:
    shop = build.shop(void_rounds=1)
    baseline, batched = shop.variants
    assert "60.0 ms → 30.0 ms (not comparable)" in view(shop).lead[1]
    void = replace(shop, variants=(baseline, replace(batched, void_rounds=1)))
    assert "60.0 ms → 30.0 ms (×0.500, no valid round)" in view(void).lead[1]


def test_the_lead_has_no_figures_of_what_measured_none() -> None:
    shop = build.shop()
    baseline, batched = shop.variants
    nothing = replace(batched, void_rounds=1, response_p50_ms=None)
    assert (
        view(replace(shop, variants=(baseline, nothing))).lead[1]
        == "batched: not measured: no round is valid."
    )


def test_a_pooled_figure_is_not_the_lowest() -> None:
    """It is no median of rounds."""
    shop = raced(BASELINE, BATCHED)
    baseline, batched = shop.variants
    rows = (
        replace(baseline, response_p99_ms=90.0),
        replace(batched, response_p99_pooled_ms=50.0),
    )
    assert lowest(replace(shop, variants=rows)) == {"batched": ["p50"]}


def test_each_entry_has_a_lowest_figure_of_its_own() -> None:
    shop = raced(BASELINE, BATCHED, TUNED)
    page = {"baseline": 8.0, "batched": 5.0, "tuned": 9.0}
    rows = tuple(
        replace(
            v, entries=(EntryMedians("gateway.page", "http", 80, page[v.name], None, 1.0, None),)
        )
        for v in shop.variants
    )
    seen = view(replace(shop, variants=rows)).variants
    assert [sorted(v.entries[0].lowest) for v in seen] == [[], ["p50"], []]


def test_marks_are_explained_in_every_form() -> None:
    for shop, told in ((build.shop(), True), (raced(BASELINE), False)):
        for text in (printed(shop), build.page(shop), build.marked_down(shop)):
            assert ("chance is not ruled out" in " ".join(text.split())) is told
    assert "*30.0 ms" in printed(build.shop())
    assert "| lowest 30.0 ms |" in build.marked_down(build.shop())
