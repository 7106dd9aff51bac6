from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from analysis.report import terminal, write
from analysis.report.calls import call_tree, edge_rows
from analysis.report.distribution import POINTS, curve
from analysis.report.topology import layers, topology_svg
from analysis.report.waterfall import read_trace, waterfall_svg
from tests.report import build


def printed(summary: dict[str, Any], width: int = 120) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        console.print(terminal(summary))
        return console.export_text()


def test_the_terminal_shows_tree_findings_advice_and_variants() -> None:
    text = printed(build.shop())
    assert re.search(r"gateway\.buy *\n.*└── order\.create  http  1×", text)
    assert re.search(r"    └── inventory\.reserve  http  7×", text)
    assert "try {op: batch, edge: order->inventory.reserve, size: 7}" in text
    assert re.search(r"batched +30\.0 ms +×0\.500", text)
    assert "failed" not in text
    assert "1 round a variant" in text


def test_the_variants_fit_a_narrow_terminal() -> None:
    text = printed(build.shop(), width=80)
    assert "…" not in text


def test_findings_and_doubts_keep_their_indentation_where_they_wrap() -> None:
    finding = build.finding(text="One word after another, until the line has to end. " * 3)
    doubt = {"code": "short_round", "text": "seconds " * 30, "voids": False}
    summary = build.shop()
    summary["variants"][0]["findings"] = [finding]
    summary["doubts"] = [doubt]
    lines = printed(summary, width=80).splitlines()
    said = [line for line in lines if "word after" in line or line.strip().startswith("until")]
    assert {len(line) - len(line.lstrip()) for line in said} == {4}
    seconds = [line.index("seconds") for line in lines if "seconds" in line]
    assert len(seconds) > 1
    assert len(set(seconds)) == 1


def test_a_scenario_that_expects_nothing_is_surprised_by_nothing(tmp_path: Path) -> None:
    summary = build.shop()
    summary["variants"][0]["unexpected"] = [build.finding()]
    for expectations, told in (([], False), ([{"kind": "chain", "where": {}, "met": True}], True)):
        summary["variants"][0]["expectations"] = expectations
        assert ("found and not expected" in printed(summary)) is told
        assert ("not expected:" in write(summary, tmp_path).read_text()) is told


def test_what_requests_wait_for_comes_before_the_paths_of_messages(tmp_path: Path) -> None:
    summary = build.shop()
    entry = summary["trials"][0]["critical_path"][0]
    root = summary["variants"][0]["entries"][0]["entry"]
    rows = [
        {**entry, "root": "mail.placed", "service": "mail", "operation": "placed", "share": 1.0},
        {**entry, "root": root, "service": "stock", "operation": "reserve", "share": 0.4},
        {**entry, "root": root, "service": "order", "operation": "create", "share": 0.6},
    ]
    summary["trials"][0]["critical_path"] = rows
    write(summary, tmp_path)
    text = (tmp_path / "report.md").read_text()
    rows_told = re.findall(r"^\| (\S+) \| (order.create|stock.reserve|mail.placed) \|", text, re.M)
    assert rows_told[:3] == [
        (root, "order.create"),
        (root, "stock.reserve"),
        ("mail.placed", "mail.placed"),
    ]


def test_a_saving_that_may_be_none_is_told_as_at_most() -> None:
    summary = build.shop()
    summary["variants"][0]["findings"] = [build.finding(saving_ms=[0.0, 24.0])]
    assert "could save up to 24.0 ms" in printed(summary)


def test_words_reserved_for_verdicts_do_not_appear(tmp_path: Path) -> None:
    run = build.run_directory(tmp_path)
    write(build.shop(), run)
    for text in (printed(build.shop()), (run / "report.md").read_text()):
        assert not re.search(r"\b(faster|slower|equivalent)\b", text)


def test_a_run_without_rounds_says_so_in_every_form(tmp_path: Path) -> None:
    empty = build.summary([], [])
    assert "No round was measured" in printed(empty)
    assert "No round was measured" in write(empty, tmp_path).read_text()
    assert "No round was measured" in (tmp_path / "report.md").read_text()


def test_missing_files_leave_their_sections_saying_so(tmp_path: Path) -> None:
    page = write(build.shop(), tmp_path).read_text()
    assert "No samples were kept with this run." in page
    assert "<h4><span" in page


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    page = write(build.shop(), build.run_directory(tmp_path)).read_text()
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page)
    assert not re.findall(r"@import|url\(\s*['\"]?http", page)


def test_cited_traces_link_to_where_they_are_kept(tmp_path: Path) -> None:
    summary = build.shop()
    url = "http://pages.example/trace/t1"
    cited = {"trace_id": "t1", "span_ids": ["s2"]}
    for evidence, linked in (([cited], False), ([{**cited, "url": url}], True)):
        summary["variants"][0]["findings"] = [build.finding(evidence=evidence)]
        assert (f'<a href="{url}">' in write(summary, tmp_path).read_text()) is linked
        assert (f"[t1]({url})" in (tmp_path / "report.md").read_text()) is linked
        assert (f"see {url}" in printed(summary)) is linked


NASTY = """x"><img src=x onerror="ran = 1"> `<!--<script></script><b>"""


def hostile(at: Path) -> tuple[dict[str, Any], Path]:
    """A run whose traces say :data:`NASTY` wherever they can."""
    where = dict.fromkeys(("caller", "caller_operation", "callee", "operation"), NASTY)
    edge = build.edge(f"{NASTY}.{NASTY}", f"{NASTY}.{NASTY}", protocol=NASTY)
    path = {"root": NASTY, "service": NASTY, "operation": NASTY, "share": 0.4}
    trial = build.trial(
        "baseline",
        0,
        [build.edge("gateway.buy", f"{NASTY}.{NASTY}", protocol=NASTY), edge],
        doubts=[{"code": "steal", "text": NASTY, "voids": True}],
        critical_path=[{**path, "self_ms": build.quantiles(4.0)}],
    )
    finding = build.finding(text=NASTY, where=where, refactor={"op": "batch", "edge": NASTY})
    variant = build.variant("baseline", 1.0, [finding], minor=[finding], unexpected=[finding])
    variant["expectations"] = [{"kind": "chain", "where": {"caller": NASTY}, "met": False}]
    return build.summary([trial], [variant], scenario=NASTY), build.run_directory(at, said=NASTY)


def test_names_from_foreign_traces_cannot_break_the_page(tmp_path: Path) -> None:
    page = write(*hostile(tmp_path)).read_text()
    assert "<img" not in page
    assert "<!--" not in page
    markdown = (tmp_path / "report.md").read_text()
    assert "<img" not in re.sub(r"`[^`]*`", "", markdown)


def test_drawings_hold_nothing_but_their_own_shapes(tmp_path: Path) -> None:
    _, run = hostile(tmp_path)
    edges = edge_rows([build.trial("baseline", 0, [build.edge("a.b", "c.d", protocol=NASTY)])])
    bars = read_trace([run / "trials/00-baseline/spans.parquet"], "t1")
    for svg in (topology_svg(edges), waterfall_svg(bars, {"s2"})):
        drawn = list(ElementTree.fromstring(svg).iter())
        assert {of.tag for of in drawn} <= {"svg", "path", "title", "text", "g", "rect", "line"}
        said = " ".join(of.get("class", "") for of in drawn).split()
        assert set(said) <= {
            *("topology", "link", "label", "service", "waterfall", "grid", "tick"),
            *("name", "time", "bar", "client", "server", "cited", "error"),
        }


def test_void_rounds_and_doubts_are_told() -> None:
    doubt = {"code": "steal", "text": "steal 4 %", "voids": True}
    trial = build.trial("baseline", 0, [], void=True, doubts=[doubt])
    text = printed(build.summary([trial], [build.variant("baseline", 1.0, [], void_rounds=1)]))
    assert re.search(r"void +steal +steal 4 % +\(baseline round 1\)", text)
    assert "1 round a variant, void" in text


def test_an_operation_reached_twice_is_drawn_with_its_calls_once() -> None:
    edges = edge_rows(
        [
            build.trial(
                "baseline",
                0,
                [
                    build.edge("a.x", "b.y"),
                    build.edge("a.x", "c.z"),
                    build.edge("c.z", "b.y"),
                    build.edge("b.y", "d.w"),
                ],
            )
        ]
    )
    (root,) = call_tree(edges, {})
    b, c = root.children
    assert [child.service for child in b.children] == ["d"]
    assert c.children[0].repeated
    assert c.children[0].children == ()


def test_the_tree_counts_calls_for_each_time_that_the_caller_ran() -> None:
    """A quarter of the requests come in at a.x, which calls b.y twice and that c.z three times."""
    rows = [build.edge("a.x", "b.y", calls=0.5), build.edge("b.y", "c.z", calls=1.5)]
    (root,) = call_tree(edge_rows([build.trial("baseline", 0, rows)]), {"a.x": 0.25})
    (b,) = root.children
    (c,) = b.children
    assert [root.times, b.times, c.times] == [0.25, 2.0, 3.0]


def test_entries_are_shown_apart_where_there_are_several() -> None:
    shop = build.shop()
    for of in shop["variants"]:
        page = {**of["entries"][0], "entry": "gateway.page", "response_p50_ms": 8.0}
        of["entries"].append(page)
    assert re.search(r"gateway\.page +8\.00 ms", printed(shop, width=80))
    assert "gateway.page" not in printed(build.shop())


def test_a_deep_chain_is_cut_not_recursed() -> None:
    edges = [build.edge(f"s{i}.op", f"s{i + 1}.op") for i in range(3000)]
    (root,) = call_tree(edge_rows([build.trial("baseline", 0, edges)]), {})
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
    run = build.run_directory(tmp_path)
    drawn = curve("baseline", [run / "trials/00-baseline/samples.parquet"], "unsampled")
    assert drawn is not None
    assert drawn.requests == 200
    known = [q for q, ms in zip(POINTS, drawn.ms, strict=True) if ms is not None]
    assert max(known) <= 0.95
    assert sorted(ms for ms in drawn.ms if ms is not None) == [
        ms for ms in drawn.ms if ms is not None
    ]


def test_a_waterfall_draws_children_below_parents_and_marks_what_is_cited(tmp_path: Path) -> None:
    run = build.run_directory(tmp_path)
    bars = read_trace([run / "trials/00-baseline/spans.parquet"], "t1")
    assert [(bar.span, bar.depth, bar.error) for bar in bars] == [
        ("s1", 0, False),
        ("s2", 1, False),
        ("s3", 2, True),
    ]
    svg = waterfall_svg(bars, {"s2"})
    assert svg.count(" cited") == 1
    assert read_trace([run / "trials/00-baseline/spans.parquet"], "absent") == ()


@dataclass
class Seen:
    """What a browser meets on a page."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def browsed(file: Path) -> Iterator[Seen]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(
        (p for p in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(p).exists()), None
    )
    if chromium is None:
        pytest.skip("no system Chromium: install the package `chromium`")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        seen = Seen(browser.new_page())
        seen.page.on("pageerror", lambda error: seen.problems.append(str(error)))
        seen.page.on(
            "console", lambda m: seen.problems.append(m.text) if m.type == "error" else None
        )
        seen.page.on("request", lambda r: seen.requests.append(r.url))
        seen.page.goto(file.as_uri())
        seen.page.wait_for_selector("#chart canvas")
        yield seen
        browser.close()


@pytest.mark.browser
def test_a_browser_opens_the_page_offline_and_draws_it(tmp_path: Path) -> None:
    with browsed(write(build.shop(), build.run_directory(tmp_path))) as seen:
        assert seen.page.locator("svg.topology g.service").count() == 5
        assert seen.page.locator("svg.waterfall rect.cited").count() == 1
        assert seen.page.locator("#variants tbody tr").count() == 2
        assert seen.page.locator(".u-legend tr").count() == 3
    assert seen.problems == []
    assert [url for url in seen.requests if not url.startswith("file:")] == []


@pytest.mark.browser
def test_what_traces_say_is_shown_and_never_run(tmp_path: Path) -> None:
    with browsed(write(*hostile(tmp_path))) as seen:
        assert seen.page.evaluate("window.ran") is None
        assert seen.page.locator("img").count() == 0
        assert seen.page.locator("svg.topology g.service text").all_text_contents() == [
            "gateway",
            NASTY,
        ]
    assert seen.problems == []
