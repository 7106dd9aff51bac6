"""``cache``: the caller keeps answers by key; a hit makes no call. Read and checked only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from services.errors import BadInput
from services.scenario.model import Cache, Scenario
from services.scenario.refactors.operator import Operator, calls_of, edge_ref
from services.scenario.text import units
from services.scenario.text.reader import Reader, optional, positive, quantity, word
from services.scenario.text.source import Node

_SCOPE: Final[Callable[[str | None, Node], Literal["request", "process"]]] = word(
    ("request", "process")
)


def _read(r: Reader) -> Cache:
    return Cache(
        edge=edge_ref(r.file, r.need("edge", "edge: order->inventory.reserve")),
        scope=_SCOPE(r.file, r.need("scope", "scope: request")),
        ttl_ns=r.get("ttl", optional(positive(quantity(units.duration)), "none"), None),
    )


def _write(refactor: Cache) -> dict[str, object]:
    written: dict[str, object] = {"edge": str(refactor.edge), "scope": refactor.scope}
    if refactor.ttl_ns is not None:
        written["ttl"] = units.time_text(refactor.ttl_ns)
    return written


def _apply(scenario: Scenario, refactor: Cache) -> Scenario:
    if all(s.edge.key_distinct is None for s in calls_of(scenario, "cache", refactor.edge)):
        raise BadInput(
            f"cache: {refactor.edge} has no key", hint="give the call key: {distinct: N}"
        )
    raise BadInput("cache: not yet", hint="this version reads the operator, but cannot run it")


CACHE: Final = Operator(Cache, _read, _write, _apply)
