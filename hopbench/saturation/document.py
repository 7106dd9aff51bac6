"""``hopbench.saturate/1`` (docs/output.md): the rates that were tried, and the knee."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from analysis.figures import digits
from hopbench.saturation.search import Look, Outcome, bracket
from hopbench.saturation.step import Predicted, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    schema: Literal["hopbench.saturate/1"] = "hopbench.saturate/1"
    scenario: str
    scenario_sha256: str
    variant: str
    run_dir: str
    engine: str
    clock: str
    objective: str | None
    sentence: str
    steps: tuple[Step, ...]
    """In the order in which they were tried."""
    knee_rps: float | None
    """The highest rate that was held, where a little more was not; None where the generator gave
    out first, or a round did not say."""
    at_least_rps: float | None
    """The highest rate that was held."""
    within: float
    """How near the knee was to be found, as a share."""
    predicted_rps: float | None
    """By the utilisation law, from CPU time per request at the first rate; None where it is not
    known, as in virtual time."""
    predicted_bottleneck: str | None
    finished: bool


def looks(steps: Iterable[Step]) -> list[Look]:
    return [Look(each.offered_rps, each.outcome) for each in steps]


def knee(steps: Iterable[Step]) -> float | None:
    held, lost = bracket(looks(steps))
    return held if lost is not None and lost.outcome is Outcome.SATURATED else None


def sentence(steps: Iterable[Step], predicted: Predicted | None, *, finished: bool) -> str:
    steps = list(steps)
    held, lost = bracket(looks(steps))
    above = next((s for s in steps if lost is not None and s.offered_rps == lost.rate_rps), None)
    told = (
        ""
        if predicted is None
        else f" The utilisation law says {digits(predicted.rps)}/s ({predicted.bottleneck})."
    )
    if held is None:
        why = "" if above is None else f": at {digits(above.offered_rps)}/s {above.why}"
        return f"No rate was held{why}.{told}"
    if above is None:
        so_far = "" if finished else " so far"
        return f"At least {digits(held)}/s{so_far}: nothing gave out.{told}"
    if above.outcome is Outcome.SATURATED and finished:
        return (
            f"The knee is at {digits(held)}/s; at {digits(above.offered_rps)}/s {above.why}.{told}"
        )
    who = "the generator gave out" if above.outcome is Outcome.GAVE_OUT else "nobody knows"
    return f"At least {digits(held)}/s; at {digits(above.offered_rps)}/s {who}: {above.why}.{told}"
