"""Arithmetic on parent arrays, without recursion and without a loop over levels.

A forest is one int32 array: the parent's row, or -1. Questions about ancestors are answered by
pointer doubling: after k rounds every row knows the answer over its 2^k nearest ancestors, so a
chain of 10,000 takes 14 rounds of whole-array work, and a flat tree one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.arrays import I32, I64, Bool


@dataclass(frozen=True)
class Forest:
    """``parent`` must be free of cycles (:func:`cyclic` finds them)."""

    parent: I32

    @cached_property
    def lifts(self) -> tuple[I32, ...]:
        """``lifts[k][row]`` is the ancestor 2^k above ``row``, or its root where there is none."""
        up = _self_rooted(self.parent)
        found = [up]
        while not np.array_equal(higher := up[up], up):
            found.append(higher)
            up = higher
        return tuple(found)

    @cached_property
    def root(self) -> I32:
        """The row of each row's root."""
        return self.lifts[-1]

    @cached_property
    def depth(self) -> I32:
        """Edges between a row and its root."""
        return self.summed((self.parent >= 0).astype(np.int32))

    def summed(self, steps: I32) -> I32:
        """For each row the sum of ``steps`` over itself and its ancestors.

        ``steps`` must be 0 at roots: doubling meets a root more than once.
        """
        total = steps.copy()
        for up in self.lifts:
            total += total[up]
        return total

    def running(self, fold: Callable[[I64, I64], I64], values: I64) -> I64:
        """``values`` folded over each row and its ancestors, by an idempotent ``fold`` (min, max).

        Meeting a root twice does no harm then.
        """
        folded = values
        for up in self.lifts:
            folded = fold(folded, folded[up])
        return folded

    def everywhere(self, holds: Bool) -> Bool:
        """Whether ``holds`` is true of a row and of all its ancestors."""
        folded = holds
        for up in self.lifts:
            folded = folded & folded[up]
        return folded

    def nearest(self, marked: Bool) -> I32:
        """The nearest proper ancestor that is ``marked``, or -1."""
        here = np.arange(len(self.parent), dtype=np.int32)
        up = np.where(marked | (self.parent < 0), here, self.parent)
        while not np.array_equal(higher := up[up], up):
            up = higher
        found = np.where(self.parent >= 0, up[self.parent], np.int32(-1))
        return np.where((found >= 0) & marked[found], found, np.int32(-1))


def cyclic(parent: I32) -> Bool:
    """Rows that lie on a cycle of parents, or below one."""
    up = _self_rooted(parent)
    for _ in range(max(len(parent), 1).bit_length() + 1):
        higher = up[up]
        if np.array_equal(higher, up):
            break
        up = higher
    # A row that ends anywhere but at a root never leaves its cycle.
    return parent[up] >= 0 if len(parent) else np.zeros(0, dtype=np.bool_)


def _self_rooted(parent: I32) -> I32:
    return np.where(parent < 0, np.arange(len(parent), dtype=np.int32), parent)
