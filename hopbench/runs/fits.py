"""Whether a run fits into what it would run on: this machine's memory, and a Jaeger. Asked before
anything starts.

Jaeger's memory storage holds the latest traces, a fixed number of them however large, and has no
bound on memory of its own. Figures are of Jaeger 2.13, all in one, with this project's spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hopbench.runs.estimate import Estimate
from services.errors import BadInput

SPARE_MB: Final = 500
"""For everything else that runs here; below it Linux begins to throw pages out."""
MAX_TRACES_VARIABLE: Final = "HOPBENCH_JAEGER_MAX_TRACES"
MEMORY_VARIABLE: Final = "HOPBENCH_JAEGER_MEMORY_MB"
MAX_TRACES: Final = 100_000
"""``max_traces`` of its memory storage where nobody sets it otherwise."""
SPAN_BYTES: Final = 2_500
"""Resident memory: 1,700 bytes a span while it takes spans in, and half as much again while a run's
are read back, which doubles what Go's collector has to clean up."""
BASE_MB: Final = 100
_LESS: Final = "fewer --rounds or variants, a lower --trace-ratio, a lower --rate"


def jaeger_mb(spans: int) -> float:
    """What Jaeger takes with so many of them."""
    return BASE_MB + spans * SPAN_BYTES / 1e6


def memory(needed_mb: float, where: str, available_mb: float) -> None:
    """Raises BadInput where ``needed_mb``, taken ``where``, do not fit into ``available_mb``."""
    if needed_mb + SPARE_MB <= available_mb:
        return
    raise BadInput(
        f"this run needs about {needed_mb:,.0f} MB of memory {where}, "
        f"and {max(0.0, available_mb - SPARE_MB):,.0f} MB are free",
        hint="fewer replicas, `processes: N` in the scenario, a lower --rate or --trace-ratio, "
        "or --engine virtual",
    )


def jaeger(cost: Estimate, environment: Mapping[str, str]) -> None:
    """Raises BadInput where the traces of a run would push each other out of its Jaeger, or Jaeger
    out of its memory, as far as ``environment`` says how much of both it has."""
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
    needed_mb = jaeger_mb(cost.spans)
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
