"""What a variant changes beside edges and steps."""

from __future__ import annotations

import pytest

from services.scenario.file.difference import difference
from services.scenario.file.parser import parse_text
from services.scenario.refactors import apply


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("", "the message mail.sent no longer waits for pay"),
        (", after: pay", None),
    ],
)
def test_a_message_that_no_longer_waits_for_what_decides_it_is_named(
    after: str, said: str | None
) -> None:
    base = parse_text(
        f"""
version: 1
name: shop
services:
  order: {{operations: {{create: [{{call: bank.pay, id: pay}}, {{call: bank.pay, id: again}},
    {{publish: mail.sent{after}}}]}}}}
  bank: {{operations: {{pay: [sleep: 1ms]}}}}
  mail: {{operations: {{sent: []}}}}
load: {{rate: 10/s, entry: order.create}}
variants: {{v: [{{op: parallelize, at: order.create}}]}}
"""
    )
    others = difference(base, apply(base, "v")).others
    assert len(others) == 1
    assert said is None or said in others[0]
    assert ("waits for pay" in others[0]) == (said is not None)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("[{publish: mail.sent}, {call: bank.pay, id: pay}, {publish: mail.sent}]", "pay"),
        ("[{repeat: {times: 3, steps: [{call: bank.pay, id: pay}, {publish: mail.sent}]}}]", "pay"),
        ("[{call: bank.pay, id: pay}, {publish: mail.sent, count: 3}]", None),
        ("[{publish: mail.sent}, {publish: mail.sent}, {call: bank.pay, id: pay}]", None),
    ],
)
def test_a_message_that_leaves_earlier_with_others_is_named(steps: str, said: str | None) -> None:
    base = parse_text(
        f"""
version: 1
name: shop
services:
  order: {{operations: {{create: {steps}}}}}
  bank: {{operations: {{pay: [sleep: 1ms]}}}}
  mail: {{operations: {{sent: []}}}}
load: {{rate: 10/s, entry: order.create}}
variants: {{v: [{{op: batch, edge: order->mail.sent, size: 9}}]}}
"""
    )
    others = difference(base, apply(base, "v")).others
    assert [text.partition(" waits for ")[2].partition(";")[0] for text in others] == (
        [] if said is None else [said]
    )
