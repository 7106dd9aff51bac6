"""The report for a browser: one file that opens offline, with everything inlined."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

from analysis import figures
from analysis.report import columns
from analysis.report.distribution import curve
from analysis.report.overtime import over_time
from analysis.report.panels import panels
from analysis.report.topology import topology_svg
from analysis.report.view import (
    LOWEST,
    FindingView,
    VariantView,
    View,
    errors,
    p99,
    slow_replica,
)
from analysis.report.waterfall import read_trace, waterfall

_ASSETS = files("analysis.report") / "assets"


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def style() -> Markup:
    """The style sheet of every page."""
    return Markup(_asset("report.css"))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    for name in ("ms", "size", "count", "share", "plural"):
        environment.filters[name] = getattr(figures, name)
    environment.filters["errors"] = errors
    environment.filters["p99"] = p99
    environment.filters["slow_replica"] = slow_replica
    return environment.from_string(_asset("report.html.j2"))


def _waterfall(variant: VariantView, finding: FindingView) -> Markup:
    for cited in finding.evidence:
        if bars := read_trace(variant.spans, cited.trace_id):
            return Markup(waterfall(bars, set(cited.span_ids)))
    return Markup("")


def html(of: View) -> str:
    """The whole page as text. What there is no file of leaves its section saying so."""
    drawn = (curve(v.name, v.samples, of.headline) for v in of.variants)
    curves = [one for one in drawn if one is not None]
    slowest = max((v.p50 for v in of.variants if v.p50 is not None), default=None)
    return _template().render(
        view=of,
        base=of.base,
        lowest=LOWEST,
        slowest=slowest,
        requests={one.variant: one.requests for one in curves},
        panels={
            name: Markup(svg)
            for name, svg in panels(curves, of.base.name if of.base else "").items()
        },
        findings=columns.finding_rows(of.variants),
        edges=columns.edge_rows(of.variants),
        paths=columns.path_rows(of.variants),
        expectations=columns.expectation_rows(of.variants),
        met=[e.met for v in of.variants for e in v.expectations],
        topologies={v.name: Markup(topology_svg(v.edges)) for v in of.variants},
        over_time={
            v.name: [(title, Markup(svg)) for title, svg in over_time(v.timeline)]
            for v in of.variants
        },
        waterfalls={
            (v.name, i): _waterfall(v, finding)
            for v in of.variants
            for i, finding in enumerate(v.findings)
        },
        style=style(),
    )
