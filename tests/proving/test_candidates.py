"""Refactors that findings propose: each once, under a name, in one order."""

from __future__ import annotations

import pytest

from hopbench.proving.candidates import candidates, clash, combined, ordered
from services.errors import BadInput
from services.scenario.names import is_name
from services.scenario.refactors import to_mapping
from tests.proving.in_memory import AT_ONCE, QUOTE, TAKE, asked, finding

SCENARIO = asked().scenario


def test_those_that_promise_most_come_first_and_each_once() -> None:
    found = candidates([finding(QUOTE, 1.0), finding(TAKE, 5.0), finding(TAKE, 5.0), finding(None)])
    assert [each.written for each in found] == [TAKE, QUOTE]
    assert all(is_name(each.name) for each in found)


def test_what_was_tried_is_not_proposed_again_and_its_name_is_taken() -> None:
    (first,) = candidates([finding(TAKE)])
    assert candidates([finding(TAKE)], [first.refactor], [first.name]) == ()
    (other,) = candidates([finding({**TAKE, "size": 3})], [first.refactor], [first.name])
    assert other.name == f"{first.name}-2"


def test_a_long_place_is_cut_to_a_name() -> None:
    edge = f"order->{'s' * 40}.{'t' * 40}"
    (found,) = candidates([finding({**TAKE, "edge": edge})])
    assert is_name(found.name)


def test_the_order_is_that_of_the_operators() -> None:
    found = candidates([finding(AT_ONCE, 9.0), finding(TAKE, 1.0)])
    assert [to_mapping(each)["op"] for each in ordered(c.refactor for c in found)] == [
        "batch",
        "parallelize",
    ]


def test_those_on_one_edge_are_alternatives() -> None:
    one, other = candidates([finding(TAKE), finding({**TAKE, "size": 3})])
    assert clash(SCENARIO, [one], other) == (one, "both change order->stock.take")
    (elsewhere,) = candidates([finding(QUOTE)])
    assert clash(SCENARIO, [one], elsewhere) is None


def test_those_that_refuse_each_other_are_alternatives() -> None:
    merged = {"op": "merge", "edge": "order->stock.take"}
    once = {"op": "cache", "edge": "order.create->stock.take", "scope": "request"}
    one, other = candidates([finding(merged), finding(once)])
    found = clash(SCENARIO, [one], other)
    assert found is not None
    assert found[0] == one


def test_what_does_not_go_together_is_refused() -> None:
    (one,) = candidates([finding({**TAKE, "edge": "order->no.such"})])
    with pytest.raises(BadInput):
        combined(SCENARIO, [one.refactor])
