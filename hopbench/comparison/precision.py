"""Whether the rounds of a plan can tell its primary metric at all. Asked before any load."""

from __future__ import annotations

import math

from hopbench.comparison.metrics import METRICS, known
from hopbench.results import latency
from hopbench.runs.plan import RunPlan
from services.errors import BadInput


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
    rate = load.pace.steady_rps
    if metric.percent is None or rate is None:
        return
    kind = latency.headline(settings.tracing, settings.trace_ratio)
    counted = 1 - settings.trace_ratio if kind == "unsampled" else 1.0
    weights = [entry.weight for entry in load.entries if entry.weight > 0]
    per_second = rate * counted * min(weights) / sum(weights)
    expected = per_second * load.duration_ns / 1e9
    # Arrivals scatter: with four standard deviations to spare, a round has hardly ever too few.
    needed = metric.needed + 4 * math.sqrt(metric.needed)
    if expected < metric.needed:
        shorter = [m.name for m in METRICS.values() if m.percent and m.needed <= expected]
        lower = f", or --metric {shorter[-1]}" if shorter else ""
        raise BadInput(
            f"--metric {metric.name}: a round has about {expected:.0f} requests of an entry that "
            f"count, and {metric.needed} identify it",
            hint=f"--duration {math.ceil(needed / per_second)}s{lower}",
        )
