"""Reports of more services than a person reads, or a page draws, at once."""

from __future__ import annotations

import re
from dataclasses import replace

from analysis.findings.finding import Where
from analysis.report.calls import edge_views
from analysis.report.terminal import FINDINGS, TREE_LINES
from analysis.report.topology import MOST_SERVICES, topology_svg
from analysis.rows.edges import EdgeRow
from hopbench.results.summary import Summary
from tests.report import build
from tests.report.build import printed


def tree(services: int) -> tuple[EdgeRow, ...]:
    """Service n calls 3n+1, 3n+2, 3n+3."""
    return tuple(build.edge(f"s{(n - 1) // 3}.get", f"s{n}.get") for n in range(1, services))


def of(services: int, findings: int = 0) -> Summary:
    found = [
        build.finding(fingerprint=f"f{n}", where=Where(caller="a", callee=f"s{n}"))
        for n in range(findings)
    ]
    trial = build.trial("baseline", 0, tree(services))
    return build.summary([trial], [build.variant("baseline", 60.0, found)])


def drawn(text: str) -> int:
    return len(re.findall(r"s\d+\.get  http", text))


def test_a_tree_that_fits_is_drawn_whole() -> None:
    text = printed(of(TREE_LINES))
    assert drawn(text) == TREE_LINES - 1
    assert "more call" not in text


def test_of_a_larger_tree_the_top_is_drawn_and_the_rest_is_counted() -> None:
    text = printed(of(1000))
    assert drawn(text) == TREE_LINES - 1
    left = sum(int(number) for number in re.findall(r"… and (\d+) more calls?", text))
    assert drawn(text) + left == 999


def test_the_cheapest_of_many_findings_are_left_to_the_report() -> None:
    assert "cheaper" not in printed(of(5, findings=FINDINGS))
    assert "… and 3 cheaper ones in the report" in printed(of(5, findings=FINDINGS + 3))


def test_a_drawing_holds_so_many_services_and_counts_the_others() -> None:
    def services(svg: str) -> int:
        return svg.count('<g class="service">')

    whole = topology_svg(edge_views(tree(MOST_SERVICES), traced=1))
    assert services(whole) == MOST_SERVICES
    assert "more services" not in whole
    part = topology_svg(edge_views(tree(1000), traced=1))
    assert services(part) == MOST_SERVICES
    assert f"and {1000 - MOST_SERVICES} more services" in part


def test_packed_services_are_told_with_what_they_took() -> None:
    summary = of(5)
    assert "packed" not in printed(summary)
    trial = replace(summary.trials[0], start_s=2.5, memory_mb=463.2)
    summary = replace(summary, processes=4, trials=(trial,))
    text = " ".join(printed(summary).split())
    assert "packed services in 4 processes, ready in 2.5 s, resident 463 MB" in text
