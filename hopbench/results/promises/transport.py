"""What hops take of the transport in a simulation: what they took in the run."""

from __future__ import annotations

from typing import Final

import numpy as np

from analysis.arrays.quantiles import rank
from analysis.findings.observed import Observed
from hopbench.engines import is_virtual
from hopbench.results.promises.requests import Numbers
from hopbench.runs.plan import RunPlan
from services.transports.memory import HopLatency, Latency, no_latency
from services.wire.ports import Wire

_SPREAD: Final = (25, 75)
"""Percentiles of the transport time: half of all hops take one between."""


def transport(seen: Observed, plan: RunPlan) -> tuple[Latency, ...]:
    """What hops took of the transport, half of it each way: at P25 and at P75 of what the traces
    show of each edge, or else of its protocol, or else of all. In virtual time it takes none."""
    if is_virtual(plan.settings):
        return (no_latency,)
    hops = seen.hops
    taxed = np.flatnonzero(hops.tax >= 0)
    taxed = taxed[np.argsort(hops.place[taxed], kind="stable")]
    begins = np.searchsorted(hops.place[taxed], np.arange(len(hops.places) + 1))
    taxes: dict[tuple[str, ...], list[Numbers]] = {}
    for number, at in enumerate(hops.places):
        if at.protocol is None:
            continue
        of = hops.tax[taxed[begins[number] : begins[number + 1]]]
        for key in ((at.callee, at.operation, at.protocol), (at.protocol,), ()):
            taxes.setdefault(key, []).append(of)
    joined = {key: all_ for key, of in taxes.items() if len(all_ := np.concatenate(of))}

    def latency(percentile: int) -> Latency:
        each_way = {key: HopLatency(_quantile(of, percentile) // 2) for key, of in joined.items()}

        def of_wire(wire: Wire) -> HopLatency | None:
            keys = ((wire.callee, wire.operation, wire.protocol), (wire.protocol,), ())
            return next((each_way[key] for key in keys if key in each_way), None)

        return of_wire

    return tuple(latency(percentile) for percentile in _SPREAD)


def _quantile(values: Numbers, percentile: int) -> int:
    return int(np.sort(values)[rank(percentile, len(values))])
