"""Distributions by their quantile function, so that one uniform draw makes one value."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from statistics import NormalDist

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Constant:
    value: float

    def at(self, u: float) -> float:
        """The value at quantile ``u`` in [0, 1)."""
        return self.value

    def mean(self) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform:
    low: float
    high: float

    def at(self, u: float) -> float:
        return self.low + u * (self.high - self.low)

    def mean(self) -> float:
        return (self.low + self.high) / 2


@dataclass(frozen=True, slots=True)
class Exponential:
    average: float

    def at(self, u: float) -> float:
        return -self.average * math.log1p(-u)

    def mean(self) -> float:
        return self.average


@dataclass(frozen=True, slots=True)
class LogNormal:
    """``median`` and ``sigma``, the standard deviation of the logarithm."""

    median: float
    sigma: float

    def at(self, u: float) -> float:
        return self.median * math.exp(self.sigma * _NORMAL.inv_cdf(min(max(u, 1e-12), 1 - 1e-12)))

    def mean(self) -> float:
        return self.median * math.exp(self.sigma**2 / 2)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Given points of the quantile function, straight lines between them.

    ``quantiles`` rises from 0.0 to 1.0; ``values`` does not fall.
    """

    quantiles: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, u: float) -> float:
        i = min(bisect_right(self.quantiles, u), len(self.quantiles) - 1)
        q0, q1 = self.quantiles[i - 1], self.quantiles[i]
        v0, v1 = self.values[i - 1], self.values[i]
        return v0 + (v1 - v0) * (u - q0) / (q1 - q0)

    def mean(self) -> float:
        return sum(
            (q1 - q0) * (v0 + v1) / 2
            for q0, q1, v0, v1 in zip(
                self.quantiles, self.quantiles[1:], self.values, self.values[1:], strict=False
            )
        )


@dataclass(frozen=True, slots=True)
class Empirical:
    """Each of the values with equal chance."""

    values: tuple[float, ...]

    def at(self, u: float) -> float:
        return self.values[int(u * len(self.values))]

    def mean(self) -> float:
        return sum(self.values) / len(self.values)


Distribution = Constant | Uniform | Exponential | LogNormal | Percentiles | Empirical
