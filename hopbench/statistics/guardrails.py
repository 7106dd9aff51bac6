"""What must not get worse: called worse where that is shown, whatever the verdict is.

A guardrail is worse where its interval lies wholly beyond its margin: above a ratio of 1.05, or
above a difference of 0 for failures (5 % of all requests more failing would be no guard, and a
difference is told only by `failures`, which is careful enough). What is tested is therefore the
*margin*, not equality: p is that of the margin, Holm adjusts it among the guardrails, and the
chance that any is called worse while it is within its margin is at most alpha.

That nothing got worse is a statement of its own, and takes an interval that lies wholly within the
margin: few pairs, or noisy ones, call nothing worse and rule nothing out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hopbench.statistics import Floats, holm
from hopbench.statistics.blocks import units
from hopbench.statistics.effect import EQUAL_FAILURES, ratios
from hopbench.statistics.failures import Failures
from hopbench.statistics.signed_rank import SignedRank, signed_rank

MARGIN: Final = 0.05
FAILURES_MARGIN: Final = 0.0

Watched = Floats | Failures
"""Log ratios of the valid pairs, (blocks, 2) with at least one block; or failed shares."""


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One of ``ratio`` and ``difference`` is given, and the interval is on its scale."""

    ratio: float | None
    difference: float | None
    interval: tuple[float, float]
    """At the guardrail's own alpha within its family."""
    p_adjusted: float
    """Of the margin, not of equality: worse where at most alpha."""
    worse: bool
    ruled_out: bool
    """Whether the interval says that it is not: within MARGIN, or EQUAL_FAILURES."""


def guardrails(
    watched: Sequence[Watched],
    *,
    alpha: float,
    margin: float = MARGIN,
    failures_margin: float = FAILURES_MARGIN,
) -> tuple[Guardrail, ...]:
    """Of one family, in the order given. Less is better for each of them."""
    evidence = [
        each if isinstance(each, Failures) else signed_rank(units(each)) for each in watched
    ]
    margins = [failures_margin if isinstance(e, Failures) else math.log1p(margin) for e in evidence]
    p = [each.above(at) for each, at in zip(evidence, margins, strict=True)]
    judged = zip(evidence, margins, holm.adjusted(p), holm.alphas(p, alpha), strict=True)
    return tuple(_guardrail(each, at, float(q), float(own)) for each, at, q, own in judged)


def _guardrail(
    evidence: SignedRank | Failures, margin: float, p_adjusted: float, alpha: float
) -> Guardrail:
    interval = evidence.interval(alpha)
    worse = interval.low > margin
    if isinstance(evidence, Failures):
        ends, ruled_out = (interval.low, interval.high), interval.high <= EQUAL_FAILURES
        return Guardrail(None, evidence.estimate, ends, p_adjusted, worse, ruled_out)
    ratio, ruled_out = math.exp(evidence.estimate), interval.high <= margin
    return Guardrail(ratio, None, ratios(interval), p_adjusted, worse, ruled_out)
