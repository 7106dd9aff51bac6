"""Spans and metrics, held against the scenario and against the samples."""

from __future__ import annotations

from collections.abc import Iterator

from hopbench.results.checks.observed import Observed
from hopbench.runs.limits import Limits
from services.doubts import Code, Doubt


def spans(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if not o.settings.tracing:
        yield Doubt(Code.TRACING_OFF, "tracing is off: edges, paths and findings are unknown")
        return
    if o.spans_expected is not None and o.spans_received is not None:
        lost = o.spans_expected - o.spans_received
        if lost > limits.spans_lost_share * o.spans_expected:
            yield Doubt(
                Code.SPANS_LOST, f"{lost} of {o.spans_expected} spans that ended did not arrive"
            )
        elif lost < 0:
            yield Doubt(
                Code.SPANS_MISMATCH,
                f"{o.spans_received} spans arrived, {o.spans_expected} ended",
            )
    if o.spans_by_scenario is None:
        if o.replay_refused is not None:
            yield Doubt(Code.REPLAY, o.replay_refused)
    elif o.spans_received is not None and o.spans_received != o.spans_by_scenario:
        yield Doubt(
            Code.SPANS_MISMATCH,
            f"{o.spans_received} spans arrived, the scenario implies {o.spans_by_scenario}",
        )


def control(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """The tax of tracing is sampled against unsampled requests: both must be there."""
    if o.settings.tracing and o.settings.trace_ratio in (0.0, 1.0):
        which = "every" if o.settings.trace_ratio else "no"
        yield Doubt(Code.NO_CONTROL, f"{which} request is sampled: direct_tax_ms is unknown")


def traces(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if not o.settings.tracing:
        return
    if o.requests_complete < o.requests_sampled:
        yield Doubt(
            Code.INCOMPLETE_TRACES,
            f"{o.requests_sampled - o.requests_complete} of {o.requests_sampled} sampled requests "
            "have no complete trace and are left out of edges, paths and findings",
        )
    if o.requests_complete < limits.complete_traces:
        yield Doubt(Code.FEW_TRACES, f"only {o.requests_complete} complete traces")


def metrics(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.counted is None or o.evidence is None:
        return
    least, most = o.answered
    if not least <= o.counted <= most:
        sent = f"{least}" if least == most else f"{least} to {most}"
        yield Doubt(
            Code.METRICS_MISMATCH,
            f"the entries' metrics counted {o.counted} requests, {sent} were handled",
        )
