"""What a Jaeger keeps, and whether a run fits in: asked before anything starts.

Jaeger's memory storage holds the latest traces, a fixed number of them however large, and has no
bound on memory of its own. Figures are of Jaeger 2.13, all in one, with this project's spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hopbench.engines.port import Settings
from hopbench.runs.estimate import Estimate
from services.errors import BadInput

MAX_TRACES_VARIABLE: Final = "HOPBENCH_JAEGER_MAX_TRACES"
MEMORY_VARIABLE: Final = "HOPBENCH_JAEGER_MEMORY_MB"
MAX_TRACES: Final = 100_000
"""``max_traces`` of its memory storage where nobody sets it otherwise."""
SPAN_BYTES: Final = 2_500
"""Resident memory: 1,700 bytes a span while it takes spans in, and half as much again while a run's
are read back, which doubles what Go's collector has to clean up."""
BASE_MB: Final = 100
_LESS: Final = "fewer --rounds or variants, a lower --trace-ratio, a lower --rate"


def check(cost: Estimate, settings: Settings, environment: Mapping[str, str]) -> None:
    """Raises BadInput where the traces of a run would push each other out of its Jaeger, or Jaeger
    out of its memory, as far as ``environment`` says how much of both it has."""
    if settings.jaeger is None:
        return
    most = _number(environment, MAX_TRACES_VARIABLE) or MAX_TRACES
    if cost.traces > most:
        raise BadInput(
            f"this run makes about {cost.traces:,} traces, and Jaeger keeps {most:,}: the first "
            "ones would be gone before the last ones are there",
            hint=f"{_LESS}; or raise max_traces of Jaeger's memory storage, and say so in "
            f"{MAX_TRACES_VARIABLE}",
        )
    memory_mb = _number(environment, MEMORY_VARIABLE)
    if memory_mb is None or cost.spans is None:
        return
    needed_mb = BASE_MB + cost.spans * SPAN_BYTES / 1e6
    if needed_mb > memory_mb:
        raise BadInput(
            f"the {cost.spans:,} spans of this run take about {needed_mb:,.0f} MB in Jaeger, and "
            f"it has {memory_mb:,}",
            hint=f"{_LESS}; or give Jaeger more memory, and say so in {MEMORY_VARIABLE}",
        )


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise BadInput(f"{name} in the environment: {text!r} is no whole number above 0")
    return int(text)
