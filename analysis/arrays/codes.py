"""Codes: numbers that stand for text, and rows found by them, all at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from analysis.arrays import I32, Integers


class Codes(dict[str, int]):
    """Text → code, in order of appearance."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """``texts`` have their codes already, and so no text twice."""
        super().__init__({text: code for code, text in enumerate(texts)})

    def __missing__(self, text: str) -> int:
        code = self[text] = len(self)
        return code


def matched(trace: I32, span: I32, among: Integers, wanted_trace: I32, wanted_span: I32) -> I32:
    """The row among ``among`` whose (trace, span) is the wanted one; -1 where none is.

    Codes are numbers, so a pair is one, too. Of several rows that match, the first in ``among``.
    """
    if len(among) == 0 or len(wanted_trace) == 0:
        return np.full(len(wanted_trace), -1, np.int32)
    width = np.int64(max(int(span.max()), int(wanted_span.max())) + 2)
    own = trace[among].astype(np.int64) * width + span[among]
    order = np.argsort(own, kind="stable")
    known = own[order]
    wanted = wanted_trace.astype(np.int64) * width + wanted_span
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found = (wanted_trace >= 0) & (wanted_span >= 0) & (known[at] == wanted)
    return np.where(found, among[order][at], -1).astype(np.int32)
