"""The self-checks of a round: what was observed, held against the limits, as doubts.

Pure: every check is a function from what one round showed to the doubts that it raises, listed in
:data:`CHECKS`. A check that lacks its figure says so (``unmeasured``) where the figure should be
there, and is silent where it cannot be (simulated rounds have no host).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import numpy as np

from analysis.arrays import I64, Bool
from analysis.arrays.quantiles import NS_PER_MS
from hopbench.engines.port import BrokerKind, ClockName, Evidence, Settings
from hopbench.host.load import Taker
from hopbench.results import messages
from hopbench.runs.limits import Limits
from loadgen.plan import in_flight_parts
from loadgen.schedule import Schedule, follows
from services.doubts import Code, Doubt
from services.scenario.model import Load

_FEW: Final = 20
"""Requests in a quarter of the warm-up; fewer tell nothing."""
SIGMAS: Final = 4.5
"""Chance alone exceeds this once in 150,000 rounds."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The samples of one round as columns (loadgen/samples.py), in order of ``seq``; all phases.

    Times are monotonic ns; NOT_REACHED where a request never came so far.
    """

    seq: I64
    intended_ns: I64
    sent_ns: I64
    done_ns: I64
    measured: Bool
    dropped: Bool
    sampled: Bool
    worker: I64
    """Which generator process sent it, from 0."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What one round showed. ``None`` is not known, never nothing."""

    clock: ClockName
    broker: BrokerKind | None
    settings: Settings
    load: Load
    evidence: Evidence | None
    scheduled: Schedule
    sent: Sent
    lag_p99_ms: float | None
    service_p50_ms: float | None
    offered_rps: float | None
    achieved_rps: float | None
    failed: int
    failures_planned: bool
    """Faults or ``fail`` steps of the scenario may make requests fail."""
    spans_expected: int | None
    spans_received: int | None
    spans_by_scenario: int | None
    replay_refused: str | None
    """Why ``spans_by_scenario`` is None."""
    answered: tuple[int, int]
    """Requests that an entry surely handled, and those that it may have (all phases): a request
    that timed out, or whose connection broke, may have been counted or not."""
    counted: int | None
    """Requests that the entries' metrics counted."""
    requests_sampled: int
    requests_complete: int
    kafka_used: bool
    unidentifiable: tuple[str, ...]
    """Names of headline quantiles that the sample cannot tell."""
    changes: tuple[str, ...] = ()
    """In the environment, since the run's first round."""
    paused: frozenset[str] = frozenset()
    """Services that a fault of the scenario makes stand still."""


FOLLOW_FROM_A_DEATH: Final = frozenset({Code.SPANS_MISMATCH, Code.REDELIVERED, Code.UNMEASURED})
"""A part takes its spans and its counts with it, and another member of the group handles its
messages; what a round did not live to see is not unknown by the platform. Beside ``broken`` these
are no doubts of their own, and lead away from it."""


def judge(observed: Observed, limits: Limits) -> tuple[Doubt, ...]:
    """Every doubt about one round, in the order of :data:`CHECKS`."""
    doubts = tuple(doubt for check in CHECKS for doubt in check(observed, limits))
    if any(doubt.code is Code.BROKEN for doubt in doubts):
        return tuple(doubt for doubt in doubts if doubt.code not in FOLLOW_FROM_A_DEATH)
    return doubts


def _whole(o: Observed, limits: Limits) -> Iterator[Doubt]:
    evidence = o.evidence
    if evidence is None:
        yield Doubt(Code.INTERRUPTED, "the round did not end; what it measured was recovered")
        return
    if evidence.broken is not None:
        first, *_ = evidence.broken.splitlines() or ["a part died"]
        yield Doubt(Code.BROKEN, first.removesuffix("; its log ends:"))
    if evidence.undrained is not None:
        yield Doubt(Code.UNDRAINED, evidence.undrained)


def _own(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """Doubts that the engine and the service processes raised themselves, one of each code."""
    if o.evidence is None:
        return
    told: dict[Code, list[str]] = {}
    for doubt in o.evidence.doubts:
        told.setdefault(doubt.code, []).append(doubt.text)
    for whose, doubts in (
        *((f"{p.service}/{p.replica}", p.doubts) for p in o.evidence.processes),
        *((f"{s.service}/{s.replica}", s.doubts) for s in o.evidence.senders),
    ):
        for doubt in doubts:
            told.setdefault(doubt.code, []).append(f"{whose}: {doubt.text}")
    for code, texts in told.items():
        distinct = list(dict.fromkeys(texts))
        more = f" (and {len(distinct) - 1} more like it)" if len(distinct) > 1 else ""
        yield Doubt(code, distinct[0] + more)


def _samples(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if not o.sent.measured.any():
        yield Doubt(Code.NO_SAMPLES, "no request of the measured phase was recorded")
    missing = np.setdiff1d(o.scheduled.number, o.sent.seq).size
    unknown = np.setdiff1d(o.sent.seq, o.scheduled.number).size
    twice = o.sent.seq.size - np.unique(o.sent.seq).size
    if missing or unknown or twice:
        yield Doubt(
            Code.SAMPLES_MISMATCH,
            f"{o.scheduled.number.size} requests were scheduled, {o.sent.seq.size} recorded: "
            f"{missing} missing, {unknown} unknown, {twice} twice",
        )


def _lag(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.lag_p99_ms is None:
        return
    share = limits.lag_p99_share * (o.service_p50_ms or 0.0)
    limit = max(limits.lag_p99_ms, share)
    if o.lag_p99_ms > limit:
        yield Doubt(
            Code.LAG,
            f"P99 of sent − intended is {o.lag_p99_ms:.2f} ms; the limit is {limit:.2f} ms",
        )


def _rate(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if not o.offered_rps or o.achieved_rps is None:
        return
    off = o.achieved_rps - o.offered_rps
    if abs(off) > limits.rate_share * o.offered_rps:
        yield Doubt(
            Code.RATE,
            f"{o.achieved_rps:.1f}/s were sent of {o.offered_rps:.1f}/s scheduled "
            f"({off / o.offered_rps:+.1%})",
        )


def _arrivals(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """The requests were due when the schedule says, and the schedule is of the kind asked for."""
    if o.load.pace.model == "closed":
        return
    start = o.evidence.start_ns if o.evidence is not None else None
    common, ours, theirs = np.intersect1d(o.sent.seq, o.scheduled.number, return_indices=True)
    if start is not None and common.size:
        moved = o.sent.intended_ns[ours] - start != o.scheduled.offset_ns[theirs]
        if moved.any():
            yield Doubt(Code.ARRIVALS, f"{int(moved.sum())} requests were due off the schedule")
    # Without a start only gaps are known, which is enough where the rate does not change.
    zero = int(o.sent.intended_ns.min(initial=0)) if start is None else start
    if start is None and o.load.pace.steady_rps is None:
        return
    fit = follows(o.load, np.sort(o.sent.intended_ns) - zero, level=limits.arrivals_p)
    if fit is not None and not fit.holds:
        yield Doubt(
            Code.ARRIVALS,
            f"inter-arrivals do not fit {o.load.pace} (statistic {fit.statistic:.3g}, n {fit.n})",
        )


def _spent(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """Users of a closed load found nothing more to send."""
    load, numbers = o.load, o.scheduled.number
    if load.pace.model == "open" or not numbers.size:
        return
    ready = math.ceil(load.pace.requests(load.warmup_ns, load.duration_ns))
    if int(numbers.max()) + o.settings.workers >= ready:
        text = f"all {ready:,} requests that were made ready were sent before the time was over"
        yield Doubt(Code.SPENT, text)


def _drops(o: Observed, limits: Limits) -> Iterator[Doubt]:
    dropped = o.sent.intended_ns[o.sent.dropped]
    if not dropped.size:
        return
    yield Doubt(
        Code.DROPS,
        f"{dropped.size} requests were dropped with {o.load.max_in_flight} in flight; "
        "they rank as infinitely slow",
    )
    # Each worker has its part of the bound, and drops what is above that.
    workers = np.unique(o.sent.worker)
    whole = o.load.max_in_flight // workers.size
    # Where entries over Kafka have a process of their own, the smaller part is all that is sure.
    part = min(filter(None, in_flight_parts(o.load, whole)), default=whole)
    unexplained = sum(_unexplained(o.sent, o.sent.worker == worker, part) for worker in workers)
    if unexplained:
        yield Doubt(
            Code.DROPS_UNEXPLAINED,
            f"{unexplained} requests were dropped with fewer than {part} in flight",
        )


def _unexplained(sent: Sent, ours: Bool, bound: int) -> int:
    """How many of one worker's requests were dropped with fewer than ``bound`` in flight."""
    dropped = sent.intended_ns[ours & sent.dropped]
    begun = np.sort(sent.sent_ns[ours & ~sent.dropped])
    ended = np.sort(sent.done_ns[ours & ~sent.dropped & (sent.done_ns >= 0)])
    in_flight = np.searchsorted(begun, dropped, "right") - np.searchsorted(ended, dropped, "right")
    # A drop is decided a little after the request was due, and several may end in between.
    return int((in_flight < 0.9 * bound).sum())


def _sampling(o: Observed, limits: Limits) -> Iterator[Doubt]:
    ratio = o.settings.trace_ratio if o.settings.tracing else 0.0
    n = o.sent.seq.size
    if not n:
        return
    share = float(o.sent.sampled.mean())
    bound = SIGMAS * math.sqrt(ratio * (1 - ratio) / n)
    if abs(share - ratio) > bound:
        yield Doubt(
            Code.SAMPLING, f"{share:.1%} of the requests were sampled, asked were {ratio:.1%}"
        )


def _host(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.clock == "virtual" or o.evidence is None:
        return
    host = o.evidence.host
    for code, share, limit, what in (
        (
            Code.GENERATOR_CPU,
            host.generator_cpu_share,
            limits.generator_cpu_share,
            "of a core went to the generator",
        ),
        (
            Code.STEAL,
            host.steal_share,
            limits.steal_share,
            "of the CPU time was stolen by the hypervisor",
        ),
        (
            Code.FOREIGN_CPU,
            host.foreign_cpu_share,
            limits.foreign_cpu_share,
            f"of the CPU time went to others' processes{_whose(host.foreign)}",
        ),
    ):
        if share is None:
            where = "this platform" if o.settings.engine == "local" else "a container"
            yield Doubt(Code.UNMEASURED, f"{where} does not tell how much {what}")
        elif share > limit:
            yield Doubt(code, f"{share:.1%} {what}; the limit is {limit:.0%}")


def _whose(takers: Iterable[Taker]) -> str:
    named = ", ".join(f"{taker.name} {taker.share:.1%}" for taker in takers)
    return f" ({named})" if named else ""


def _processes(o: Observed, limits: Limits) -> Iterator[Doubt]:
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


def _failures(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.failed and not o.failures_planned:
        yield Doubt(
            Code.FAILURES, f"{o.failed} requests failed, and nothing in the scenario makes them"
        )


def _spans(o: Observed, limits: Limits) -> Iterator[Doubt]:
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


def _control(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """The tax of tracing is sampled against unsampled requests: both must be there."""
    if o.settings.tracing and o.settings.trace_ratio in (0.0, 1.0):
        which = "every" if o.settings.trace_ratio else "no"
        yield Doubt(Code.NO_CONTROL, f"{which} request is sampled: direct_tax_ms is unknown")


def _traces(o: Observed, limits: Limits) -> Iterator[Doubt]:
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


def _metrics(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.counted is None or o.evidence is None:
        return
    least, most = o.answered
    if not least <= o.counted <= most:
        sent = f"{least}" if least == most else f"{least} to {most}"
        yield Doubt(
            Code.METRICS_MISMATCH,
            f"the entries' metrics counted {o.counted} requests, {sent} were handled",
        )


def _messages(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.evidence is not None:
        yield from messages.counted(o.evidence.messages(), o.broker)


def _broker(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.evidence is not None and o.broker == "kafka":
        zero_ns = o.evidence.start_ns + o.evidence.unix_offset_ns
        yield from messages.gaps(o.evidence.messages(), zero_ns)


def _environment(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.changes:
        yield Doubt(Code.ENVIRONMENT, f"not as in the run's first round: {'; '.join(o.changes)}")


def _warming(o: Observed, quarter: int) -> I64:
    """Response times, ns, of a quarter of the warm-up, counted from 0; none where it is unknown."""
    if o.evidence is None:
        return np.empty(0, dtype=np.int64)
    sent, width = o.sent, o.load.warmup_ns / 4
    since = sent.intended_ns - o.evidence.start_ns
    mine = (since >= quarter * width) & (since < (quarter + 1) * width) & (sent.done_ns >= 0)
    return (sent.done_ns - sent.intended_ns)[mine]


def _apart(a: I64, b: I64) -> float:
    """The rank-sum statistic of two samples, in standard deviations (Mann and Whitney 1947)."""
    order = np.argsort(np.concatenate((a, b)), kind="stable")
    ranks = np.empty(order.size)
    ranks[order] = np.arange(1, order.size + 1)
    mean = a.size * (order.size + 1) / 2
    return float(abs(ranks[: a.size].sum() - mean) / math.sqrt(mean * b.size / 6))


def _warm(o: Observed, limits: Limits) -> Iterator[Doubt]:
    before, last = (_warming(o, quarter) for quarter in (2, 3))
    if min(before.size, last.size) >= _FEW and _apart(before, last) > SIGMAS:
        earlier, later = float(np.median(before)) / NS_PER_MS, float(np.median(last)) / NS_PER_MS
        if abs(later / earlier - 1) > limits.cold_share:
            yield Doubt(
                Code.COLD,
                f"P50 was {earlier:.3g} ms in the third quarter of the warm-up and {later:.3g} ms "
                "in the last",
            )


def _meaning(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """What a reader should know before believing a figure of this round."""
    duration, warmup = o.load.duration_ns / 1e9, o.load.warmup_ns / 1e9
    if duration < limits.short_round_s:
        yield Doubt(Code.SHORT_ROUND, f"the measured phase is {duration:g} s long")
    if warmup < limits.short_warmup_s:
        yield Doubt(Code.SHORT_WARMUP, f"the warm-up is {warmup:g} s long")
    if o.broker == "embedded" and o.kafka_used:
        yield Doubt(
            Code.EMBEDDED_BROKER,
            "Kafka figures come from the embedded broker (librdkafka's mock), which is no Kafka",
        )
    if o.unidentifiable:
        yield Doubt(
            Code.NOT_IDENTIFIABLE,
            "too few requests, or too many never answered, to tell " + ", ".join(o.unidentifiable),
        )


Check = Callable[[Observed, Limits], Iterator[Doubt]]

CHECKS: Final[tuple[Check, ...]] = (
    _whole,
    _samples,
    _lag,
    _rate,
    _arrivals,
    _spent,
    _drops,
    _sampling,
    _host,
    _processes,
    _failures,
    _spans,
    _control,
    _traces,
    _metrics,
    _messages,
    _broker,
    _environment,
    _own,
    _warm,
    _meaning,
)
