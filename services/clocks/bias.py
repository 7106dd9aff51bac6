"""By how much something missed what was asked: a sample of bounded size, and its quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from random import Random
from typing import Final

_KEPT: Final = 4096


class Bias:
    """A uniform sample of all values seen (Vitter's algorithm R), and their number."""

    __slots__ = ("_kept", "_random", "n")

    def __init__(self) -> None:
        self._kept: list[int] = []
        # Which values are kept must not make runs differ.
        self._random = Random(0).random
        self.n = 0

    def add(self, value: int) -> None:
        self.n += 1
        if len(self._kept) < _KEPT:
            self._kept.append(value)
        elif (place := int(self._random() * self.n)) < _KEPT:
            self._kept[place] = value

    def summary(self) -> Mapping[str, float]:
        """``p50`` and ``p99`` by nearest rank, and ``n``; ``n`` alone where nothing was seen."""
        if not self._kept:
            return {"n": 0}
        ordered = sorted(self._kept)
        return {
            "p50": ordered[ceil(0.5 * len(ordered)) - 1],
            "p99": ordered[ceil(0.99 * len(ordered)) - 1],
            "n": self.n,
        }
