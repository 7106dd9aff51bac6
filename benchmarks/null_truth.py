"""Whether verdicts keep their level: comparisons of equals, and of known shifts, by simulation.

    python -m benchmarks.null_truth [SAMPLES]

Rounds are simulated one after another, in the drawn order of their blocks, with noise that goes on
over time; then everything is done as `compare` does it. Targets, for every kind of noise in KINDS
for 6, 12, 20 and 24 pairs and `--until`, for two of three arms, and for duets:

- at most 6 % of the 95 % intervals exclude 1 where both arms are equal,
- at least 94 % cover a true ratio of 1.01, 1.05 and 1.20,
- for independent noise and fixed pairs, neither is further than 1 point from the exact size.

Below them, unchecked, what the design is there for: noise that keeps time with the blocks, and what
other designs do. Last the time that the statistics of 48 rounds take, against 2 s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from hopbench.statistics import Floats, binomial
from hopbench.statistics.blocks import Order, null, orders, paired, unit_count, units
from hopbench.statistics.effect import Sample
from hopbench.statistics.failures import Counts
from hopbench.statistics.failures import failures as failures_of
from hopbench.statistics.power import foresee
from hopbench.statistics.ratio_function import ratio_function
from hopbench.statistics.signed_rank import rank, signed_rank, size, walsh
from hopbench.statistics.stopping import FIRST, enough
from hopbench.statistics.verdict import Comparison, verdicts

ALPHA: Final = 0.05
SAMPLES: Final = 4_000
SEED: Final = 11

SPREAD: Final = (0.06, 0.10)
"""Recorded standard deviations of log P50 between rounds; each comparison draws its own."""
AUTOCORRELATION: Final = 0.5
"""Recorded between successive rounds."""
DRIFT: Final = 0.02
"""Of each round against the one before, as a log ratio: 24 rounds come to +60 %."""
STEP: Final = 0.2
"""Height of a step, up or down, as a log ratio."""
STEPS: Final = 0.1
"""The chance of one before a round."""

PAIRS: Final = (6, 12, 20, 24)
WIDTHS: Final = (0.06, 0.09)
RESTARTS: Final = (6, 8, 12, 20)
TURNS: Final = 8
"""Slices of each arm in a restart of a duet; noise is of slices there."""
PROCESS: Final = 0.02
"""Standard deviation of what is a process's own."""
MOST_BLOCKS: Final = 40
SHIFTS: Final = (1.0, 1.01, 1.05, 1.20)

MOST_CALLED: Final = 0.06
LEAST_COVERED: Final = 0.94
POINT: Final = 0.01
STATISTICS_S: Final = 2.0


def independent(chance: Generator, spread: Floats, rounds: int) -> Floats:
    """Log of what a round shows too much, (comparisons, rounds); so do those below."""
    return spread * chance.standard_normal((len(spread), rounds))


def autoregressive(chance: Generator, spread: Floats, rounds: int) -> Floats:
    shocks = chance.standard_normal((len(spread), rounds))
    for at in range(1, rounds):
        kept = AUTOCORRELATION * shocks[:, at - 1]
        shocks[:, at] = kept + np.sqrt(1 - AUTOCORRELATION**2) * shocks[:, at]
    noise: Floats = spread * shocks
    return noise


def drift(chance: Generator, spread: Floats, rounds: int) -> Floats:
    return independent(chance, spread, rounds) + DRIFT * np.arange(rounds)


def steps(chance: Generator, spread: Floats, rounds: int) -> Floats:
    shape = (len(spread), rounds)
    height = STEP * chance.choice([-1.0, 1.0], shape) * (chance.random(shape) < STEPS)
    noise: Floats = independent(chance, spread, rounds) + np.cumsum(height, axis=1)
    return noise


def heavy(chance: Generator, spread: Floats, rounds: int) -> Floats:
    """Student's t with two degrees of freedom: now and then a round is far off."""
    return spread / 2 * chance.standard_t(2, (len(spread), rounds))


def in_time(chance: Generator, spread: Floats, rounds: int) -> Floats:
    """Something disturbs the outer rounds of every block, as a job each minute would if a block
    took a minute."""
    outer: Floats = 2 * spread * np.tile([1.0, 0.0, 0.0, 1.0], rounds // 4)
    return independent(chance, spread, rounds) + outer


Noise = Callable[[Generator, Floats, int], Floats]

KINDS: Final[dict[str, Noise]] = {
    "independent": independent,
    "AR(1)": autoregressive,
    "drift": drift,
    "steps": steps,
}
HARD: Final[dict[str, Noise]] = {"heavy tails": heavy, "in time with blocks": in_time}


@dataclass(frozen=True, slots=True)
class Simulated:
    """Comparisons of two arms, with log quantiles of rounds as the draw has ordered them."""

    drawn: tuple[tuple[Order, ...], ...]
    logs: Floats
    """(comparisons, blocks, rounds)."""
    turned: Floats
    """Signs of the null pairs, of inner rounds and outer ones: (comparisons, blocks, 2)."""

    def cut(self, blocks: int) -> tuple[Floats, ...]:
        """Differences of the pairs of the first blocks, (comparisons, blocks, 2)."""
        flat = [one for each in self.drawn for one in each[:blocks]]
        found = paired(self.logs[:, :blocks].reshape(len(flat), -1), flat)
        return tuple(found.reshape(len(self.drawn), blocks, 2))

    def null(self) -> Floats:
        inner, outer = (self.logs[..., late] - self.logs[..., 3 - late] for late in (2, 3))
        return self.turned[:, : self.logs.shape[1]] * np.stack((inner, outer), axis=2)


class Draws:
    """Orders are drawn once, noise anew for each row. Arm 1 is compared with arm 0."""

    def __init__(self, samples: int, arms: int = 2) -> None:
        self.chance = np.random.default_rng(SEED)
        self.rounds = 2 * arms
        self.orders = tuple(orders(SEED + n, MOST_BLOCKS, arms) for n in range(samples))
        self.arms = np.array(self.orders)
        self.turned = self.chance.choice([-1.0, 1.0], (samples, MOST_BLOCKS, 2))

    def simulate(self, noise: Noise, blocks: int, shift: float = 1.0) -> Simulated:
        spread = self.chance.uniform(*SPREAD, (len(self.orders), 1))
        logs = noise(self.chance, spread, self.rounds * blocks).reshape(-1, blocks, self.rounds)
        return Simulated(
            tuple(each[:blocks] for each in self.orders),
            logs + np.log(shift) * (self.arms[:, :blocks] == 1),
            self.turned,
        )


def stopped(simulated: Simulated, width: float) -> list[Floats]:
    """Differences of the pairs that `--until` has had measured."""
    found = []
    for differences, pairs_of_equals in zip(
        simulated.cut(MOST_BLOCKS), simulated.null(), strict=True
    ):
        blocks = FIRST
        while blocks < MOST_BLOCKS and not enough(pairs_of_equals[:blocks], width, ALPHA):
            blocks += 1
        found.append(differences[:blocks])
    return found


def missed(samples: Sequence[Floats], truth: float) -> float:
    """How many intervals leave the true ratio out."""
    at, out = np.log(truth), 0
    for each in samples:
        interval = signed_rank(units(each)).interval(ALPHA)
        out += not interval.low <= at <= interval.high
    return out / len(samples)


def level(draws: Draws, name: str, noise: Noise, checked: bool) -> bool:
    """A row for each number of pairs and each width; whether all targets hold."""
    held = True
    for stop in (*PAIRS, *(WIDTHS if draws.rounds == 4 else ())):
        misses, lengths = [], []
        for shift in SHIFTS:
            if isinstance(stop, int):
                samples: Sequence[Floats] = draws.simulate(noise, stop // 2, shift).cut(stop // 2)
            else:
                samples = stopped(draws.simulate(noise, MOST_BLOCKS, shift), stop)
            misses.append(missed(samples, shift))
            lengths += [each.size for each in samples]
        good = misses[0] <= MOST_CALLED and max(misses[1:]) <= 1 - LEAST_COVERED
        exact = size(unit_count(stop // 2), ALPHA) if isinstance(stop, int) else None
        if exact is not None and noise is independent:
            good = good and all(abs(each - exact) <= POINT for each in misses)
        pairs = f"{stop}" if exact is not None else f"until {stop:.0%}: {np.median(lengths):.0f}"
        print(
            f"| {name} | {pairs} | {f'{exact:.1%}' if exact else '-'} | {misses[0]:.1%} | "
            + " | ".join(f"{1 - each:.1%}" for each in misses[1:])
            + f" | {'' if not checked else 'held' if good else 'NOT HELD'} |",
            flush=True,
        )
        held = held and good
    return held or not checked


def sittings(draws: Draws, noise: Noise, restarts: int, shift: float) -> Floats:
    """Log ratios of duets, one a restart: slices in turns of drawn order, noise that goes on from
    slice to slice, and what a process has that the next one has not."""
    count = len(draws.orders)
    spread = draws.chance.uniform(*SPREAD, (count, 1))
    shape = (count, restarts, TURNS, 2)
    logs = noise(draws.chance, spread, restarts * TURNS * 2).reshape(shape)
    first = draws.chance.integers(0, 2, (*shape[:-1], 1))
    a = np.take_along_axis(logs, first, axis=3)
    b = np.take_along_axis(logs, 1 - first, axis=3)
    own = PROCESS * draws.chance.standard_normal((count, restarts, 2))
    found: Floats = (b - a)[..., 0].mean(axis=2) + own[..., 1] - own[..., 0] + np.log(shift)
    return found


def duets(draws: Draws, name: str, noise: Noise) -> bool:
    """As :func:`level`, for numbers of restarts."""
    held = True
    for restarts in RESTARTS:
        exact = size(unit_count(restarts // 2), ALPHA)
        misses = []
        for shift in SHIFTS:
            logs = sittings(draws, noise, restarts, shift)
            misses.append(missed([each.reshape(-1, 2) for each in logs], shift))
        good = misses[0] <= MOST_CALLED and max(misses[1:]) <= 1 - LEAST_COVERED
        if noise is independent:
            good = good and all(abs(each - exact) <= POINT for each in misses)
        print(
            f"| {name} | {restarts} | {exact:.1%} | {misses[0]:.1%} | "
            + " | ".join(f"{1 - each:.1%}" for each in misses[1:])
            + f" | {'held' if good else 'NOT HELD'} |",
            flush=True,
        )
        held = held and good
    return held


def called(samples: Floats) -> tuple[float, float]:
    """Of rows of units: how many intervals exclude 0, and their median width."""
    cut = rank(samples.shape[1], ALPHA)
    ordered = np.sort(walsh(samples), axis=1)
    low, high = ordered[:, cut - 1], ordered[:, -cut]
    return float(np.mean((low > 0) | (high < 0))), float(np.median(high - low))


def other_designs(draws: Draws, pairs: int) -> None:
    """Nulls called, and width: neighbours as pairs, pairs made crosswise, blocks as units."""
    for name, noise in {**KINDS, **HARD}.items():
        simulated = draws.simulate(noise, pairs // 2)
        logs = simulated.logs
        second_first = draws.arms[:, : pairs // 2, 0] * -2 + 1
        neighbours = np.stack((logs[..., 1] - logs[..., 0], logs[..., 2] - logs[..., 3]), axis=2)
        neighbours = neighbours * second_first[..., None]
        crosswise = np.stack(simulated.cut(pairs // 2))
        ways = (
            neighbours.reshape(len(logs), -1),
            crosswise.reshape(len(logs), -1),
            neighbours.mean(axis=2),
        )
        cells = [f"{out:.1%}, {wide:.3f}" for out, wide in map(called, ways)]
        print(f"| {name} | {pairs} | " + " | ".join(cells) + " |", flush=True)


def stopping_by_the_interval(draws: Draws, noise: Noise, width: float) -> float:
    """Nulls called where the rounds end as soon as the interval itself is narrow."""
    out = 0
    samples = draws.simulate(noise, MOST_BLOCKS).cut(MOST_BLOCKS)
    for each in samples:
        interval = signed_rank(units(each)).interval(ALPHA)
        for blocks in range(3, MOST_BLOCKS):
            looked_at = signed_rank(units(each[:blocks])).interval(ALPHA)
            if looked_at.high - looked_at.low <= np.log1p(width):
                interval = looked_at
                break
        out += interval.low > 0 or interval.high < 0
    return out / len(samples)


def bursts(draws: Draws, pairs: int = 12) -> tuple[float, float]:
    """Nulls called where failures come ten at a time: by pooled counts alone, and by both."""
    requests, share, burst = 500, 0.01, 10
    pooled = both = 0
    for drawn in draws.orders:
        failed = burst * draws.chance.poisson(requests * share / burst, (pairs // 2, 4))
        arms = np.array(drawn[: pairs // 2])
        counts = [Counts(int(failed[arms == arm].sum()), requests * pairs) for arm in (0, 1)]
        pooled += fisher(*counts) <= ALPHA
        shares = paired(failed / requests, drawn[: pairs // 2])
        interval = failures_of(shares, *counts).interval(ALPHA)
        both += not interval.low <= 0 <= interval.high
    return pooled / len(draws.orders), both / len(draws.orders)


def fisher(first: Counts, second: Counts) -> float:
    """The exact test of pooled counts, in its form for rare failures: all of them, at even odds."""
    total = first.failed + second.failed
    return min(1.0, 2 * binomial.at_least(max(first.failed, second.failed), total, 0.5))


def statistics_s(chance: Generator) -> float:
    """48 rounds of 10 metrics with all that a result has: verdict, guardrails, ratio function."""
    blocks = 12
    drawn = orders(SEED, blocks)
    times = [[np.exp(chance.standard_normal(2_000)) for _ in range(4)] for _ in range(blocks)]
    logs = 0.08 * chance.standard_normal((10, blocks, 4))
    began = time.perf_counter()
    samples = [Sample(paired(each, drawn)) for each in logs]
    verdicts([Comparison(samples[0], tuple(samples[1:]), tuple(s.log_ratios for s in samples[:3]))])
    ratio_function(times, drawn, quantiles=[k / 100 for k in range(1, 100)])
    for each in logs:
        foresee(np.stack([null(each, drawn, arm, SEED) for arm in (0, 1)], axis=1), 24, ALPHA)
    return time.perf_counter() - began


def main(samples: int) -> int:
    draws = Draws(samples)
    taken = statistics_s(np.random.default_rng(SEED))
    print(f"{samples:,} comparisons a figure; sd {SPREAD[0]}-{SPREAD[1]} of a round's log P50\n")
    print("| noise | pairs | exact size | called at 1.00 | covered 1.01 | 1.05 | 1.20 | |")
    print("|---|---|---|---|---|---|---|---|")
    rows = [level(draws, name, noise, True) for name, noise in KINDS.items()]
    three = Draws(samples, arms=3)
    rows += [level(three, f"{name}, 3 arms", noise, True) for name, noise in KINDS.items()]
    rows += [level(draws, name, noise, False) for name, noise in HARD.items()]
    print("\nDuets\n")
    print("| noise | restarts | exact size | called at 1.00 | covered 1.01 | 1.05 | 1.20 | |")
    print("|---|---|---|---|---|---|---|---|")
    rows += [duets(draws, name, noise) for name, noise in KINDS.items()]
    print("\nNulls called and width of the interval, by what the unit is\n")
    print("| noise | pairs | neighbours | crosswise | blocks |")
    print("|---|---|---|---|---|")
    for pairs in (12, 20, 24):
        other_designs(draws, pairs)
    print("\nNulls called where rounds end as soon as the interval itself is narrow\n")
    print("| noise | " + " | ".join(f"{width:.0%}" for width in WIDTHS) + " |\n|---|---|---|")
    for name, noise in KINDS.items():
        found = (stopping_by_the_interval(draws, noise, width) for width in WIDTHS)
        print(f"| {name} | " + " | ".join(f"{each:.1%}" for each in found) + " |", flush=True)
    pooled, both = bursts(draws)
    print(f"\nFailures in bursts of ten, nulls called: pooled counts {pooled:.1%}, both {both:.1%}")
    print(f"\nstatistics of 48 rounds x 10 metrics: {taken:.2f} s (target {STATISTICS_S:.0f} s)")
    return 0 if all(rows) and taken <= STATISTICS_S else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES))
