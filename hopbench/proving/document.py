"""``hopbench.proof/1`` (docs/output.md): a ladder of refactors, each with what it gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from analysis.findings.finding import Where
from hopbench.comparison.document import Interval, RaisedDoubt, Verdict


@dataclass(frozen=True, slots=True)
class Found:
    """The finding that a step goes by."""

    kind: str
    fingerprint: str
    where: Where
    text: str
    cost_ms: float | None
    """P50, on the critical path."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a refactor did on the rounds that select."""

    refactor: str
    """Its name."""
    ratio: float | None
    """Of the primary metric, by itself; None where many were screened together."""
    interval: Interval
    """As if it were alone."""
    entry: str | None = None
    """Of many together: where it changed most, by standard errors."""
    saved_ms: float | None = None
    """P50, there."""
    interval_ms: Interval | None = None


@dataclass(frozen=True, slots=True)
class Screen:
    """One for each depth: rounds that say which refactors are worth fresh ones."""

    depth: int
    run_dir: str
    runs: int
    design: Literal["one_by_one", "plackett_burman"]
    effects: tuple[Effect, ...]
    departure_ms: float | None
    """Of many together: as large as interactions show, at any entry."""


@dataclass(frozen=True, slots=True)
class Step:
    """A rung of the ladder."""

    depth: int
    """From 1: in how manieth a look it was found."""
    name: str
    """Of the refactor, as a variant."""
    refactor: Mapping[str, Any]
    """As a scenario file writes it."""
    finding: Found
    predicted_ms: tuple[float, float] | None
    entry: str | None
    """Where it changed most; what it saved is of this one."""
    quantile: int
    """At which it is to show, in percent."""
    estimate_ms: float | None
    """Of what it saved."""
    saved_ms: Interval | None
    """At the level, as if the figure were alone."""
    verdict: Verdict | None
    """By fresh rounds where the screen gave reason for some, else the screen's; None where it was
    not measured."""
    confirmed: bool
    """Whether the verdict is by fresh rounds."""
    held: bool
    why: str


@dataclass(frozen=True, slots=True)
class Final:
    """All that held, against the baseline, by fresh rounds."""

    refactors: tuple[Mapping[str, Any], ...]
    verdict: Verdict
    scenario: str
    """The file; with a variant ``proved`` where no file can say the scenario itself."""
    variant: str | None
    """That variant, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    schema: Literal["hopbench.proof/1"] = "hopbench.proof/1"
    scenario: str
    scenario_sha256: str
    run_dir: str
    engine: str
    clock: str
    sentence: str
    doubts: tuple[RaisedDoubt, ...]
    budget_s: float | None
    spent_s: float
    """What the rounds took, over all sittings."""
    depths: int
    """How often it was looked for findings."""
    baseline: str | None
    """The directory of the rounds that were looked at first; None where none has ended."""
    screen: tuple[Screen, ...]
    steps: tuple[Step, ...]
    final: Final | None
    """None where nothing held, or not everything ran."""
    finished: bool
    """Whether everything ran."""
