"""The same request makes the same choices, whatever the variant makes of its calls."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest

from services.scenario.model import Scenario
from services.scenario.refactors import apply
from services.wire import ticket
from tests.behaviour.world import run, scenario

BASE = scenario(
    """
    b:
      replicas: 2
      operations:
        look:
          - {work: {cpu: 0.1ms, per_item: {exponential: 1ms}}}
          - call: c.leaf
            per_item: true
            probability: 40%
            key: {distinct: 9}
          - choice:
            - {weight: 1, steps: [{call: c.leaf, per_item: true, request: {uniform: [1B, 99B]}}]}
            - {weight: 2, steps: [{call: c.other, per_item: true}]}
            per_item: true
        note: [sleep: 1ms]
    c:
      operations:
        leaf: [sleep: {exponential: 1ms}]
        other: [sleep: 1ms]
    """,
    steps="""
    - call: b.look
      id: look
      count: 6
      probability: 70%
      request: {uniform: [10B, 1000B]}
    - repeat:
        times: 3
        steps:
          - {call: b.look, id: again, count: 2, key: {distinct: 4}}
    - {call: b.note, id: note, protocol: http}
    """,
    rest="""
    variants:
      batched: {refactors: [{op: batch, edge: a->b.look, size: 4}]}
      parallel: {refactors: [{op: parallelize, at: a.go, max: null}]}
      bounded:
        refactors:
          - {op: batch, edge: a->b.look, size: 3}
          - {op: parallelize, at: a.go, max: 2}
      grpc: {refactors: [{op: protocol, all: true, to: grpc}]}
      kafka: {refactors: [{op: protocol, all: true, to: kafka}]}
      async: {refactors: [{op: asyncify, edge: a->b.note}]}
      hedged: {refactors: [{op: hedge, edge: a->b.look, after: 1s}]}
    """,
)


class Choice(NamedTuple):
    """One item as a callee got it: what all variants must have alike."""

    operation: str
    key: int


def choices(world: Scenario, seed: int) -> list[Counter[Choice]]:
    """What each of 20 requests asked for, item by item.

    Requests are told apart by running each alone: the key of an item tells nobody whose it is.
    """
    return [
        Counter(
            Choice(sent.out.wire.operation, key)
            for sent in run(world, requests=1, seed=seed + n).sent
            for key in ticket.item_keys(sent.out.ticket)
        )
        for n in range(20)
    ]


@pytest.mark.parametrize("variant", BASE.variants)
def test_a_variant_makes_the_choices_of_the_base(variant: str) -> None:
    changed = apply(BASE, variant)
    assert changed != BASE
    assert choices(changed, seed=1) == choices(BASE, seed=1)


@pytest.mark.parametrize("variant", BASE.variants)
def test_a_variant_sends_the_bytes_of_the_base(variant: str) -> None:
    def total(world: Scenario) -> int:
        return sum(sent.out.request_bytes for sent in run(world, requests=20).sent)

    assert total(apply(BASE, variant)) == total(BASE)


def test_other_rounds_make_other_choices() -> None:
    assert choices(BASE, seed=1) != choices(BASE, seed=2)


def test_requests_of_one_round_differ() -> None:
    counts = Counter(frozenset(counter.items()) for counter in choices(BASE, seed=1))
    assert max(counts.values()) == 1
