"""By how much something missed what was asked: a sample of bounded size, and its spread."""

from __future__ import annotations

from math import ceil
from random import Random
from typing import Final

from services.report import Spread

_KEPT: Final = 4096


class Bias:
    """A uniform sample of all values seen (Vitter's algorithm R), and their number."""

    __slots__ = ("_kept", "_largest", "_random", "n")

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._largest = 0
        # Which values are kept must not make runs differ.
        self._random = Random(0).random
        self.n = 0

    def add(self, value: int) -> None:
        self.n += 1
        self._largest = value if self.n == 1 else max(self._largest, value)
        if len(self._kept) < _KEPT:
            self._kept.append(value)
        elif (place := int(self._random() * self.n)) < _KEPT:
            self._kept[place] = value

    def spread(self) -> Spread:
        """P50 and P99 of the sample by nearest rank; the largest of all values."""
        if not self._kept:
            return Spread()
        ordered = sorted(self._kept)
        return Spread(
            n=self.n,
            p50=ordered[ceil(0.5 * len(ordered)) - 1],
            p99=ordered[ceil(0.99 * len(ordered)) - 1],
            max=self._largest,
        )
