from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.findings.finding import Finding, Hop
from services.codec import UNSET
from services.scenario.facts import EMPTY, Facts
from tests.analysis.build import Traces

SERVICES = ("order", "payment", "fraud", "ledger", "bank", "audit", "vault")


def chained(hops: int, *, traces: int = 10, message_at: int | None = None) -> Traces:
    """gateway waits for order waits for payment…; 2 ms of own work each, 1 ms of wire a hop."""
    made = Traces()
    for t in range(traces):
        at = made.request(f"t{t}")
        for i in range(hops):
            lo, hi = 1 + 1.5 * i, 99 - 1.5 * i
            if i == message_at:
                at = at.publish(SERVICES[i], "do", lo, lo + 0.5, (lo + 1, hi))
            else:
                at = at.call(SERVICES[i], "do", lo, hi)
    return made


def only(made: Traces, facts: Facts = EMPTY) -> Finding:
    (finding,) = made.found("chain", facts=facts)
    return finding


def told(finding: Finding) -> tuple[Hop, ...]:
    assert finding.hops is not UNSET
    return finding.hops


@pytest.mark.parametrize(("hops", "found"), [(4, 0), (5, 1), (7, 1)])
def test_five_hops_are_a_chain(hops: int, found: int) -> None:
    assert len(chained(hops).found("chain")) == found


def test_a_chain_lists_every_service_with_its_own_and_transport_time() -> None:
    finding = only(chained(6))
    assert (finding.count_per_request.p50, finding.count_per_request.max) == (6.0, 6.0)
    assert [hop.service for hop in told(finding)] == ["gateway", *SERVICES[:6]]
    assert [hop.tax_ms for hop in told(finding)] == [None] + [1.0] * 6
    # Each waits for the next from 1 ms after its start to 1 ms before its end; the root 1 and 1.
    assert [hop.self_ms for hop in told(finding)] == [2.0] * 6 + [told(finding)[-1].duration_ms]
    assert (finding.where.caller, finding.where.caller_operation) == ("gateway", "POST /buy")
    assert (finding.where.callee, finding.where.operation) == ("audit", "POST /do")
    assert finding.cost_ms.p50 == 98.0


def test_a_message_breaks_the_chain() -> None:
    assert chained(7, message_at=3).found("chain") == ()


def test_hops_within_one_service_do_not_count() -> None:
    made = Traces()
    for t in range(10):
        at = made.request(f"t{t}")
        for i in range(8):
            at = at.call(("order", "stock")[i // 4], "do", 1 + i, 99 - i)
    assert made.found("chain") == ()


def test_the_longest_way_is_the_chain() -> None:
    made = Traces()
    for t in range(10):
        at = made.request(f"t{t}")
        for i in range(6):
            at.call("cache", "get", 2 + 2 * i, 2.5 + 2 * i, tax=0.1)
            at = at.call(SERVICES[i], "do", 3 + 2 * i, 90 - 2 * i)
    assert only(made).where.callee == "audit"


def test_of_two_equally_long_ways_the_dearer_is_the_chain() -> None:
    made = Traces()
    for t in range(10):
        at = made.request(f"t{t}")
        for i in range(4):
            at = at.call(SERVICES[i], "do", 1 + i, 99 - i)
        at.call("cheap", "do", 10, 20)
        at.call("dear", "do", 30, 80)
    assert only(made).where.callee == "dear"


def needed(*steps: tuple[str, str]) -> Facts:
    """Steps of SERVICES whose result the same operation needs later: (caller, callee)."""
    return replace(
        EMPTY,
        known=True,
        operations={},
        dependent=frozenset(
            (
                caller,
                "POST /buy" if caller == "gateway" else "POST /do",
                f"{callee}.POST /do",
                "x.y",
            )
            for caller, callee in steps
        ),
    )


def test_the_cure_is_a_message_at_the_first_hop_that_nothing_waits_for() -> None:
    made = chained(5)
    assert only(made, needed()).refactor == {"op": "asyncify", "edge": "gateway->order.POST /do"}
    facts = needed(("gateway", "order"), ("order", "payment"))
    finding = only(made, facts)
    assert finding.refactor == {"op": "asyncify", "edge": "payment->fraud.POST /do"}
    assert finding.confidence == "high"
    assert finding.saving_ms[1] == pytest.approx(98.0 - 2 * 3)


def test_where_every_answer_is_needed_the_dearest_hop_could_be_merged() -> None:
    made = Traces()
    for t in range(10):
        at = made.request(f"t{t}", end=200)
        for i in range(5):
            at = at.call(SERVICES[i], "do", 10 * i + 1, 199 - 10 * i, tax=3 if i == 2 else 1)
    facts = needed(*zip(("gateway", *SERVICES), SERVICES[:5], strict=False))
    finding = only(made, facts)
    assert finding.refactor == {"op": "merge", "edge": "payment->fraud.POST /do"}
    assert finding.saving_ms == (0.0, 6.0)


def test_without_facts_confidence_is_low_and_the_text_says_why() -> None:
    finding = only(chained(5))
    assert finding.confidence == "low"
    assert "does not show in traces" in finding.text


def test_error_rates_multiply_up() -> None:
    made = Traces()
    for t in range(10):
        at = made.request(f"t{t}")
        for i in range(5):
            at = at.call(SERVICES[i], "do", 1 + i, 99 - i, error=i == 4 and t == 0)
    assert "multiply up to 10.0%" in only(made).text


def test_a_chain_of_1_000_hops_is_followed_to_its_end() -> None:
    made = Traces()
    at = made.request("t", end=5000)
    for i in range(1000):
        at = at.call(f"s{i}", "do", i + 1, 4999 - i, tax=0.1)
    finding = only(made)
    assert finding.count_per_request.max == 1000
    assert len(told(finding)) == 1001


def test_one_chain_behind_several_doors_is_one_finding() -> None:
    """Two requests, each of which asks itself first what it then asks the chain."""
    made = Traces()
    for t in range(10):
        for door in ("buy", "sell"):
            at = made.request(f"{door}{t}", operation=door).call("gateway", "trade", 1, 99)
            for i in range(5):
                at = at.call(SERVICES[i], "do", 2 + i, 98 - i)
    (finding,) = made.found("chain")
    assert (finding.where.caller_operation, finding.count_per_request.n) == ("POST /trade", 20)


def test_of_a_very_long_chain_the_text_shows_both_ends() -> None:
    made = Traces()
    at = made.request("t")
    for i in range(40):
        at = at.call(f"s{i}", "do", 1 + i, 99 - i)
    finding = only(made)
    assert len(told(finding)) == 41
    assert "gateway → s0 → s1" in finding.text
    assert "s6 → … → s32" in finding.text
