"""Anybody's traces, out of a Jaeger by its address: the latest ones, of all services or of some."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import time_ns
from typing import Final

from analysis.reading import inputs
from analysis.reading.inputs import Read
from analysis.reading.recorder import Skipped
from hopbench.jaeger.client import Jaeger, Unanswered, checked_url, pages
from services.errors import BadInput
from services.scenario.text import units

SCHEMES: Final = ("http://", "https://")
LIMIT: Final = 1_000
LOOKBACK_NS: Final = 3_600 * 10**9
_DEPTH: Final = 200
"""Traces in one answer."""
_HINT: Final = "name the address of Jaeger's pages, such as http://localhost:16686"


@dataclass(frozen=True, slots=True)
class Wanted:
    services: tuple[str, ...] = ()
    """None: every one that Jaeger knows."""
    lookback_ns: int = LOOKBACK_NS
    limit: int = LIMIT
    """Traces that are read for each service, at most; the latest of them."""


LATEST: Final = Wanted()


def is_address(name: str) -> bool:
    return name.lower().startswith(SCHEMES)


def read(address: str, wanted: Wanted, *, skew: bool = False) -> Read:
    """The traces at ``address``. What the limit left out is among :attr:`Read.skipped`.

    Raises BadInput for what is no Jaeger, does not answer, does not know a service, or has no
    traces of that time.
    """
    url = checked_url("the address", address)
    try:
        found = asyncio.run(_fetched(url, wanted))
    except Unanswered as error:
        raise BadInput(str(error), hint=_HINT) from error
    if not found.lines:
        age = units.time_text(wanted.lookback_ns)
        whose = f" with {', '.join(wanted.services)}" if wanted.services else ""
        raise BadInput(
            f"{url} has no traces of the last {age}{whose}",
            hint="look further back with --lookback 24h" if found.known else "it has none at all",
        )
    table = inputs.read_pages(found.pages(url), skew=skew)
    left = tuple(
        Skipped(
            url,
            None,
            f"service {service} has more traces than the {wanted.limit:,} that were read; "
            "raise --limit, or shorten --lookback",
        )
        for service in found.cut
    )
    return replace(table, address=url, skipped=(*table.skipped, *left))


@dataclass(frozen=True, slots=True)
class _Fetched:
    lines: list[bytes]
    """Answers, of traces that no earlier one has."""
    cut: tuple[str, ...]
    """Services that have more."""
    known: bool
    """Jaeger has heard of any service."""

    def pages(self, name: str) -> Iterator[tuple[str, bytes]]:
        for line in self.lines:
            yield name, line


async def _fetched(url: str, wanted: Wanted) -> _Fetched:
    async with Jaeger(url) as jaeger:
        await jaeger.find_api()
        known = await jaeger.services()
        unknown = [service for service in wanted.services if service not in known]
        if unknown:
            raise BadInput(
                f"--service: {url} knows no {', '.join(unknown)}",
                hint=f"it knows: {', '.join(known[:20]) or 'none'}",
            )
        return await _latest(jaeger, wanted.services or known, wanted)


async def _latest(jaeger: Jaeger, services: Sequence[str], wanted: Wanted) -> _Fetched:
    now_ns = time_ns()
    lines: list[bytes] = []
    seen: set[str] = set()
    cut: list[str] = []
    for service in services:
        of_service: set[str] = set()
        depth = min(_DEPTH, wanted.limit + 1)
        async for page in pages(jaeger, service, now_ns - wanted.lookback_ns, now_ns, depth):
            room = wanted.limit - len(of_service)
            fresh = [trace for trace in page.spans if trace not in of_service]
            of_service.update(fresh[:room])
            if new := frozenset(fresh[:room]) - seen:
                seen |= new
                lines.append(page.only(new))
            if len(fresh) > room:
                cut.append(service)
                break
    return _Fetched(lines, tuple(cut), known=bool(services))
