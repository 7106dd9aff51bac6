"""The page as a browser shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hopbench import cli
from hopbench.results.summary import Summary
from tests.report import build


@dataclass
class Seen:
    """What a browser meets on a page."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def browsed(summary: Summary, at: Path) -> AbstractContextManager[Seen]:
    return opened(build.page(summary), at, "#environment")


@contextmanager
def opened(text: str, at: Path, last: str) -> Iterator[Seen]:
    """``last`` is on the page, at its end."""
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
        (at / "report.html").write_text(text, encoding="utf-8")
        seen.page.goto((at / "report.html").as_uri())
        seen.page.wait_for_selector(last)
        yield seen
        browser.close()


@pytest.mark.browser
def test_a_browser_opens_the_page_offline_and_draws_it(tmp_path: Path) -> None:
    with browsed(build.measured(build.shop(), tmp_path), tmp_path) as seen:
        assert seen.page.locator("svg.topology g.service").count() == 5
        assert seen.page.locator(".waterfall .cited").count() == 1
        assert seen.page.locator("#variants tbody tr").count() == 2
        assert seen.page.locator("#latency svg.quantiles").count() == 1
    assert seen.problems == []
    assert [url for url in seen.requests if not url.startswith("file:")] == []


@pytest.mark.browser
def test_what_traces_say_is_shown_and_never_run(tmp_path: Path) -> None:
    with browsed(build.measured(build.hostile(), tmp_path, said=build.NASTY), tmp_path) as seen:
        assert seen.page.evaluate("window.ran") is None
        assert seen.page.locator("img").count() == 0
        assert seen.page.locator("svg.topology g.service text").all_text_contents() == [
            "gateway",
            build.NASTY,
        ]
    assert seen.problems == []


WIDE, NARROW = 1400, 420


def many() -> Summary:
    """Six variants: more columns than a narrow page has room for."""
    shop = build.shop()
    names = ["baseline", *(f"variant-{k}" for k in range(5))]
    trials = tuple(replace(shop.trials[0], variant=name, round=k) for k, name in enumerate(names))
    return replace(
        shop, trials=trials, variants=tuple(replace(shop.variants[0], name=name) for name in names)
    )


@pytest.mark.browser
def test_a_narrow_page_scrolls_in_no_direction_but_down(tmp_path: Path) -> None:
    with browsed(build.measured(many(), tmp_path), tmp_path) as seen:
        seen.page.set_viewport_size({"width": NARROW, "height": 900})
        assert seen.page.evaluate("document.documentElement.scrollWidth") == NARROW


@pytest.mark.browser
def test_bars_stay_on_a_narrow_screen(tmp_path: Path) -> None:
    with browsed(build.measured(many(), tmp_path), tmp_path) as seen:
        seen.page.set_viewport_size({"width": NARROW, "height": 900})
        bars = seen.page.locator("#variants .share, .waterfall .bar")
        boxes = [box for box in (bar.bounding_box() for bar in bars.all()) if box is not None]
        assert len(boxes) > 6
        assert all(0 <= box["x"] <= box["x"] + box["width"] <= NARROW for box in boxes)


@pytest.mark.browser
def test_a_table_says_that_it_scrolls_where_it_does(tmp_path: Path) -> None:
    hint = "getComputedStyle(document.querySelector('#edges .scroll'), '::before').fontSize"
    with browsed(build.measured(many(), tmp_path), tmp_path) as seen:
        for width, size in ((WIDE, "0px"), (NARROW, "12px")):
            seen.page.set_viewport_size({"width": width, "height": 900})
            seen.page.wait_for_function(f"{hint} === '{size}'")


@pytest.mark.browser
def test_what_a_row_is_stays_in_sight_while_its_table_scrolls(tmp_path: Path) -> None:
    with browsed(build.measured(many(), tmp_path), tmp_path) as seen:
        seen.page.set_viewport_size({"width": NARROW, "height": 900})
        name = seen.page.locator("#edges tbody td").first
        before = name.bounding_box()
        seen.page.evaluate("document.querySelector('#edges .scroll').scrollLeft = 300")
        assert name.bounding_box() == before


SEVERAL = """
version: 1
name: several
services:
  a:
    operations:
      go: [{call: b.one, count: 6, id: one}]
      read-everything-that-there-is: [sleep: 2ms]
  b: {operations: {one: [sleep: {exponential: 1ms}]}}
load: {rate: 90/s, duration: 1s, entries: [a.go, a.read-everything-that-there-is]}
variants:
  batched: {refactors: [{op: batch, edge: a->b.one, size: 6}]}
"""


@pytest.mark.browser
def test_a_verdict_is_drawn_offline_and_fits_its_screen(tmp_path: Path) -> None:
    (tmp_path / "several.yaml").write_text(SEVERAL)
    words = ("compare", tmp_path / "several.yaml", "--engine", "virtual", "--pairs", 8)
    cli.invoke([*map(str, words), "--quiet", "--out", str(tmp_path / "run")])
    text = (tmp_path / "run" / "report.html").read_text()
    with opened(text, tmp_path, "#doubts") as seen:
        page = seen.page
        assert page.locator("#lead .sentence.faster").count() == 1
        rows = page.locator("#arm-2 tbody tr:has(svg.forest)").count()
        assert page.locator("svg.forest circle.estimate").count() == rows > 6
        assert page.locator("svg.forest circle.pair").count() == 8
        for width in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
    assert seen.problems == []
    assert [url for url in seen.requests if not url.startswith("file:")] == []
