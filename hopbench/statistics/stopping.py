"""When `--until WIDTH` has measured enough, without looking at what is being decided.

Stopping where the interval itself has become narrow keeps the rounds whose spread happens to look
small: 7 % of nulls are called then. The rule here looks at null pairs only, two rounds of one arm.
What they say of the spread is the same for either sign of a block's difference, so that the sign
stays the fair coin that the test relies on, at whichever block the rule stops (docs/measurement.md,
"Verdicts: is the level kept"). That holds for blocks as units, so the first look is when they are:
of pairs as units the null pairs of their block would know a part. The price: the width is one to be
expected, and the interval found is a little wider or narrower; it is printed as it is.
"""

from __future__ import annotations

from typing import Final

from hopbench.statistics import Floats
from hopbench.statistics.blocks import BY_BLOCK, PAIRS
from hopbench.statistics.power import foresee

FIRST: Final = BY_BLOCK
"""Blocks before the first look: 20 pairs."""


def enough(null: Floats, width: float, alpha: float) -> bool:
    """After each block: whether the interval is as narrow as declared by now.

    ``null``: log ratios of the null pairs of both arms so far, (blocks, 2). ``width``: 0.05 where
    the interval's upper end may exceed its lower one by 5 %. Raises ValueError where it is not
    positive.
    """
    if width <= 0:
        raise ValueError("a width is a positive share")
    return len(null) >= FIRST and foresee(null, PAIRS * len(null), alpha).width <= width
