"""One arm against the first: what the rounds of valid blocks say of each metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hopbench.comparison.document import Interval, Null, Pair, RatioPoint, Spillover
from hopbench.comparison.measured import PARTS, WHOLE, Key, Measured
from hopbench.comparison.metrics import FAILED, METRICS, PRIMARY
from hopbench.runs.design import Design
from hopbench.statistics import Floats, blocks
from hopbench.statistics.blocks import PAIRS, Order
from hopbench.statistics.effect import Sample, ratios
from hopbench.statistics.failures import Counts, Failures, failures
from hopbench.statistics.guardrails import Watched
from hopbench.statistics.ratio_function import ratio_function
from hopbench.statistics.signed_rank import signed_rank
from hopbench.statistics.variance import Variance, decompose
from hopbench.statistics.verdict import Comparison


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One without a void round."""

    number: int
    rounds: tuple[Measured, ...]
    """In the order in which they ran."""


@dataclass(frozen=True)
class Side:
    """One arm against the first."""

    design: Design
    seed: int
    arm: int
    blocks: tuple[Block, ...]

    @cached_property
    def drawn(self) -> tuple[Order, ...]:
        orders = self.design.orders(self.seed)
        return tuple(orders[block.number] for block in self.blocks)

    def of(self, arm: int) -> Iterator[Measured]:
        for block, order in zip(self.blocks, self.drawn, strict=True):
            yield from (block.rounds[at] for at in blocks.places(order, arm))

    def plain(self, key: Key) -> bool:
        """Whether it is zero in a round, and has no ratio there."""
        return any(each.values[key] == 0 for arm in (0, self.arm) for each in self.of(arm))

    def logs(self, key: Key) -> Floats:
        """(blocks, rounds); of other arms, whatever they can tell."""
        return np.log(self._table(lambda each: each.values.get(key, 1.0) or 1.0))

    def paired(self, of: Callable[[Measured], float]) -> Floats:
        """This arm - the first, (blocks, 2)."""
        return self._paired(self._table(of))

    def _paired(self, values: Floats) -> Floats:
        near = self.design.neighbours
        return blocks.paired(values, self.drawn, 0, self.arm, neighbours=near)

    def _table(self, of: Callable[[Measured], float]) -> Floats:
        """(blocks, rounds)."""
        return np.array([[of(each) for each in b.rounds] for b in self.blocks], np.float64)

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """What every round of both arms tells: the primary metric first."""
        rounds = [*self.of(0), *self.of(self.arm)]
        if not rounds:
            return ()
        told = [key for key in rounds[0].values if all(key in each.values for each in rounds)]
        metrics = list(METRICS)

        def place(key: Key) -> tuple[bool, int, bool]:
            return key != self.primary, metrics.index(key[0]), key[1] is not WHOLE

        return tuple(sorted(told, key=place))

    @property
    def entries(self) -> tuple[str, ...]:
        """Of the load."""
        return tuple(self.blocks[0].rounds[0].times) if self.blocks else ()

    @property
    def primary(self) -> Key:
        return self._whole(self.design.metric)

    def _whole(self, metric: str) -> Key:
        """Of all entries, or of the only one."""
        alone = METRICS[metric].by_entry and len(self.entries) == 1
        return metric, self.entries[0] if alone else WHOLE

    @property
    def endless(self) -> frozenset[Key]:
        """Metrics that are infinite in a round of either arm."""
        rounds = (*self.of(0), *self.of(self.arm))
        return frozenset(key for each in rounds for key in each.endless)

    @property
    def tells(self) -> bool:
        return bool(self.keys) and self.keys[0] == self.primary

    @property
    def guarded(self) -> tuple[Key, ...]:
        several = {key for key in self.keys if METRICS[key[0]].by_entry and key[1] is WHOLE}
        return tuple(
            key
            for key in self.keys
            if METRICS[key[0]].guards
            and key not in several
            and key != self.primary
            and not self.plain(key)
        )

    def sample(self, key: Key) -> Sample:
        more_is_better = METRICS[key[0]].more_is_better
        if self.plain(key):
            differences = self.paired(lambda each: each.values.get(key, 0.0))
            return Sample(differences, more_is_better, plain=True)
        return Sample(self._paired(self.logs(key)), more_is_better)

    def comparison(self) -> Comparison:
        nothing = Sample(np.empty((0, PAIRS)))
        watched: list[Watched] = [self.sample(key).log_ratios for key in self.guarded]
        failed = self.failures()
        return Comparison(
            self.sample(self.primary) if self.tells else nothing,
            (*(self.sample(key) for key in self.secondary), failed),
            (*watched, failed),
        )

    @property
    def secondary(self) -> tuple[Key, ...]:
        return self.keys[1:] if self.tells else self.keys

    def failures(self) -> Failures:
        differences = self.paired(lambda each: each.failed_share)
        return failures(differences, self.counts(0), self.counts(self.arm))

    def counts(self, arm: int) -> Counts:
        rounds = list(self.of(arm))
        return Counts(sum(r.failed for r in rounds), sum(r.requests for r in rounds))

    def typical(self, key: Key, arm: int) -> float:
        """The median of the rounds; of failures the share of all requests."""
        if key[0] == FAILED:
            return self.counts(arm).share
        return float(np.median([each.values[key] for each in self.of(arm)]))

    def pairs(self, key: Key) -> Iterator[Pair]:
        for block, order in zip(self.blocks, self.drawn, strict=True):
            for places in blocks.pairs(order, 0, self.arm, neighbours=self.design.neighbours):
                rounds = [block.rounds[at] for at in places]
                a, b = (r.failed_share if key[0] == FAILED else r.values[key] for r in rounds)
                yield Pair(a, b)

    def nulls(self, metrics: Iterable[str]) -> dict[str, Floats]:
        """Log ratios of the null pairs, (blocks, 2), of those metrics that every round tells; a
        time of the same entries as the primary one. A duet's are sittings of equals alone: rounds
        of one arm are of different restarts."""
        equals = self.design.arms[0] == self.design.arms[self.arm]
        if self.design.kind == "duet" and not equals:
            return {}
        found = {}
        for name in dict.fromkeys(metrics):
            key = (name, self.primary[1] if METRICS[name].by_entry else WHOLE)
            if key in self.keys and not self.plain(key):
                logs = self.logs(key)
                if self.design.kind == "duet":
                    found[name] = self._paired(logs)
                    continue
                each = [blocks.null(logs, self.drawn, arm, self.seed) for arm in (0, self.arm)]
                found[name] = np.stack(each, axis=1)
        return found

    def null(self) -> Null | None:
        found = self.nulls([self.design.metric])
        if not found:
            return None
        ranks = signed_rank(blocks.units(found[self.design.metric]))
        return Null(
            pairs=PAIRS * len(self.blocks),
            metric=self.design.metric,
            ratio=math.exp(ranks.estimate),
            interval=of_ratio(ratios(ranks.interval(self.design.alpha))),
            p=ranks.p(),
        )

    def variance(self) -> Variance | None:
        """Of the log primary metric, the mean of both arms; None where not every round tells it in
        parts, or there is one block."""
        each = [[r.in_parts for r in self.of(arm)] for arm in (0, self.arm)]
        if len(self.blocks) < 2 or any(parts is None for of in each for parts in of):
            return None
        shape = (len(self.blocks), PAIRS, PARTS)
        found = [decompose(np.log(np.array(of, np.float64)).reshape(shape)) for of in each]
        return Variance(
            between_restarts=sum(one.between_restarts for one in found) / 2,
            between_slices=sum(one.between_slices for one in found) / 2,
            within=sum(one.within for one in found) / 2,
        )

    def ratio_function(self) -> Iterator[RatioPoint]:
        for name in self.entries:
            rounds = [[each.times[name] for each in block.rounds] for block in self.blocks]
            of = ratio_function(
                *(rounds, self.drawn, 0, self.arm),
                alpha=self.design.alpha,
                neighbours=self.design.neighbours,
            )
            for point in of:
                low, high = of_ratio((point.low, point.high))
                yield RatioPoint(name, point.quantile, point.ratio, low, high)

    def tax(self, arm: int) -> float | None:
        found = [each.direct_tax_ms for each in self.of(arm)]
        known = [tax for tax in found if tax is not None]
        return float(np.median(known)) if known and len(known) == len(found) else None

    def spillover(self) -> Spillover | None:
        """By P50; None without rounds that were not traced, or where not every round tells it."""
        key = self._whole(PRIMARY)
        if not self.design.observed or not self.blocks:
            return None
        found = []
        for arm in (0, self.arm):
            twin = arm + len(self.design.arms)
            values = self._table(lambda each: each.values.get(key, math.nan))
            units = blocks.units(blocks.paired(values, self.drawn, twin, arm))
            if not np.isfinite(units).all():
                return None
            ranks = signed_rank(units)
            interval = ranks.interval(self.design.alpha)
            found.append((ranks.estimate, of_difference((interval.low, interval.high))))
        (a, a_interval), (b, b_interval) = found
        return Spillover(a, a_interval, b, b_interval)


def of_ratio(interval: tuple[float, float]) -> Interval:
    """As documents have it: None for an end that is open."""
    low, high = interval
    return (low if low > 0 else None, high if math.isfinite(high) else None)


def of_difference(interval: tuple[float, float]) -> Interval:
    low, high = (end if math.isfinite(end) else None for end in interval)
    return low, high
