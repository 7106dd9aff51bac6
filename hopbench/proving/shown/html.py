"""A proof for a browser: one file that opens offline, the ladder between the two topologies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

import jinja2
from markupsafe import Markup

from analysis.figures import plural
from analysis.report.calls import EdgeView
from analysis.report.html import style
from analysis.report.topology import topology_svg
from hopbench.proving.document import Proof
from hopbench.proving.shown import words
from hopbench.proving.shown.plot import ladder
from services.doubts import Code

_ROOM: Final = files("hopbench.proving.shown")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        each.__name__: each
        for each in (
            plural,
            words.at,
            words.facts,
            words.promised,
            words.saved,
            words.status,
            words.where,
        )
    }
    environment.globals["mend"] = lambda code: Code(code).mend.replace("`", "")
    return environment.from_string((_ROOM / "proof.html.j2").read_text(encoding="utf-8"))


def html(of: Proof, edges: Mapping[str, Sequence[EdgeView]]) -> str:
    """The whole page as text. ``edges``: before and after, by name; empty where not everything
    ran."""
    axis, rungs = ladder(of.steps)
    return _template().render(
        proof=of,
        axis=Markup(axis),
        rungs=[Markup(rung) for rung in rungs],
        topologies=[(name, Markup(topology_svg(of_arm))) for name, of_arm in edges.items()],
        style=style(),
    )
