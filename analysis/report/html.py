"""The report for a browser: one file that opens offline, with everything inlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import orjson
from markupsafe import Markup

from analysis.report import figures
from analysis.report.distribution import POINTS, Curve, curve
from analysis.report.topology import topology_svg
from analysis.report.view import FindingRow, VariantView, View, errors
from analysis.report.waterfall import read_trace, waterfall_svg

_ASSETS = files("analysis.report") / "assets"


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    for name in ("ms", "size", "count", "share", "plural"):
        environment.filters[name] = getattr(figures, name)
    environment.filters["errors"] = errors
    return environment.from_string(_asset("report.html.j2"))


def trial_files(run_dir: Path, variant: str, name: str) -> list[Path]:
    """The files called ``name`` of a variant's trials, in round order (``NN-<variant>/name``)."""
    found = []
    for directory in sorted((run_dir / "trials").glob(f"*-{variant}")):
        number, _, of = directory.name.partition("-")
        path = directory / name
        if of == variant and number.isdigit() and path.is_file():
            found.append(path)
    return found


def _waterfall(run_dir: Path, variant: VariantView, finding: FindingRow) -> Markup:
    for cited in finding.evidence:
        bars = read_trace(trial_files(run_dir, variant.name, "spans.parquet"), cited.trace_id)
        if bars:
            return Markup(waterfall_svg(bars, set(cited.span_ids)))
    return Markup("")


def _curves(of: View, run_dir: Path) -> list[Curve]:
    drawn = (
        curve(v.name, trial_files(run_dir, v.name, "samples.parquet"), of.headline)
        for v in of.variants
    )
    return [one for one in drawn if one is not None]


def _chart(curves: Sequence[Curve]) -> str:
    data = {
        "quantiles": POINTS,
        "curves": [{"variant": c.variant, "requests": c.requests, "ms": c.ms} for c in curves],
    }
    # No "<" at all: "<!--" and "<script" change how a browser reads on, as "</script" does.
    return orjson.dumps(data).decode().replace("<", "\\u003c")


def html(of: View, summary: Mapping[str, Any], run_dir: Path) -> str:
    """The whole page as text."""
    curves = _curves(of, run_dir)
    slowest = max((v.p50 for v in of.variants if v.p50 is not None), default=None)
    return _template().render(
        view=of,
        base=of.base,
        slowest=slowest,
        summary=summary,
        environment=_flat(summary.get("environment") or {}),
        chart=Markup(_chart(curves)),
        curves=curves,
        topologies={v.name: Markup(topology_svg(v.edges)) for v in of.variants},
        waterfalls={
            (v.name, i): _waterfall(run_dir, v, finding)
            for v in of.variants
            for i, finding in enumerate(v.findings)
        },
        script=Markup(_asset("uplot.min.js") + _asset("report.js")),
        style=Markup(_asset("uplot.min.css") + _asset("report.css")),
    )


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as dotted names, for a table."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            rows.extend(_flat(item, f"{name}."))
        elif isinstance(item, list):
            rows.append((name, ", ".join(str(one) for one in item)))
        else:
            rows.append((name, "" if item is None else str(item)))
    return rows
