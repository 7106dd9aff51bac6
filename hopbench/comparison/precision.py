"""Whether the rounds of a plan can tell its primary metric at all. Asked before any load."""

from __future__ import annotations

import math
from typing import Final

from hopbench.comparison.metrics import METRICS, known
from hopbench.results import latency
from hopbench.runs.plan import RunPlan
from services.errors import BadInput
from services.scenario.pace import Closed

_RISK: Final = 0.01
"""That a comparison has a round with too few requests after all."""


def check_identifiable(planned: RunPlan) -> None:
    """Raises BadInput for a primary metric that does not exist, or that rounds so short have too
    few requests for: with what would do."""
    assert planned.design is not None
    metric = known(planned.design.metric)
    load, settings = planned.scenario.load, planned.settings
    if metric.more_is_better and load.pace.model != "closed":
        raise BadInput(
            f"--metric {metric.name}: the rate of this load is given, not found",
            hint="an open load is compared by its response times",
        )
    if planned.design.until is not None and not metric.by_entry:
        raise BadInput(
            f"--until: looks at response times, not at {metric.text}",
            hint=f"--metric {metric.name} --pairs 20",
        )
    if not metric.by_entry or isinstance(load.pace, Closed):
        return
    kind = latency.headline(settings.tracing, settings.trace_ratio)
    counted = 1 - settings.trace_ratio if kind == "unsampled" else 1.0
    weights = [entry.weight for entry in load.entries if entry.weight > 0]
    due = max(1.0, load.pace.measured(load.warmup_ns, load.duration_ns))
    expected = due * counted * min(weights) / sum(weights)
    per_second = expected / (load.duration_ns / 1e9)
    blocks = planned.design.blocks
    if _identified(metric.needed, expected, blocks):
        return
    others = [m for m in METRICS.values() if m.percent and m.needed < metric.needed]
    lower = [m.name for m in others if _identified(m.needed, expected, blocks)]
    enough = expected
    while not _identified(metric.needed, enough, blocks):
        enough *= 1.01
    instead = f", or --metric {lower[-1]}" if lower else ""
    raise BadInput(
        f"--metric {metric.name}: every round needs {metric.needed} requests of each entry that "
        f"count, and {expected:.0f} on average do not make sure of that",
        hint=f"--duration {math.ceil(enough / per_second)}s{instead}",
    )


def _identified(needed: int, expected: float, blocks: int) -> bool:
    """Whether every block is all but sure to have so many: its rounds share their arrivals, which
    scatter as Poisson's do, or less."""
    log_terms = (n * math.log(expected) - expected - math.lgamma(n + 1) for n in range(needed))
    return blocks * sum(map(math.exp, log_terms)) <= _RISK
