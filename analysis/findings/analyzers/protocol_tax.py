"""Transport tax: the part of a call that neither side works on.

It is client duration minus server duration, so clocks don't matter. What a lower tax could be is
taken from evidence only: another protocol is advised where these very traces show the same edge
over it, with less tax.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.arrays.quantiles import NS_PER_MS, median
from analysis.figures import ms
from analysis.findings.observed import Candidate, Observed, Shown, conclude, where_of
from analysis.traces.pairs import Place
from services.scenario.protocols import PROTOCOLS


def protocol_tax(seen: Observed) -> Iterator[Candidate]:
    """Where the tax is ``tax_share`` of the client's time or more, both at P50."""
    hops, spans = seen.hops, seen.spans
    taxed = np.flatnonzero(hops.tax >= 0)
    if len(taxed) == 0:
        return
    order = np.argsort(hops.place[taxed], kind="stable")
    taxed = taxed[order]
    bounds = np.searchsorted(hops.place[taxed], np.arange(len(hops.places) + 1))
    of_place = {
        number: taxed[bounds[number] : bounds[number + 1]]
        for number in range(len(hops.places))
        if bounds[number] < bounds[number + 1]
    }
    typical = {number: median(hops.tax[rows]) for number, rows in of_place.items()}
    for number, rows in of_place.items():
        client = median(spans.duration[hops.client[rows]])
        tax = typical[number]
        if client <= 0 or tax < seen.settings.tax_share * client:
            continue
        at = hops.places[number]
        better = _better(hops.places, typical, number)
        on_path = np.minimum(hops.tax[rows], seen.hop_cost[rows])
        spared = hops.tax[rows] - (0 if better is None else int(typical[better]))
        yield conclude(
            seen,
            "protocol.tax",
            where_of(at),
            Shown(
                unit=seen.unit[hops.client[rows]],
                count=np.ones(len(rows), np.int64),
                cost=on_path,
                saving=(np.zeros_like(on_path), np.clip(spared, 0, on_path)),
                rows=(np.arange(len(rows), dtype=np.int32), hops.client[rows]),
            ),
            units_with_place=seen.units_with(at.caller, at.caller_operation),
            confidence="medium" if better is None else "high",
            text=(
                f"{tax / client:.0%} of a call of {at.target} over {at.protocol or 'the wire'} is "
                f"neither side's work: {ms(tax / NS_PER_MS)} of {ms(client / NS_PER_MS)}."
            ),
            refactor=None
            if better is None
            else {
                "op": "protocol",
                "edge": seen.edge(at),
                "to": hops.places[better].protocol,
            },
            minor=seen.mode == "run" and "protocol.tax" not in seen.settings.expected_kinds,
        )


def _better(places: tuple[Place, ...], typical: dict[int, float], number: int) -> int | None:
    """The same edge over the protocol with the least tax, if that is less than this one's."""
    at = places[number]
    others = [
        other
        for other in typical
        if places[other].protocol in PROTOCOLS
        and places[other]._replace(protocol=at.protocol) == at
        and typical[other] < typical[number]
    ]
    return min(
        others, key=lambda other: (typical[other], str(places[other].protocol)), default=None
    )
