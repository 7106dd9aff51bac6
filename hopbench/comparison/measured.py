"""What one round says of each metric, of each entry and as a whole.

Times are response times of the requests that the headline names; of several entries as a whole
they are the weighted geometric mean, since a quantile of a mixture hides what happens to a part.
CPU time and bytes are those of the services, warm-up included, by all requests that were sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.arrays.quantiles import NS_PER_MS
from hopbench.comparison.metrics import METRICS, Metric
from hopbench.comparison.partition import Partition
from hopbench.results.latency import Headline
from hopbench.results.round import Account
from hopbench.runs import evidence
from hopbench.runs.directory import TrialDir
from hopbench.statistics import Floats, geometric
from services.scenario.model import Scenario

Key = tuple[str, str | None]
"""A metric, and an entry; None is all of them."""
WHOLE = None
PARTS: Final = 2
"""Of a round, to tell what lies within it; more of them could seldom tell a P95."""
SAMPLES: Final = [
    *("seq", "phase", "status", "sampled", "entry", "protocol", "intended_ns", "done_ns"),
]
"""Columns that are read."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Those of the load, which all arms have; a variant may change how one is called."""

    weights: Mapping[str, float]
    """By what documents call it."""
    names: Mapping[tuple[str, str], str]
    """The same, of what samples have: target and protocol."""


def entries(base: Scenario, of: Scenario) -> Entries:
    """``of`` is what an arm makes of ``base``."""
    targets = [str(entry.target) for entry in base.load.entries]
    names = [
        target if targets.count(target) == 1 else f"{target} over {entry.protocol}"
        for target, entry in zip(targets, base.load.entries, strict=True)
    ]
    return Entries(
        {name: e.weight for name, e in zip(names, base.load.entries, strict=True)},
        {(str(e.target), e.protocol): name for name, e in zip(names, of.load.entries, strict=True)},
    )


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    values: Mapping[Key, float]
    """Those that the round can tell, finite; times above 0."""
    endless: frozenset[Key]
    """Those that are infinite: requests at that quantile never ended."""
    times: Mapping[str, Floats]
    """ns, by entry; infinite of requests that never ended."""
    in_parts: tuple[float, ...] | None
    """The primary metric of each of PARTS parts of the measured phase; None where it is no time, or
    not every part tells it."""
    failed: int
    requests: int
    """Due in the measured phase: sent, or dropped."""
    direct_tax_ms: float | None
    parts: Partition | None

    @property
    def failed_share(self) -> float:
        return self.failed / max(self.requests, 1)

    @property
    def mean_ms(self) -> float | None:
        """Of the times; None where one is infinite, or there is none."""
        every = np.concatenate(list(self.times.values()))
        return float(every.mean()) / NS_PER_MS if len(every) and np.isfinite(every).all() else None


def measured(
    account: Account,
    place: TrialDir,
    of: Entries,
    kind: Headline,
    parts: Partition | None,
    *,
    primary: Metric,
    traced: bool,
    as_sampled: NDArray[np.bool_] | None,
) -> Measured:
    """``as_sampled``, by number of a request: which ones to take for sampled; None: those that
    were."""
    samples = pl.read_parquet(place.samples, columns=SAMPLES, glob=False)
    if as_sampled is not None:
        sampled = pl.Series("sampled", as_sampled[samples["seq"].to_numpy()])
        samples = samples.with_columns(sampled)
    times = times_of(samples, of, kind)
    values: dict[Key, float | None] = {}
    for metric in METRICS.values():
        if metric.by_entry:
            each = timed(metric, times, of)
            values |= {(metric.name, name): value for name, value in each.items()}
    whole = _whole(account, place, samples, parts, traced=traced)
    values |= {(name, WHOLE): value for name, value in whole.items()}
    load = account.load
    known = {
        key: value
        for key, value in values.items()
        if value is not None and (value > 0 or not METRICS[key[0]].by_entry)
    }
    endless = frozenset(key for key, value in known.items() if math.isinf(value))
    return Measured(
        {key: value for key, value in known.items() if key not in endless},
        endless,
        times,
        _in_parts(primary, samples, of, kind),
        failed=load.failed + load.dropped,
        requests=load.sent + load.dropped,
        direct_tax_ms=account.latency_ms.direct_tax_ms,
        parts=parts,
    )


def timed(
    metric: Metric, times: Mapping[str, Floats], of: Entries
) -> dict[str | None, float | None]:
    """By entry; where there are several, as a whole, too."""
    each = {name: _time(metric, found) for name, found in times.items()}
    told: dict[str | None, float | None] = dict(each.items())
    if len(of.weights) > 1:
        told[WHOLE] = _combined(each, of.weights)
    return told


def whole(metric: Metric, samples: pl.DataFrame, of: Entries, kind: Headline) -> float | None:
    """Of all entries together, or of the only one."""
    found = timed(metric, times_of(samples, of, kind), of)
    return found[WHOLE] if WHOLE in found else next(iter(found.values()))


def _in_parts(
    metric: Metric, samples: pl.DataFrame, of: Entries, kind: Headline
) -> tuple[float, ...] | None:
    due = samples.filter(pl.col("phase") == "measured")
    if not metric.by_entry or due.is_empty():
        return None
    at = pl.col("intended_ns")
    first, last = due.select(at.min()).item(), due.select(at.max()).item() + 1
    part = (at - first) * PARTS // (last - first)
    found = [whole(metric, due.filter(part == number), of, kind) for number in range(PARTS)]
    known = tuple(v for v in found if v is not None and 0 < v < math.inf)
    return known if len(known) == PARTS else None


def times_of(samples: pl.DataFrame, of: Entries, kind: Headline) -> dict[str, Floats]:
    counted = samples.filter((pl.col("phase") == "measured") & (pl.col("status") != "error"))
    if kind == "unsampled":
        counted = counted.filter(~pl.col("sampled"))
    ended = (pl.col("status") != "timeout") & pl.col("done_ns").is_not_null()
    took = pl.when(ended).then(pl.col("done_ns") - pl.col("intended_ns")).otherwise(math.inf)
    found = {name: np.empty(0) for name in of.weights}
    for (entry, protocol), mine in counted.group_by("entry", "protocol"):
        times = mine.select(took.cast(pl.Float64)).to_series().to_numpy()
        found[of.names[str(entry), str(protocol)]] = np.sort(times)
    return found


def _time(metric: Metric, times: Floats) -> float | None:
    """ms, or infinite; None where the requests are too few."""
    n = len(times)
    if n < metric.needed:
        return None
    if metric.percent is not None:
        return float(times[-(-metric.percent * n // 100) - 1]) / NS_PER_MS
    return float(times[n // 4 : n - n // 4].mean()) / NS_PER_MS


def _combined(each: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """Weighted geometric mean; of entries without weight nothing."""
    counted = [name for name, weight in weights.items() if weight > 0]
    values = [each[name] for name in counted]
    known = [value for value in values if value is not None and value > 0]
    if len(known) < len(values):
        return None
    logs = np.log(np.asarray(known, np.float64))
    return math.exp(float(geometric.combined(logs, [weights[name] for name in counted])))


def _whole(
    account: Account,
    place: TrialDir,
    samples: pl.DataFrame,
    parts: Partition | None,
    *,
    traced: bool,
) -> dict[str, float | None]:
    sent = samples.filter(pl.col("status") != "dropped").height
    sums: dict[str, float] = {}
    for total in account.metrics:
        sums[total.name] = sums.get(total.name, 0.0) + (total.sum or 0.0)
    found = evidence.read(place)
    calls = account.calls_per_request
    if not sent or found is None:
        return {}
    if calls is None and not traced:
        # Attempts and messages: without traces nobody knows which belong together.
        calls = sums.get("protocol.call.count", 0.0) / sent
    return {
        "throughput_rps": account.load.achieved_rps if account.load.model == "closed" else None,
        "calls_per_request": calls,
        "hops_per_request": None if parts is None else parts.hops,
        "bytes_per_request": sums.get("service.call.payload_size", 0.0) / sent,
        "cpu_us_per_request": sum(each.cpu_ns for each in found.processes) / 1e3 / sent,
    }
