"""What a proof measures, stage by stage: each is a run of its own, with a seed of its own, so that
what selects a refactor is never what says what it gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from analysis.report.calls import EdgeView
from hopbench.comparison.document import Verdict
from hopbench.engines.port import Settings
from hopbench.proving.candidates import Candidate, ordered
from hopbench.results.variant import VariantRow
from hopbench.runs.design import Design, design
from hopbench.runs.plan import RunPlan, comparison_of, plan_of
from hopbench.statistics import Floats
from hopbench.statistics.effect import fewest_pairs
from hopbench.statistics.screening import RUNS
from hopbench.statistics.screening import design as screening_design
from services.scenario.model import Scenario, Variant
from services.scenario.refactors import BASELINE

LOOKS: Final = 2
"""Rounds that are looked at for findings."""
SO_FAR: Final = "so-far"
"""What has held, as the variant that a deeper look begins with."""
FINAL: Final = "final"
FACTOR_BLOCKS: Final = 2
"""Of a screen of many together: four replicates."""
FACTOR_ROUNDS: Final = 2 * FACTOR_BLOCKS * RUNS
_SEEDS: Final = 3
"""Stages of one depth: look, screen, confirm."""


@dataclass(frozen=True, slots=True)
class Asked:
    scenario: Scenario
    """With every flag applied, and no variants."""
    sha256: str
    settings: Settings
    depth: int
    """Most looks."""
    level: float
    delta: float
    repeat_void: int
    budget_s: float | None = None

    @property
    def alpha(self) -> float:
        return round(1 - self.level, 12)


@dataclass(frozen=True, slots=True)
class Looked:
    run_dir: str
    row: VariantRow


@dataclass(frozen=True, slots=True)
class Compared:
    run_dir: str
    rounds: int
    verdicts: tuple[Verdict, ...]
    """Of all arms but the first, by name in ``b``."""
    edges: Mapping[str, Sequence[EdgeView]] = field(default_factory=dict)
    """By arm, as reports draw them."""


@dataclass(frozen=True, slots=True)
class Factored:
    """Rounds of many refactors together (hopbench/statistics/screening.py)."""

    run_dir: str
    rounds: int
    p50_ms: Mapping[str, Floats]
    """By entry: (replicates, runs). Of blocks without a void round."""


class Stages(Protocol):
    """Runs what is asked for, or finds what has run already. Whatever ends the work early is
    raised."""

    def looked(self, stage: str, plan: RunPlan) -> Looked: ...

    def compared(self, stage: str, plan: RunPlan) -> Compared:
        """By the plan that the stage was begun with, where it was."""
        ...

    def factored(self, stage: str, plan: RunPlan) -> Factored:
        """As :meth:`compared`."""
        ...

    def begun(self, stage: str) -> bool:
        """Whether it has run, or in part, in an earlier sitting."""
        ...

    def fits(self, rounds: int) -> bool:
        """Whether so many more rounds are within the budget."""
        ...

    def note(self, text: str) -> None: ...


def looking(asked: Asked, kept: Sequence[Candidate], depth: int) -> RunPlan:
    scenario, base = _with(asked, kept, (), _SEEDS * (depth - 1))
    return plan_of(scenario, asked.sha256, variants=(base,), rounds=LOOKS, settings=asked.settings)


def screening(
    asked: Asked, kept: Sequence[Candidate], tried: Sequence[Candidate], depth: int
) -> RunPlan:
    """Each refactor by itself."""
    return _comparing(asked, kept, tried, _SEEDS * (depth - 1) + 1)


def confirming(
    asked: Asked, kept: Sequence[Candidate], winners: Sequence[Candidate], depth: int
) -> RunPlan:
    """The same of those that a screen gave reason for, by fresh rounds."""
    return _comparing(asked, kept, winners, _SEEDS * (depth - 1) + 2)


def rounds_of(asked: Asked, tried: int) -> int:
    """Of a screen of so many refactors, or of their confirmation."""
    return (tried + 1) * fewest_pairs(asked.alpha, tried)


def factoring(
    asked: Asked, kept: Sequence[Candidate], tried: Sequence[Candidate], depth: int
) -> RunPlan:
    """All of ``tried`` together: an arm for each run of the screen, the first has none of them."""
    on = screening_design(len(tried))
    scenario, base = _with(asked, kept, (), _SEEDS * (depth - 1) + 1)
    refactors = [
        [each.refactor for each, applied in zip(tried, row, strict=True) if applied]
        for row in on[1:]
    ]
    variants = {
        f"run-{number:02}": Variant(
            f"run-{number:02}", "", ordered([*(k.refactor for k in kept), *of_run]), ()
        )
        for number, of_run in enumerate(refactors, 2)
    }
    scenario = replace(scenario, variants={**scenario.variants, **variants})
    made = Design(
        arms=(base, *variants),
        blocks=FACTOR_BLOCKS,
        level=asked.level,
        delta=asked.delta,
        metric="response_p50",
        repeat_void=asked.repeat_void,
    )
    return comparison_of(scenario, asked.sha256, design=made, settings=asked.settings)


def concluding(asked: Asked, kept: Sequence[Candidate], pairs: int) -> RunPlan:
    """The baseline against everything that held."""
    refactors = ordered(each.refactor for each in kept)
    scenario = replace(
        asked.scenario,
        seed=asked.scenario.seed + _SEEDS * asked.depth,
        variants={FINAL: Variant(FINAL, "All that held", refactors, ())},
    )
    return _compared(asked, scenario, (BASELINE, FINAL), pairs)


def _comparing(
    asked: Asked, kept: Sequence[Candidate], tried: Sequence[Candidate], stage: int
) -> RunPlan:
    """The fewest pairs that can call each within the family of all."""
    scenario, base = _with(asked, kept, tried, stage)
    arms = (base, *(each.name for each in tried))
    return _compared(asked, scenario, arms, fewest_pairs(asked.alpha, len(tried)))


def _compared(asked: Asked, scenario: Scenario, arms: tuple[str, ...], pairs: int) -> RunPlan:
    return comparison_of(
        scenario,
        asked.sha256,
        design=design(
            arms,
            pairs=pairs,
            level=asked.level,
            delta=asked.delta,
            metric="response_p50",
            repeat_void=asked.repeat_void,
        ),
        settings=asked.settings,
    )


def _with(
    asked: Asked, kept: Sequence[Candidate], tried: Sequence[Candidate], stage: int
) -> tuple[Scenario, str]:
    """And the name of the arm that the others are held against."""
    variants = {
        each.name: Variant(each.name, "", ordered([*(k.refactor for k in kept), each.refactor]), ())
        for each in tried
    }
    base = BASELINE
    if kept:
        base = SO_FAR
        so_far = Variant(SO_FAR, "What has held", ordered(k.refactor for k in kept), ())
        variants = {SO_FAR: so_far, **variants}
    return replace(asked.scenario, seed=asked.scenario.seed + stage, variants=variants), base
