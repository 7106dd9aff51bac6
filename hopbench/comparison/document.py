"""``hopbench.verdict/1``, and of more than two arms ``hopbench.verdicts/1`` (docs/output.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hopbench.comparison.ledger import Rate
from hopbench.results.latency import Headline
from hopbench.runs.design import Kind, Old
from hopbench.statistics.effect import Outcome
from hopbench.statistics.variance import Variance

Interval = tuple[float | None, float | None]
"""An end is None where so few pairs cannot bound it."""


@dataclass(frozen=True, slots=True)
class RaisedDoubt:
    code: str
    text: str
    rounds: int | None
    """In how many; None for one about the comparison as a whole."""
    voids: bool


@dataclass(frozen=True, slots=True)
class Pair:
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class MetricRow:
    metric: str
    entry: str | None
    """None: of all requests; of a time, with several entries, the weighted geometric mean."""
    unit: str
    primary: bool
    a: float
    b: float
    """Medians over the rounds of valid blocks."""
    ratio: float | None
    """b/a, Hodges and Lehmann's estimate; None of what may be zero."""
    difference: float | None
    """b - a, where there is no ratio; in ``unit``, of failed requests a share of all."""
    interval: Interval
    """Of the one that is told. At the level, as if the metric were alone; ``p`` goes with it."""
    p: float
    interval_adjusted: Interval
    """At its level within its family; ``p_adjusted`` and ``verdict`` go with it."""
    p_adjusted: float
    verdict: Outcome
    mde: float | None
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class GuardrailRow:
    metric: str
    entry: str | None
    a: float
    b: float
    ratio: float | None
    difference: float | None
    interval: Interval
    p_adjusted: float
    worse: bool
    ruled_out: bool
    """Whether the interval says that it did not get worse; where neither is true, nobody knows."""


@dataclass(frozen=True, slots=True)
class RatioPoint:
    entry: str
    quantile: float
    ratio: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Null:
    """Of pairs of rounds of one arm, by the primary metric."""

    pairs: int
    metric: str
    ratio: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Sides:
    a: float | None
    b: float | None


@dataclass(frozen=True, slots=True)
class Voided:
    """Void rounds of each arm for which blocks were measured once more."""

    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Spillover:
    """What tracing does to the P50 of requests that are not sampled: with it, minus without."""

    a: float
    a_interval: Interval
    b: float
    b_interval: Interval


@dataclass(frozen=True, slots=True)
class WhyRow:
    """A part of the mean duration of sampled requests at the entry. Those by edge add up to it, and
    those by call path do."""

    edge: str | None
    """``caller.operation->callee.operation``: the wire, and the callee's own time; or an entry:
    what it does itself. None of a row by path."""
    path: str | None
    """The operations that lead there, ``entry > … > callee.operation``; None of a row by edge."""
    a_ms: float
    b_ms: float
    change_ms: Interval
    """Of b - a, at the level, each part as if it were alone."""
    a_calls: float | None
    """Per request of the entries that lead to it; None of an entry."""
    b_calls: float | None


@dataclass(frozen=True, slots=True)
class Means:
    """Mean durations, of rounds that count: what ``why`` adds up to, and what was not sampled."""

    sampled: Sides
    """At the entry: without the wire between it and the generator."""
    headline: Sides
    """Response times of the requests that the verdict is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    schema: Literal["hopbench.verdict/1"] = "hopbench.verdict/1"
    scenario: str
    scenario_sha256: str
    run_dir: str
    engine: str
    clock: str
    rate_rps: float | None
    """Of a comparison at several rates."""
    headline: Headline
    """The requests whose response times are compared."""
    a: str
    b: str
    arms: tuple[int, int]
    """Their numbers: both may be of one variant."""
    design: Kind
    planned_pairs: int
    pairs: int
    """Of blocks without a void round."""
    unit: Literal["block", "pair"]
    """What the tests take as independent."""
    restarts: int
    """Of the services, for each arm's rounds that count."""
    rounds: int
    void_rounds: int
    repeated_blocks: int
    repeated_for: Voided
    resumed: bool
    level: float
    size: float
    """The chance to miss that the primary interval really has."""
    delta: float
    until: float | None
    """The declared width of the interval at which it ended; None for a fixed number of pairs."""
    seed: int
    old: Old | None
    """The run that ``a`` is of: measured afresh; what it showed then is no part of the verdict."""
    primary: str
    entries: tuple[str, ...]
    """Of the load."""
    verdict: Outcome
    sentence: str
    doubts: tuple[RaisedDoubt, ...]
    metrics: tuple[MetricRow, ...]
    guardrails: tuple[GuardrailRow, ...]
    ratio_function: tuple[RatioPoint, ...]
    null: Null | None
    variance: Variance | None
    """Of the log primary metric, the mean of both arms; None where rounds are too short to tell it
    in parts."""
    ledger: Rate | None
    """None of a run that does not lie in ``runs/``."""
    direct_tax_ms: Sides
    spillover_ms: Spillover | None
    """None without ``--observer``."""
    mean_ms: Means
    why: tuple[WhyRow, ...]
    """By edge, then by path, each time the largest change first; empty where not every round has a
    complete trace."""

    @property
    def first(self) -> MetricRow | None:
        """The primary metric; None where no pair tells it."""
        return next((row for row in self.metrics if row.primary), None)

    @property
    def by_edge(self) -> tuple[WhyRow, ...]:
        return tuple(row for row in self.why if row.path is None)

    @property
    def by_path(self) -> tuple[WhyRow, ...]:
        """Of edges that several paths lead to: the others' are the edges over again."""
        rows = [(row, row.path.split(" > ")[-2:]) for row in self.why if row.path is not None]
        steps = [step for _, step in rows]
        return tuple(row for row, step in rows if steps.count(step) > 1)


@dataclass(frozen=True, slots=True)
class AtRate:
    rate_rps: float
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    schema: Literal["hopbench.verdicts/1"] = "hopbench.verdicts/1"
    scenario: str
    comparisons: tuple[Verdict, ...] = ()
    """Every arm but the first against the first; they form one family. Empty of several rates."""
    load: tuple[AtRate, ...] = ()
    """Of several rates: the same at each; all of them form one family."""
    flips: tuple[str, ...] = ()
    """Arms that are faster at one rate and slower at another."""


Document = Verdict | Verdicts


def doubts(of: Sequence[Verdict]) -> tuple[RaisedDoubt, ...]:
    """Of all arms, each once; those that void first."""
    every = dict.fromkeys(doubt for each in of for doubt in each.doubts)
    return tuple(sorted(every, key=lambda doubt: not doubt.voids))


def comparisons(document: Document) -> tuple[Verdict, ...]:
    if isinstance(document, Verdict):
        return (document,)
    return document.comparisons or tuple(each.verdict for each in document.load)
