from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from analysis.findings.finding import Evidence
from analysis.report.calls import call_tree, edge_views
from analysis.report.distribution import POINTS, Curve, curve
from analysis.report.panels import panels
from analysis.report.topology import layers, topology_svg
from analysis.report.view import finding_view
from analysis.report.waterfall import Bar, read_trace, waterfall
from hopbench.results.round import Raised
from hopbench.results.variant import EntryMedians, Expected
from hopbench.results.view import view
from services.doubts import Code, Doubt
from tests.report import build
from tests.report.build import printed


def test_the_terminal_shows_tree_findings_advice_and_variants() -> None:
    text = printed(build.shop())
    assert re.search(r"gateway\.buy *\n.*└── order\.create  http  1×", text)
    assert re.search(r"    └── inventory\.reserve  http  7×", text)
    assert "try {op: batch, edge: order->inventory.reserve, size: 7}" in text
    assert re.search(r"batched +\*30\.0 ms +×0\.500", text)
    assert not re.search("findings +failed", text)
    assert "1 round a variant" in text


def test_the_variants_fit_a_narrow_terminal() -> None:
    text = printed(build.shop(), width=80)
    assert "…" not in text


def test_findings_and_doubts_keep_their_indentation_where_they_wrap() -> None:
    finding = build.finding(text="One word after another, until the line has to end. " * 3)
    doubt = Doubt(Code.SHORT_ROUND, "seconds " * 30)
    summary = replace(build.shop(findings=(finding,)), doubts=(doubt,))
    lines = printed(summary, width=80).splitlines()
    said = [line for line in lines if "word after" in line or line.strip().startswith("until")]
    assert {len(line) - len(line.lstrip()) for line in said} == {4}
    seconds = [line.index("seconds") for line in lines if "seconds" in line]
    assert len(seconds) > 1
    assert len(set(seconds)) == 1


@pytest.mark.parametrize("expectations", [(), (Expected("chain", {}, met=True),)])
def test_a_scenario_that_expects_nothing_is_surprised_by_nothing(
    expectations: tuple[Expected, ...],
) -> None:
    summary = build.shop(unexpected=(build.finding(),), expectations=expectations)
    told = bool(expectations)
    assert ("found and not expected" in printed(summary)) is told
    assert ("<td>not expected<" in build.page(summary)) is told


def test_what_requests_wait_for_comes_before_the_paths_of_messages() -> None:
    summary = build.shop()
    root = summary.variants[0].entries[0].entry
    paths = (
        build.path("mail.placed", "mail.placed", 1.0),
        build.path(root, "stock.reserve", 0.4),
        build.path(root, "order.create", 0.6),
    )
    trials = (replace(summary.trials[0], critical_path=paths), *summary.trials[1:])
    text = build.marked_down(replace(summary, trials=trials))
    rows_told = re.findall(r"^\| (\S+) \| (order.create|stock.reserve|mail.placed) \|", text, re.M)
    assert rows_told[:3] == [
        (root, "order.create"),
        (root, "stock.reserve"),
        ("mail.placed", "mail.placed"),
    ]


@pytest.mark.parametrize(
    ("saving", "said"),
    [((12.0, 15.0), "saves 12.0–15.0 ms"), ((13.0, 13.0), "saves 13.0 ms"), ((0.0, 0.0), "")],
)
def test_what_a_refactor_saves_is_a_range_or_a_value_or_is_not_told(
    saving: tuple[float, float], said: str
) -> None:
    summary = build.shop(findings=(build.finding(saving_ms=saving),))
    texts = (printed(summary), build.marked_down(summary))
    for text in texts:
        assert said in text
        assert "up to" not in text
        assert said or "saves" not in text


def test_what_a_hedge_saves_is_of_the_slowest() -> None:
    hedged = build.finding(refactor={"op": "hedge", "edge": "a->b.c", "after": "5ms"})
    assert finding_view(hedged).saves == "saves 12.0–24.0 ms at P95"


def test_up_to_is_told_of_bounds_alone() -> None:
    bounded = finding_view(build.finding(saving_ms=(0.0, 24.0)), scenario=False)
    assert bounded.saves == "could save up to 24.0 ms"


def test_words_reserved_for_verdicts_do_not_appear(tmp_path: Path) -> None:
    summary = build.measured(build.shop(), tmp_path)
    for text in (printed(summary), build.marked_down(summary)):
        assert not re.search(r"\b(faster|slower|equivalent)\b", text)


def test_a_run_without_rounds_says_so_in_every_form() -> None:
    empty = build.summary([], [])
    assert "No round was measured" in printed(empty)
    assert "No round was measured" in build.page(empty)
    assert "No round was measured" in build.marked_down(empty)


def test_missing_files_leave_their_sections_saying_so() -> None:
    page = build.page(build.shop())
    assert "No samples were kept with this run." in page
    assert "<h4><span" in page


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    page = build.page(build.measured(build.shop(), tmp_path))
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page)
    assert not re.findall(r"@import|url\(\s*['\"]?http", page)


def test_cited_traces_link_to_where_they_are_kept() -> None:
    url = "http://pages.example/trace/t1"
    cited = Evidence("t1", ("s2",))
    for evidence, linked in ((cited, False), (replace(cited, url=url), True)):
        summary = build.shop(findings=(build.finding(evidence=(evidence,)),))
        assert (f'<a href="{url}">' in build.page(summary)) is linked
        assert (f"[t1]({url})" in build.marked_down(summary)) is linked
        assert (f"see {url}" in printed(summary)) is linked


def test_names_from_foreign_traces_cannot_break_the_page(tmp_path: Path) -> None:
    summary = build.measured(build.hostile(), tmp_path, said=build.NASTY)
    page = build.page(summary)
    assert "<img" not in page
    assert "<!--" not in page
    assert "<img" not in re.sub(r"`[^`]*`", "", build.marked_down(summary))


def test_drawings_hold_nothing_but_their_own_shapes() -> None:
    edges = edge_views([build.edge("a.b", "c.d", protocol=build.NASTY)], traced=1)
    bar = Bar("s1", build.NASTY, build.NASTY, 0, 10, 0, error=True)
    curve = Curve(build.NASTY, 2, (1.0,) * len(POINTS))
    for drawing in (
        topology_svg(edges),
        waterfall([bar, replace(bar, kind="client")], {"s1"}),
        *panels([curve], "baseline").values(),
    ):
        drawn = list(ElementTree.fromstring(drawing).iter())
        assert {of.tag for of in drawn} <= {
            *("svg", "path", "title", "text", "g", "rect", "polyline", "circle"),
            *("ul", "li", "span"),
        }
        said = " ".join(of.get("class", "") for of in drawn).split()
        assert set(said) <= {
            *("topology", "link", "label", "service", "waterfall", "grid", "tick"),
            *("name", "time", "bar", "client", "cited", "error", "ticks", "lane"),
            *("quantiles", "front"),
        }


def test_void_rounds_and_doubts_are_told() -> None:
    doubt = Raised(Code.STEAL, "steal 4 %", voids=True)
    trial = build.trial("baseline", 1, [], void=True, doubts=(doubt,))
    text = printed(build.summary([trial], [build.variant("baseline", 1.0, void_rounds=1)]))
    assert re.search(r"void +steal +steal 4 % +\(baseline round 1\)", text)
    assert "1 round a variant, void" in text


NEVER: dict[str, Any] = {
    "rounds": 0,
    "complete_traces": 0,
    "response_p50_ms": None,
    "calls_per_request": None,
}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (NEVER, "it has not run"),
        ({"void_rounds": 1}, "no round is valid"),
        ({"complete_traces": 0}, "no trace is complete"),
    ],
)
def test_what_was_not_measured_is_neither_repaired_nor_healthy(
    row: dict[str, Any], why: str
) -> None:
    shop = build.shop()
    baseline, batched = shop.variants
    repaired = replace(shop, variants=(baseline, replace(batched, **row)))
    healthy = replace(shop, variants=(replace(baseline, findings=(), **row), batched))
    for unmeasured in (repaired, healthy):
        for text in (
            printed(unmeasured),
            build.page(unmeasured),
            build.marked_down(unmeasured),
        ):
            assert f"not measured: {why}" in text.replace("Not measured", "not measured")
            assert "gone" not in re.sub("<style>.*?</style>", "", text, flags=re.DOTALL)
    assert "nothing was found" not in printed(healthy).partition("Findings in batched")[0]


def test_what_was_foretold_stands_beside_what_was_saved() -> None:
    shop = build.shop()
    said = "batched was promised to save 12.0–24.0 ms where its findings show; it saved 30.0 ms"
    assert said in " ".join(printed(shop).split())
    assert "| 12.0–24.0 ms | 30.0 ms |" in build.marked_down(shop)
    other = replace(shop.variants[1], refactors=({"op": "merge", "edge": "a->b.c"},))
    assert (
        "promised"
        not in printed(replace(shop, variants=(shop.variants[0], other))).partition("side by side")[
            2
        ]
    )


def test_every_figure_says_on_how_many_valid_rounds_it_rests() -> None:
    three = [
        build.trial(name, number, [], void=number > 2)
        for name in ("baseline", "batched")
        for number in (1, 2, 3)
    ]
    rows = [build.variant(name, 1.0, rounds=3, void_rounds=1) for name in ("baseline", "batched")]
    assert "3 rounds a variant, 1 of them void" in printed(build.summary(three, rows))
    uneven = [rows[0], replace(rows[1], void_rounds=2)]
    assert "1 to 2 valid rounds a variant" in printed(build.summary(three, uneven))


def test_a_pooled_p99_is_called_so_in_every_form() -> None:
    meaning = "ooled: of all valid rounds' requests together"
    for shown in (build.page, build.marked_down, printed):
        pooled = unescape(shown(build.shop(response_p99_pooled_ms=88.0)))
        assert "88.0 ms pooled" in pooled
        assert meaning in pooled
        assert meaning not in unescape(shown(build.shop()))


def test_an_operation_reached_twice_is_drawn_with_its_calls_once() -> None:
    edges = edge_views(
        [
            build.edge("a.x", "b.y"),
            build.edge("a.x", "c.z"),
            build.edge("c.z", "b.y"),
            build.edge("b.y", "d.w"),
        ],
        traced=1,
    )
    (root,) = call_tree(edges, {})
    b, c = root.children
    assert [child.service for child in b.children] == ["d"]
    assert c.children[0].repeated
    assert c.children[0].children == ()


def test_the_tree_counts_calls_for_each_time_that_the_caller_ran() -> None:
    """A quarter of the requests come in at a.x, which calls b.y twice and that c.z three times."""
    rows = [build.edge("a.x", "b.y", calls=0.5), build.edge("b.y", "c.z", calls=1.5)]
    (root,) = call_tree(edge_views(rows, traced=1), {"a.x": 0.25})
    (b,) = root.children
    (c,) = b.children
    assert [root.times, b.times, c.times] == [0.25, 2.0, 3.0]


def test_entries_are_shown_apart_where_there_are_several() -> None:
    shop = build.shop()
    page = EntryMedians("gateway.page", "http", 160, 8.0, 8.0, None, None)
    both = tuple(replace(v, entries=(*v.entries, page)) for v in shop.variants)
    shop = replace(shop, variants=both)
    assert re.search(r"gateway\.page +8\.00 ms", printed(shop, width=80))
    assert "gateway.page" not in printed(build.shop())


def test_an_entry_over_several_protocols_has_a_row_for_each() -> None:
    shop = build.shop()
    ways = tuple(
        EntryMedians("gateway.page", protocol, 80, p50, p50, None, None)
        for protocol, p50 in (("grpc", 7.0), ("http", 8.0))
    )
    text = printed(replace(shop, variants=tuple(replace(v, entries=ways) for v in shop.variants)))
    assert re.search(r"gateway\.page \(grpc\) +7\.00 ms", text)
    assert re.search(r"gateway\.page \(http\) +8\.00 ms", text)


def test_a_deep_chain_is_cut_not_recursed() -> None:
    edges = [build.edge(f"s{i}.op", f"s{i + 1}.op") for i in range(3000)]
    (root,) = call_tree(edge_views(edges, traced=1), {})
    depth = 0
    while root.children:
        (root,) = root.children
        depth += 1
    assert depth == 64


def test_columns_follow_the_longest_way_and_cycles_end() -> None:
    assert layers([("a", "b"), ("b", "c"), ("a", "c")]) == {"a": 0, "b": 1, "c": 2}
    assert set(layers([("a", "b"), ("b", "a")])) == {"a", "b"}


def test_no_edges_draw_nothing() -> None:
    assert topology_svg(()) == ""


def test_the_curve_ends_where_a_quantile_is_not_identifiable(tmp_path: Path) -> None:
    baseline = view(build.measured(build.shop(), tmp_path)).variants[0]
    drawn = curve("baseline", baseline.samples, "unsampled")
    assert drawn is not None
    assert drawn.requests == 200
    known = [q for q, ms in zip(POINTS, drawn.ms, strict=True) if ms is not None]
    assert max(known) <= 0.95
    assert sorted(ms for ms in drawn.ms if ms is not None) == [
        ms for ms in drawn.ms if ms is not None
    ]


def test_every_variant_has_a_panel_of_its_own_over_the_baseline() -> None:
    baseline, batched, grpc = (
        Curve(name, 10, (ms,) * len(POINTS))
        for name, ms in (("baseline", 30.0), ("batched", 20.0), ("grpc", 30.0))
    )
    drawn = panels([baseline, batched, grpc], "baseline")
    assert list(drawn) == ["batched", "grpc"]
    for svg in drawn.values():
        assert svg.count('class="behind"') == 1
        assert svg.count('<polyline class="front"') == 1
        assert re.findall(r">(\d+) ms</text>", svg) == ["0", "10", "20", "30"]


def test_a_baseline_alone_is_drawn_alone() -> None:
    (svg,) = panels([Curve("baseline", 10, (1.0,) * len(POINTS))], "baseline").values()
    assert "behind" not in svg


def test_a_curve_of_nothing_that_answered_draws_no_line() -> None:
    (svg,) = panels([Curve("baseline", 10, (None,) * len(POINTS))], "baseline").values()
    assert 'points=""' in svg


def test_a_waterfall_draws_children_below_parents_and_marks_what_is_cited(tmp_path: Path) -> None:
    baseline = view(build.measured(build.shop(), tmp_path)).variants[0]
    bars = read_trace(baseline.spans, "t1")
    assert [(bar.span, bar.depth, bar.error) for bar in bars] == [
        ("s1", 0, False),
        ("s2", 1, False),
        ("s3", 2, True),
    ]
    assert waterfall(bars, {"s2"}).count(" cited") == 1
    assert read_trace(baseline.spans, "absent") == ()
