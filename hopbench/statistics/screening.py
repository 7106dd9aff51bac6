"""Which of many factors matter: twelve runs that tell the main effects of up to eleven.

Plackett & Burman, The design of optimum multifactorial experiments, Biometrika 33 (1946): every
factor is on in half of the runs, and each two are on together in a quarter, so that the effect of
one is a difference of means in which the others cancel. Interactions do not cancel: what two
factors do together is spread over the effects of the others, a third of it each. So effects are to
be taken in a unit in which factors add up (ms saved, not ratios), and what is found is to be
confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hopbench.statistics import Floats

RUNS: Final = 12
MOST: Final = RUNS - 1
_FIRST: Final = (1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0)
"""Their generating row; the others are its rotations, and one run has no factor on."""


@dataclass(frozen=True, slots=True)
class Effects:
    """In the unit of the responses; below 0 is less with the factor than without."""

    estimates: Floats
    """By factor."""
    error: float
    """The standard error of each."""
    degrees: int
    """Of freedom, of that error."""
    departure: float | None
    """The largest difference between the mean of a run and what the effects add up to: as large as
    interactions show; None where eleven factors leave nothing to tell it by."""


def design(factors: int) -> NDArray[np.bool_]:
    """(RUNS, factors): which are on. The first run has none. Raises ValueError for more than MOST,
    or none."""
    if not 1 <= factors <= MOST:
        raise ValueError(f"1 to {MOST} factors, not {factors}")
    rows = [np.roll(_FIRST, shift)[:factors] for shift in range(MOST)]
    return np.array([[0] * factors, *rows], np.bool_)


def limit(alpha: float, degrees: int) -> float:
    """How many standard errors an effect is from 0, by chance alone, in a share ``alpha`` of cases:
    Student's t, two-sided, by Fisher & Cornish's expansion (Technometrics 2, 1960), which is right
    to two hundredths from ten degrees on."""
    z = NormalDist().inv_cdf(1 - alpha / 2)
    first = (z**3 + z) / (4 * degrees)
    return z + first + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def effects(responses: Floats, factors: int) -> Effects:
    """``responses``: (replicates, RUNS), runs as in :func:`design`; what a replicate has in common
    (a slow minute) cancels.

    Raises ValueError for fewer than two replicates, or another number of runs.
    """
    if responses.ndim != 2 or responses.shape[1] != RUNS or len(responses) < 2:
        raise ValueError(f"two replicates of {RUNS} runs at least, not {responses.shape}")
    on = design(factors)
    replicates = len(responses)
    about = responses - responses.mean(axis=1, keepdims=True)
    runs = about.mean(axis=0)
    estimates = np.array([runs[column].mean() - runs[~column].mean() for column in on.T])
    fitted = np.where(on, 0.5, -0.5) @ estimates
    degrees = (replicates - 1) * (RUNS - 1)
    variance = float(((about - runs) ** 2).sum()) / degrees
    return Effects(
        estimates=estimates,
        error=float(np.sqrt(4 * variance / (RUNS * replicates))),
        degrees=degrees,
        departure=None if factors == MOST else float(np.abs(runs - fitted).max()),
    )
