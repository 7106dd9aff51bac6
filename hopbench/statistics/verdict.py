"""The verdict of a comparison, and of several that belong together.

Every arm but the first is compared with the first, at each rate. Three families, each with the
level to itself, over *all* arms and rates: the primaries (so one arm at one rate has the full
level), the secondaries, and the guardrails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

from hopbench.statistics.effect import Effect, Outcome, Sample, effects
from hopbench.statistics.failures import Failures
from hopbench.statistics.guardrails import MARGIN, Guardrail, Watched, guardrails


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What was measured of one arm at one rate, against the first arm."""

    primary: Sample
    secondary: tuple[Sample | Failures, ...] = ()
    watched: tuple[Watched, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Effects and guardrails stand in the order of the comparison's."""

    outcome: Outcome
    primary: Effect
    secondary: tuple[Effect, ...]
    guardrails: tuple[Guardrail, ...]


def verdicts(
    comparisons: Sequence[Comparison],
    *,
    alpha: float = 0.05,
    delta: float = 0.05,
    margin: float = MARGIN,
) -> tuple[Verdict, ...]:
    """One for each comparison, in the order given. Raises ValueError as `effects` does."""
    primaries = effects([each.primary for each in comparisons], alpha=alpha, delta=delta)
    every_secondary = chain.from_iterable(each.secondary for each in comparisons)
    secondaries = iter(effects(list(every_secondary), alpha=alpha, delta=delta))
    every_watched = chain.from_iterable(each.watched for each in comparisons)
    watches = iter(guardrails(list(every_watched), alpha=alpha, margin=margin))
    return tuple(
        Verdict(
            primary.outcome,
            primary,
            tuple(islice(secondaries, len(each.secondary))),
            tuple(islice(watches, len(each.watched))),
        )
        for each, primary in zip(comparisons, primaries, strict=True)
    )
