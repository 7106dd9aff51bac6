"""Other figures at a service, an operation or an edge, and a fault that does not happen."""

from __future__ import annotations

import pytest

from services.errors import BadInput
from services.scenario.distributions import Constant
from services.scenario.file.difference import difference
from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario
from services.scenario.refactors import apply, to_mapping
from services.scenario.steps.calls import Talk
from services.scenario.steps.time import Work
from services.scenario.tree import operations, walk

SHOP = """
version: 1
name: shop
services:
  order:
    operations:
      create: [{call: stock.take, id: take, timeout: 1s}, {work: 1ms, id: price}]
      both: [{work: 1ms, id: first}, {work: 2ms, id: second}]
      none: [sleep: 1ms]
  stock:
    operations: {take: [work: 1ms]}
faults: [{id: slow, latency: 5ms, at: {service: stock}}]
load: {rate: 10/s, entry: order.create}
"""


def changed(refactor: str) -> Scenario:
    return apply(parse_text(f"{SHOP}variants: {{v: [{refactor}]}}\n"), "v")


def steps(scenario: Scenario) -> dict[str, Talk | Work]:
    return {
        step.id: step
        for _, operation in operations(scenario)
        for step in walk(operation.steps)
        if isinstance(step, Talk | Work)
    }


def test_a_service_gets_replicas_balance_and_workers() -> None:
    stock = changed("{op: set, at: stock, replicas: 3, balance: random, workers: 2}").services[
        "stock"
    ]
    assert (stock.replicas, stock.balance, stock.max_concurrent) == (3, "random", 2)


def test_what_is_not_named_stays() -> None:
    before = parse_text(SHOP).services["stock"]
    after = changed("{op: set, at: stock, workers: 2}").services["stock"]
    assert (after.replicas, after.balance) == (before.replicas, before.balance)


def test_an_edge_gets_sizes_timeout_and_retry() -> None:
    said = "{op: set, at: order->stock.take, timeout: none, retry: {max: 2}, request: 9B}"
    take = steps(changed(said))["take"]
    assert isinstance(take, Talk)
    assert take.edge.timeout_ns is None
    assert take.edge.retry is not None
    assert take.edge.retry.max == 2
    assert take.edge.request_bytes == Constant(9.0)


def test_an_operation_gets_work() -> None:
    price = steps(changed("{op: set, at: order.create, work: 7ms}"))["price"]
    assert isinstance(price, Work)
    assert price.cpu == Constant(7e6)


def test_of_several_steps_of_work_one_is_named() -> None:
    found = steps(changed("{op: set, at: order.both, step: second, work: 7ms}"))
    cpu = [step.cpu for step in (found["first"], found["second"]) if isinstance(step, Work)]
    assert cpu == [Constant(1e6), Constant(7e6)]


def test_a_fault_that_is_left_out_does_not_happen() -> None:
    assert changed("{op: without, fault: slow}").faults == ()


@pytest.mark.parametrize(
    ("refactor", "reason"),
    [
        ("{op: set, at: stock, replicas: 1}", "stock is so already"),
        ("{op: set, at: stock}", "nothing is said for stock"),
        ("{op: set, at: stock, timeout: 5ms}", "stock has no timeout"),
        ("{op: set, at: order.create, replicas: 2}", "order.create has no replicas"),
        ("{op: set, at: order->stock.take, work: 5ms}", "has no work"),
        ("{op: set, at: stok, replicas: 2}", "no service 'stok'"),
        ("{op: set, at: order.make, work: 2ms}", "no operation 'order.make'"),
        ("{op: set, at: order.both, work: 2ms}", "2 steps of work"),
        ("{op: set, at: order.none, work: 2ms}", "no step of work"),
        ("{op: set, at: order.both, step: third, work: 2ms}", "no step of work in order.both"),
        ("{op: set, at: order->stock.give, timeout: 5ms}", "nothing calls"),
        ("{op: without, fault: slaw}", "no fault 'slaw'"),
    ],
)
def test_what_is_not_there_or_changes_nothing_is_told(refactor: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as raised:
        changed(refactor)
    assert raised.value.line is not None


@pytest.mark.parametrize(
    ("refactor", "said"),
    [
        ("{op: set, at: stock, replicas: 3}", "stock: replicas 1, now 3"),
        ("{op: without, fault: slow}", "the fault slow does not happen"),
    ],
)
def test_the_difference_says_it(refactor: str, said: str) -> None:
    assert difference(parse_text(SHOP), changed(refactor)).others == (said,)


@pytest.mark.parametrize(
    "refactor",
    [
        {"op": "set", "at": "stock", "replicas": 3, "workers": "unlimited"},
        {"op": "set", "at": "order.both", "step": "first", "work": "2ms"},
        {"op": "set", "at": "order->stock.take", "timeout": "none"},
        {"op": "without", "fault": "slow"},
    ],
)
def test_it_is_written_as_it_was_read(refactor: dict[str, object]) -> None:
    said = ", ".join(f"{key}: {value}" for key, value in refactor.items())
    (variant,) = parse_text(f"{SHOP}variants: {{v: [{{{said}}}]}}\n").variants.values()
    assert to_mapping(variant.refactors[0]) == refactor
