"""Holm's step-down adjustment for a family of tests, and intervals that agree with it.

Holm 1979: of m hypotheses in the order of their p, the i-th (from 0) is held against
alpha / (m - i), until the first that stands; from there on all stand. The chance that any true
hypothesis of the family is called is at most alpha, however the tests depend on each other.

The interval of each is drawn at the alpha at which Holm has judged it, and all that stand at the
alpha of the first that stood. So an interval leaves its hypothesis out exactly where the adjusted p
is at most alpha. Each such interval alone misses with a chance of at most its own alpha; *all at
once* cover with 1 - alpha only where none was called (then they are Bonferroni's). Intervals that
agree with Holm, cover all at once and still say something of what was called do not exist
(Strassburger & Bretz 2008); who needs all at once takes alpha / m for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hopbench.statistics import Floats


def adjusted(p: Sequence[float]) -> Floats:
    """Adjusted p, in the order given; called where at most alpha. An empty family gives none."""
    given = np.asarray(p, np.float64)
    order = np.argsort(given, kind="stable")
    found = np.empty_like(given)
    found[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * _standing(len(given))))
    return found


def alphas(p: Sequence[float], alpha: float) -> Floats:
    """The alpha at which each was judged, in the order given: between alpha / m and alpha."""
    given = np.asarray(p, np.float64)
    order = np.argsort(given, kind="stable")
    each = alpha / _standing(len(given))
    stands = np.flatnonzero(given[order] > each)
    if len(stands):
        each[stands[0] :] = each[stands[0]]
    found = np.empty_like(given)
    found[order] = each
    return found


def _standing(m: int) -> Floats:
    """How many hypotheses are left at each step: m, m - 1, … 1."""
    return np.arange(m, 0, -1, dtype=np.float64)
