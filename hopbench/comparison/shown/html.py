"""A verdict for a browser: one file that opens offline, the sentence first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Final

import jinja2
from markupsafe import Markup

from analysis.figures import least, plural
from analysis.report.html import style
from hopbench.comparison.document import Document, Verdict, comparisons, doubts
from hopbench.comparison.sentence import calls, change, changed, ends, named, word
from hopbench.comparison.shown import plots, words
from services.doubts import Code

_ROOM: Final = files("hopbench.comparison.shown")


@dataclass(frozen=True, slots=True)
class _Drawn:
    of: Verdict
    axis: Markup
    forest: Sequence[Markup]
    quantiles: Sequence[tuple[str, Markup]]
    widest_ms: float
    """The largest change of a part, for the bars."""


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        each.__name__: each
        for each in (
            calls,
            change,
            changed,
            ends,
            least,
            named,
            plural,
            word,
            words.as_sentence,
            words.change_text,
            words.facts,
            words.figure,
            words.null_line,
            words.observer_line,
            words.open_line,
            words.p_text,
            words.percent,
            words.title,
            words.value,
            words.why_line,
        )
    }
    environment.tests["changed"] = words.has_changed
    environment.globals["mend"] = lambda code: Code(code).mend.replace("`", "")
    return environment.from_string((_ROOM / "verdict.html.j2").read_text(encoding="utf-8"))


def html(document: Document, rounds: Sequence[str]) -> str:
    """The whole page as text. ``rounds`` are the pages that show the rounds by themselves."""
    found = comparisons(document)
    return _template().render(
        found=found,
        drawn=[_drawn(each) for each in found],
        open=any(None in row.interval_adjusted for each in found for row in each.metrics),
        doubts=doubts(found),
        rounds=rounds,
        flips=words.flips_line(document),
        style=style(),
    )


def _drawn(of: Verdict) -> _Drawn:
    axis, rows = plots.forest(of.metrics, of.delta)
    by_entry = groupby(of.ratio_function, key=lambda point: point.entry)
    return _Drawn(
        of,
        Markup(axis),
        [Markup(row) for row in rows],
        [(entry, Markup(plots.quantiles(list(points), of.delta))) for entry, points in by_entry],
        max((abs(row.b_ms - row.a_ms) for row in of.why), default=0.0),
    )
