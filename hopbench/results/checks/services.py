"""The services: event loops that stood still, waits that lie, requests that failed."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

from analysis.arrays.quantiles import NS_PER_MS
from hopbench.results.checks.observed import Observed
from hopbench.runs.limits import Limits
from services.doubts import Code, Doubt
from services.scenario.pace import Open


def processes(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """Blocked event loops and simulated waits that lie, the worst process named."""
    if o.clock == "virtual" or o.evidence is None or not o.evidence.processes:
        return
    # A replica that the scenario pauses was blocked as it was meant to be.
    unpaused = [p for p in o.evidence.processes if p.service not in o.paused]
    worst = max(unpaused, key=lambda p: p.loop_lag_ns.max or 0, default=None)
    late = 0.0 if worst is None else (worst.loop_lag_ns.max or 0) / NS_PER_MS
    if worst is not None and late > limits.loop_lag_ms:
        yield Doubt(
            Code.LOOP_BLOCKED,
            f"the event loop of {worst.service}/{worst.replica} was blocked for {late:.0f} ms",
        )
    for code, what, biases in (
        (Code.SLEEP_BIAS, "simulated waits", [p.sleep_bias_ns for p in o.evidence.processes]),
        (Code.CPU_BIAS, "simulated work", [p.cpu_bias_ns for p in o.evidence.processes]),
    ):
        middles = [(bias.p50 or 0) / NS_PER_MS for bias in biases]
        bias, process = max(zip(middles, o.evidence.processes, strict=True), key=itemgetter(0))
        if bias > limits.sleep_bias_ms:
            yield Doubt(
                code,
                f"{what} in {process.service}/{process.replica} took {bias:.2f} ms longer "
                "than asked (P50)",
            )


def overload(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.overloads:
        at = ""
        if isinstance(o.load.pace, Open) and o.load.pace.ramp:
            at = f" (at the highest rate, {o.load.pace.peak_rps:g}/s)"
        yield Doubt(Code.OVERLOAD, "; ".join(o.overloads) + at)


def failures(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.failed and not o.failures_planned:
        why = "; ".join(o.strained) or "nothing in the scenario makes them"
        if o.overloads:
            why = "the scenario asks for more than there is"
        yield Doubt(Code.FAILURES, f"{o.failed} requests failed, and {why}")
