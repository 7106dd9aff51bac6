"""One of chatty.*, fanout.sequential and fanout.storm for an edge: what one refactor of its calls
saves, no other can save as well.

An edge, from the caller's operation to the callee's, over whatever protocol, has the finding that
is dearest there: by the time on the critical path of those of its calls that the finding is about,
in all requests. One that matters goes before a minor one; of equally dear ones, as where the same
calls make both, the first of ``_TIES``.

A finding over several edges keeps those where it is dearest. If what is left is too little for a
finding, it is none, and each of these edges has the dearest of those that are about it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from analysis.findings.observed import Candidate
from analysis.traces.pairs import Edge

_TIES: Final = (
    "chatty.redundant",
    "chatty.sequential",
    "chatty.parallel",
    "fanout.sequential",
    "fanout.storm",
)


def settled(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Those that claim nothing, as they are, and of the others one for each edge."""
    claiming: list[Candidate] = []
    for candidate in candidates:
        if candidate.claims:
            claiming.append(candidate)
        else:
            yield candidate
    dearest = _dearest(claiming)
    held: set[Edge] = set()
    for candidate in claiming:
        if candidate.without is None:
            continue
        lost = frozenset(e for e in candidate.claims if dearest[e] is not candidate)
        left = candidate.without(lost) if lost else candidate
        if left is not None and (candidate.minor or not left.minor):
            held.update(left.claims)
            yield left
    alone = [c for c in claiming if c.without is None and held.isdisjoint(c.claims)]
    yield from _dearest(alone).values()


def _dearest(candidates: Iterable[Candidate]) -> dict[Edge, Candidate]:
    found: dict[Edge, Candidate] = {}
    for candidate in candidates:
        for edge in candidate.claims:
            best = found.setdefault(edge, candidate)
            if _rank(candidate, edge) < _rank(best, edge):
                found[edge] = candidate
    return found


def _rank(candidate: Candidate, edge: Edge) -> tuple[bool, int, int, str]:
    kind = candidate.finding.kind
    tie = _TIES.index(kind) if kind in _TIES else len(_TIES)
    return candidate.minor, -candidate.claims[edge], tie, candidate.finding.fingerprint
