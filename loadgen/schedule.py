"""The arrival schedule: when each request is due, and everything about it that chance decides.

Pure: the same load and seed give the same schedule, arrival by arrival, in every process. Times
are offsets in nanoseconds from the schedule's zero, where the warm-up starts. Gaps come from the
raw output of a counter-based generator (Philox), whose stream NumPy promises not to change, and
not from ``Generator.exponential``, whose stream it may.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from loadgen.samples import PHASES
from services.scenario.chance import request_key, uniform
from services.scenario.distributions import Constant, Distribution
from services.scenario.model import Entry, Load
from services.scenario.pace import Closed, Open, Replay

Arrivals = Literal["poisson", "uniform"]
WARMUP: Final = PHASES.index("warmup")
MEASURED: Final = PHASES.index("measured")
NO_KEY: Final = -1

_NANO: Final = 1_000_000_000
_KOLMOGOROV_TERMS: Final = 100
_KOLMOGOROV_CERTAIN: Final = 0.2
"""Below it the series needs more terms, for a value that differs from 1 by less than 1e-12."""


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """One row an arrival, in order of time; all arrays have the same length and are read-only."""

    number: NDArray[np.int64]
    """The request's number in the whole schedule, from 0; chance hangs on it."""
    offset_ns: NDArray[np.int64]
    """When it is due, from the schedule's zero. Of a closed load none is: spread out evenly."""
    entry: NDArray[np.uint16]
    """Index into the load's entries."""
    sampled: NDArray[np.bool_]
    phase: NDArray[np.uint8]
    """Index into loadgen.samples.PHASES."""
    chance: NDArray[np.uint64]
    """The request's key (services.scenario.chance.request_key)."""
    trace_hi: NDArray[np.uint64]
    trace_lo: NDArray[np.uint64]
    """Upper and lower half of the trace id. The lower is never 0: it is sent as parent span id."""
    request_bytes: NDArray[np.int64]
    response_bytes: NDArray[np.int64]
    key: NDArray[np.int64]
    """The application's key; NO_KEY where the entry has none."""

    def __len__(self) -> int:
        return len(self.number)


def arrivals(load: Load, seed: int, *, trace_ratio: float = 0.5, trace_salt: int = 0) -> Schedule:
    """Every arrival of one round, warm-up included; of a closed load, as many as its users may
    need, which they take in this order.

    ``seed`` is the round's. ``trace_salt`` goes into trace ids alone, so that two rounds of one
    pair send the same requests under different ids. ``trace_ratio`` is the share of sampled
    requests, 0..1.
    """
    due = _due(load, seed)
    count = len(due)
    chance = [request_key(seed, n) for n in range(count)]
    entry = _entries(load.entries, chance)
    requests, responses, keys = _asks(load.entries, entry, chance)
    traces = b"".join(
        blake2b(b"trace:%d:%d:%d" % (seed, trace_salt, n), digest_size=16).digest()
        for n in range(count)
    )
    halves = np.frombuffer(traces, dtype="<u8").reshape(count, 2)
    return _frozen(
        Schedule(
            number=np.arange(count, dtype=np.int64),
            offset_ns=due,
            entry=np.array(entry, dtype=np.uint16),
            sampled=_sampled(trace_ratio, chance),
            phase=np.where(due < load.warmup_ns, WARMUP, MEASURED).astype(np.uint8),
            chance=np.array(chance, dtype=np.uint64),
            trace_hi=halves[:, 0].copy(),
            trace_lo=np.maximum(halves[:, 1], np.uint64(1)),
            request_bytes=np.array(requests, dtype=np.int64),
            response_bytes=np.array(responses, dtype=np.int64),
            key=np.array(keys, dtype=np.int64),
        )
    )


def _due(load: Load, seed: int) -> NDArray[np.int64]:
    length_ns = load.length_ns
    match load.pace:
        case Open(kind, rate_rps, ()):
            return offsets(kind, rate_rps, length_ns, seed)
        case Open(kind):
            numbers = _points(kind, 1.0, load.requests, seed)
            return _before(length_ns, np.minimum(when(load, numbers), length_ns))
        case Replay(at_ns):
            return _before(length_ns, np.array(at_ns))
        case Closed():
            count = math.ceil(load.requests)
            return _before(length_ns, np.arange(count) * (length_ns / count))


def offsets(kind: Arrivals, rate_rps: float, length_ns: int, seed: int) -> NDArray[np.int64]:
    """Due times in [0, ``length_ns``), rising.

    Poisson: exponential gaps, the first before the first arrival. Uniform: every 1/rate from 0.
    A longer schedule of the same rate and seed begins with the shorter one.
    """
    return _before(length_ns, _points(kind, _NANO / rate_rps, length_ns, seed))


def when(load: Load, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """When so many requests of an open load are to be expected, in ns from the schedule's zero.

    A Poisson process of rate 1 comes out as one of the load's changing rate (time rescaling:
    Çinlar, Introduction to Stochastic Processes, 1975). What never is to be expected is inf.
    """
    at, rate, slopes, before = _lines(load)
    of = np.clip(np.searchsorted(before, numbers, side="right") - 1, 0, len(at) - 2)
    left = numbers - before[of]
    slope = slopes[of]
    # The root of rate·t + slope·t²/2 = left, in the form that no slope takes figures from.
    under = np.maximum(rate[of] ** 2 + 2.0 * slope * left, 0.0)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        after = np.where(left > 0.0, 2.0 * left / (rate[of] + np.sqrt(under)), 0.0)
        found: NDArray[np.float64] = _NANO * (at[of] + after)
    return found


def expected(load: Load, at_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many requests of an open load are to be expected by then: back from :func:`when`."""
    at, rate, slopes, before = _lines(load)
    seconds = at_ns / _NANO
    of = np.clip(np.searchsorted(at, seconds, side="right") - 1, 0, len(at) - 2)
    left = seconds - at[of]
    slope = slopes[of]
    found: NDArray[np.float64] = before[of] + left * (rate[of] + slope * left / 2.0)
    return found


def _lines(load: Load) -> tuple[NDArray[np.float64], ...]:
    """Where the rate's straight lines meet: seconds, requests a second, by how much that changes a
    second from there on, and requests until then."""
    assert isinstance(load.pace, Open)
    knots = load.pace.knots(load.warmup_ns, load.duration_ns)
    at = np.array([ns for ns, _ in knots]) / _NANO
    rate = np.array([rps for _, rps in knots])
    parts = np.diff(at) * (rate[1:] + rate[:-1]) / 2.0
    slopes = np.diff(rate) / np.maximum(np.diff(at), 1e-300)
    return at, rate, slopes, np.concatenate((np.zeros(1), np.cumsum(parts)))


def _points(kind: Arrivals, gap: float, length: float, seed: int) -> NDArray[np.float64]:
    """Arrivals ``gap`` apart on average, up to ``length`` or beyond; both in one unit."""
    if kind == "uniform":
        return np.arange(math.ceil(length / gap), dtype=np.float64) * gap
    bits = np.random.Philox(key=seed & (2**128 - 1))
    mean = length / gap
    chunk = int(mean + 6 * math.sqrt(mean)) + 16
    at = 0.0
    parts: list[NDArray[np.float64]] = []
    while at < length:
        u = (bits.random_raw(chunk) >> np.uint64(11)) * 2.0**-53
        gaps: NDArray[np.float64] = -gap * np.log1p(-u)
        parts.append(at + np.cumsum(gaps))
        at = float(parts[-1][-1])
    return np.concatenate(parts) if parts else np.empty(0)


def taken(load: Load, schedule: Schedule, sent: NDArray[np.int64], workers: int) -> Schedule:
    """Of a closed load's schedule, what its users have taken, as far as the numbers ``sent`` tell:
    each worker takes its own in order."""
    whose = _workers(load, schedule.number, workers)
    last = _last(load, sent, workers)
    return select(schedule, np.flatnonzero(schedule.number <= last[whose]))


def spent(load: Load, sent: NDArray[np.int64], workers: int) -> bool:
    """Whether the users of a worker have taken its last request of a closed load."""
    ready = np.arange(math.ceil(load.requests))
    whose = _workers(load, ready, workers)
    return any(
        sent_last >= ready[whose == worker].max(initial=0)
        for worker, sent_last in enumerate(_last(load, sent, workers).tolist())
        if (whose == worker).any()
    )


def _last(load: Load, sent: NDArray[np.int64], workers: int) -> NDArray[np.int64]:
    """By worker."""
    whose = _workers(load, sent, workers)
    last = [sent[whose == worker].max(initial=-1) for worker in range(workers)]
    return np.array(last, dtype=np.int64)


def _before(length_ns: int, at: NDArray[np.number[Any]]) -> NDArray[np.int64]:
    due: NDArray[np.int64] = np.rint(at).astype(np.int64)
    return due[: int(np.searchsorted(due, length_ns))]


def share(load: Load, schedule: Schedule, worker: int, workers: int) -> Schedule:
    """What worker k of N sends, in order: the arrivals i with i mod N = k; of a closed load those
    of its users."""
    return select(schedule, np.flatnonzero(_workers(load, schedule.number, workers) == worker))


def _workers(load: Load, numbers: NDArray[np.int64], workers: int) -> NDArray[np.int64]:
    if isinstance(load.pace, Closed):
        numbers = numbers % load.pace.users
    return numbers % workers


def select(schedule: Schedule, rows: slice | NDArray[np.int64]) -> Schedule:
    return Schedule(**{name: getattr(schedule, name)[rows] for name in Schedule.__slots__})


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether due times follow the model that was asked for.

    ``statistic``: Poisson, the Kolmogorov-Smirnov distance of the gaps from the exponential
    distribution; uniform, the largest deviation of a gap from 1/rate, in ns.
    """

    statistic: float
    p_value: float | None
    """None where the check is exact."""
    n: int
    holds: bool


def follows(load: Load, due_ns: NDArray[np.int64], *, level: float = 1e-4) -> Fit | None:
    """Check due times (ns from the schedule's zero, rising) against an open load's arrivals; None
    where there is no law, as of a replay."""
    match load.pace:
        case Open(kind, rate_rps, ()):
            return fits(due_ns, kind, rate_rps, level=level)
        case Open(kind):
            even = expected(load, due_ns) * _NANO
            return fits(even, kind, 1.0, level=level, off_ns=1.0 + load.pace.peak_rps)
        case _:
            return None


def fits(
    intended_ns: NDArray[Any],
    model: Arrivals,
    rate_rps: float,
    *,
    level: float = 1e-4,
    off_ns: float = 1.0,
) -> Fit:
    """Check the gaps of due times (ns, rising, any zero) against the model and its rate.
    ``off_ns``: what rounding a due time to a whole ns may do to a gap.

    Under two gaps nothing can be said, and the fit holds. ``level`` is the chance of rejecting a
    schedule that is right: small, because every round is tested.
    """
    gaps = np.diff(intended_ns)
    expected = _NANO / rate_rps
    if len(gaps) < 2:
        return Fit(statistic=0.0, p_value=None, n=len(gaps), holds=True)
    if model == "uniform":
        worst = float(np.abs(gaps - expected).max())
        return Fit(statistic=worst, p_value=None, n=len(gaps), holds=worst <= off_ns)
    below = -np.expm1(-np.sort(gaps) / expected)
    steps = np.arange(len(gaps) + 1) / len(gaps)
    distance = float(max((steps[1:] - below).max(), (below - steps[:-1]).max()))
    p = kolmogorov_p(distance, len(gaps))
    return Fit(statistic=distance, p_value=p, n=len(gaps), holds=p >= level)


def kolmogorov_p(distance: float, n: int) -> float:
    """The chance that ``n`` draws lie at least so far (0 to 1) from their own distribution.

    Kolmogorov's limit with the correction of Stephens (1970): within 20 % of the exact value for
    20 draws or more, down to 1e-4. For fewer, small ones come out too large, which rejects less.
    """
    root = n**0.5
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < _KOLMOGOROV_CERTAIN:
        return 1.0
    k = np.arange(1, _KOLMOGOROV_TERMS + 1)
    terms = np.where(k % 2, 1.0, -1.0) * np.exp(-2.0 * (k * scaled) ** 2)
    return float(min(max(2.0 * terms.sum(), 0.0), 1.0))


def _entries(entries: tuple[Entry, ...], chance: list[int]) -> list[int]:
    if len(entries) == 1:
        return [0] * len(chance)
    bounds = list(accumulate(entry.weight for entry in entries))
    draws = np.array([uniform(key, "entry") for key in chance]) * bounds[-1]
    picked = np.searchsorted(np.array(bounds), draws, side="right")
    return [int(i) for i in np.minimum(picked, len(entries) - 1)]


def _sampled(ratio: float, chance: list[int]) -> NDArray[np.bool_]:
    if ratio <= 0.0 or ratio >= 1.0:
        return np.full(len(chance), ratio >= 1.0)
    return np.array([uniform(key, "sampled") < ratio for key in chance], dtype=np.bool_)


def _asks(
    entries: tuple[Entry, ...], picked: list[int], chance: list[int]
) -> tuple[list[int], list[int], list[int]]:
    requests: list[int] = []
    responses: list[int] = []
    keys: list[int] = []
    for index, key in zip(picked, chance, strict=True):
        entry = entries[index]
        requests.append(_bytes(entry.request_bytes, key, "request"))
        responses.append(_bytes(entry.response_bytes, key, "response"))
        distinct = entry.key_distinct
        keys.append(NO_KEY if distinct is None else int(uniform(key, "key") * distinct))
    return requests, responses, keys


def _bytes(size: Distribution, key: int, purpose: str) -> int:
    # A constant needs no draw; hashing is most of what making a schedule costs.
    value = size.value if isinstance(size, Constant) else size.at(uniform(key, purpose))
    return max(0, round(value))


def _frozen(schedule: Schedule) -> Schedule:
    for name in Schedule.__slots__:
        getattr(schedule, name).setflags(write=False)
    return schedule
