"""The generator: whether the requests are those of the schedule, each when it was due."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from analysis.arrays import Bool
from hopbench.results.checks.observed import Observed, Sent
from hopbench.runs.limits import SIGMAS, Limits
from loadgen import schedule
from loadgen.plan import in_flight_parts
from services.doubts import Code, Doubt


def samples(o: Observed, limits: Limits) -> Iterator[Doubt]:
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


def lag(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.lag_p99_ms is None:
        return
    share = limits.lag_p99_share * (o.service_p50_ms or 0.0)
    limit = max(limits.lag_p99_ms, share)
    if o.lag_p99_ms > limit:
        yield Doubt(
            Code.LAG,
            f"P99 of sent − intended is {o.lag_p99_ms:.2f} ms; the limit is {limit:.2f} ms"
            + _who_had_the_cores(o),
        )


def _who_had_the_cores(o: Observed) -> str:
    if o.evidence is None:
        return ""
    host = o.evidence.host
    told = [
        f"{what} {share:.1%}"
        for what, share in (
            ("the generator waited for a core", host.generator_wait_share),
            ("services used", host.services_cpu_share),
            ("others used", host.foreign_cpu_share),
            ("the hypervisor took", host.steal_share),
        )
        if share is not None
    ]
    return f" ({', '.join(told)})" if told else ""


def slices(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """Of a duet: nobody was loaded while the other arm had its turn."""
    if o.evidence is None or o.evidence.slices is None or not o.sent.measured.any():
        return
    zero = o.evidence.start_ns
    sent = o.sent.measured & ~o.sent.dropped & (o.sent.sent_ns >= 0)
    due, done = o.sent.intended_ns[sent] - zero, o.sent.done_ns[sent]
    # What has no end was given up by then, at the latest.
    given_up = due + max(entry.timeout_ns for entry in o.load.entries)
    ended = np.where(done >= 0, done - zero, given_up)
    share = float(o.evidence.slices.late(due, ended).sum()) / int(o.sent.measured.sum())
    if share > limits.slices_overlap_share:
        yield Doubt(
            Code.SLICES_OVERLAP,
            f"{share:.1%} of the requests were under way when the next slice began; the limit is "
            f"{limits.slices_overlap_share:.1%}",
        )


def rate(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if not o.offered_rps or o.achieved_rps is None:
        return
    # What was dropped was there in time; it has a doubt of its own.
    dropped = int((o.sent.measured & o.sent.dropped).sum())
    came = o.achieved_rps + dropped * 1e9 / o.load.duration_ns
    off = came - o.offered_rps
    if abs(off) > limits.rate_share * o.offered_rps:
        yield Doubt(
            Code.RATE,
            f"{came:.1f}/s were sent of {o.offered_rps:.1f}/s scheduled "
            f"({off / o.offered_rps:+.1%})",
        )


def arrivals(o: Observed, limits: Limits) -> Iterator[Doubt]:
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
    if start is None and o.load.pace.steady_rps is None:
        return
    zero = int(o.sent.intended_ns.min(initial=0)) if start is None else start
    fit = schedule.follows(o.load, np.sort(o.sent.intended_ns) - zero, level=limits.arrivals_p)
    if fit is not None and not fit.holds:
        yield Doubt(
            Code.ARRIVALS,
            f"inter-arrivals do not fit {o.load.pace} (statistic {fit.statistic:.3g}, n {fit.n})",
        )


def spent(o: Observed, limits: Limits) -> Iterator[Doubt]:
    """Users of a closed load found nothing more to send."""
    if o.load.pace.model == "closed" and schedule.spent(o.load, o.sent.seq, o.settings.workers):
        text = f"users had sent all that was made ready, {o.sent.seq.size:,} requests so far"
        yield Doubt(Code.SPENT, text)


def drops(o: Observed, limits: Limits) -> Iterator[Doubt]:
    dropped = o.sent.intended_ns[o.sent.dropped]
    if not dropped.size:
        return
    yield Doubt(
        Code.DROPS,
        f"{dropped.size} requests were dropped with {o.load.max_in_flight} in flight; "
        "they rank as infinitely slow" + "".join(f"; {why}" for why in o.strained),
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
    # A request is in flight from when it is due, since those before it are dealt with in order; and
    # a drop is decided when it is due or later, when some of these have ended, and none has begun.
    # What ends in the very moment may end before or after.
    begun = np.sort(sent.intended_ns[ours & ~sent.dropped])
    ended = np.sort(sent.done_ns[ours & ~sent.dropped & (sent.done_ns >= 0)])
    in_flight = np.searchsorted(begun, dropped, "right") - np.searchsorted(ended, dropped, "left")
    return int((in_flight < bound).sum())


def sampling(o: Observed, limits: Limits) -> Iterator[Doubt]:
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
