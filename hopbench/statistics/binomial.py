"""Exact intervals for a share: the ledger's rate of called nulls, and shares of failed requests.

Clopper & Pearson 1934: the shares at which what was seen, or more (or less) of it, has a chance of
alpha / 2. Never misses more often than alpha; misses less often where counts are small.
"""

from __future__ import annotations

import math
from typing import Final

_STEPS: Final = 100
_TERMS: Final = 10_000
_TINY: Final = 1e-300


def interval(count: int, of: int, alpha: float) -> tuple[float, float]:
    """Of the share behind ``count`` out of ``of``; (0, 1) where ``of`` is 0.

    Raises ValueError where the count is negative or more than ``of``, or alpha not within 0 to 1.
    """
    if not 0 <= count <= of:
        raise ValueError(f"{count} of {of} is no share")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    low = 0.0 if count == 0 else _share(count, of, alpha / 2)
    high = 1.0 if count == of else 1 - _share(of - count, of, alpha / 2)
    return low, high


def at_least(count: int, of: int, share: float) -> float:
    """P(X >= count) for X binomial: the regularised incomplete beta function."""
    if count <= 0:
        return 1.0
    if count > of or share <= 0:
        return 0.0
    return 1.0 if share >= 1 else math.exp(_log_beta(count, of - count + 1, share))


def _share(count: int, of: int, chance: float) -> float:
    """The share at which P(X >= count) is ``chance``, for a count above 0.

    Newton's steps on log P as a function of log share. It is concave there (a beta distribution is
    log-concave), and starts as count * log share + log C(of, count), which lies above it: so the
    steps rise towards the root and never pass it.
    """
    a, b = count, of - count + 1
    ways = math.lgamma(of + 1) - math.lgamma(a + 1) - math.lgamma(b)
    share = math.exp((math.log(chance) - ways) / count)
    for _ in range(_STEPS):
        log_p = _log_beta(a, b, share)
        log_density = math.log(a) + ways + a * math.log(share) + (b - 1) * math.log1p(-share)
        step = (math.log(chance) - log_p) / math.exp(log_density - log_p)
        if step < 1e-14:
            break
        share *= math.exp(step)
    return share


def _log_beta(a: float, b: float, x: float) -> float:
    """log I_x(a, b), 0 < x < 1, by Lentz's continued fraction on the side where it is fast."""
    if x > (a + 1) / (a + b + 2):
        return math.log1p(-math.exp(_log_beta(b, a, 1 - x)))
    whole = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / _apart(1 + even * d), _apart(1 + even / c)
        fraction *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / _apart(1 + odd * d), _apart(1 + odd / c)
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return whole + a * math.log(x) + b * math.log1p(-x) + math.log(fraction / a)


def _apart(value: float) -> float:
    """Not zero, since it is divided by."""
    return value or _TINY
