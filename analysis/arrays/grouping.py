"""Rows that are equal in several integer columns, numbered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.arrays import I64, Integers


@dataclass(frozen=True, slots=True)
class Groups:
    """``of`` is each row's group, ``first`` each group's first row. Groups are in the order of
    their columns' values."""

    of: I64
    first: I64

    @property
    def count(self) -> int:
        return len(self.first)


def distinct(*columns: Integers) -> Groups:
    """Number the distinct rows of ``columns`` (at least one, all of one length) from 0."""
    of, count = _compressed(columns[0])
    for column in columns[1:]:
        code, width = _compressed(column)
        of, count = _compressed(of * width + code)
    n = len(of)
    first = np.zeros(count, np.int64)
    first[of[::-1]] = np.arange(n)[::-1]
    return Groups(of, first)


def _compressed(keys: Integers) -> tuple[I64, int]:
    """The rank of each key among the distinct ones, and how many there are."""
    if len(keys) == 0:
        return np.zeros(0, np.int64), 0
    least, most = int(keys.min()), int(keys.max())
    if most - least > 4 * len(keys) + 65536:
        values, rank = np.unique(keys, return_inverse=True)
        return rank.astype(np.int64), len(values)
    # A table of what occurs is linear, and small ranges are the rule.
    shifted = keys.astype(np.int64) - least
    seen = np.zeros(most - least + 1, np.bool_)
    seen[shifted] = True
    rank = np.cumsum(seen) - 1
    return rank[shifted], int(rank[-1]) + 1


def summed(of: Integers, values: Integers, count: int) -> I64:
    """Sum by group. Exact while sums stay below 2^53 (104 days of ns, 9 PB)."""
    return np.bincount(of, weights=values, minlength=count).astype(np.int64)


def counted(of: Integers, count: int) -> I64:
    return np.bincount(of, minlength=count).astype(np.int64)


def highest(of: Integers, values: Integers, count: int) -> I64:
    """Maximum by group, 0 for an empty one; values are not negative."""
    most = np.zeros(count, np.int64)
    np.maximum.at(most, of, values)
    return most
