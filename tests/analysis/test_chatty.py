from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.findings.finding import Where
from analysis.findings.settings import Settings
from services.scenario.facts import EMPTY
from tests.analysis.build import Traces, kinds


def asked(
    n: int,
    *,
    traces: int = 10,
    at_once: int = 1,
    keys: int | None = None,
    callee: str = "stock",
    step: float = 4,
) -> Traces:
    """``n`` calls of stock.reserve by each request, ``at_once`` in flight, ``step`` ms each."""
    made = Traces()
    for t in range(traces):
        request = made.request(f"t{t}", end=200)
        for i in range(n):
            start = 1 + step * (i // at_once)
            said = {} if keys is None else {"hopbench.key": i % keys}
            request.call(callee, "reserve", start, start + step * 0.9, said=said)
    return made


PLACE = Where("gateway", "POST /buy", "stock", "POST /reserve", "http")


@pytest.mark.parametrize(
    ("case", "calls", "expected"),
    [
        ("four calls", {"n": 4}, []),
        ("five calls", {"n": 5}, ["chatty.sequential"]),
        ("keys that differ", {"n": 5, "keys": 5}, ["chatty.sequential"]),
        ("four that share a key", {"n": 8, "keys": 2}, ["chatty.sequential"]),
        ("five that share a key", {"n": 10, "keys": 2}, ["chatty.redundant"]),
        ("one key, all at once", {"n": 5, "keys": 1, "at_once": 5}, ["chatty.redundant"]),
        ("five at once", {"n": 10, "at_once": 5}, ["chatty.parallel"]),
        ("four at once", {"n": 12, "at_once": 4}, []),
        ("two at once", {"n": 12, "at_once": 2}, []),
        ("21 at once: a storm", {"n": 21, "at_once": 21}, ["fanout.storm"]),
        ("20 at once: none yet", {"n": 20, "at_once": 20}, ["chatty.parallel"]),
    ],
)
def test_one_class_for_a_group(case: str, calls: dict[str, int], expected: list[str]) -> None:
    assert kinds(asked(**calls, step=12).found()) == expected  # type: ignore[arg-type]  # numbers only


@pytest.mark.parametrize("n", [2, 4])
def test_fewer_in_turn_are_minor_where_a_scenario_tells_what_they_would_save(n: int) -> None:
    known = replace(EMPTY, known=True)
    (finding,) = asked(n, step=12).analysed(facts=known).minor
    assert (finding.kind, finding.where) == ("chatty.sequential", PLACE)
    assert finding.refactor == {"op": "batch", "edge": "gateway->stock.POST /reserve", "size": n}
    assert asked(n, step=12).analysed().minor == ()


def test_fewer_in_turn_that_need_each_other_are_not_told() -> None:
    place = "stock.POST /reserve"
    needs = frozenset({("gateway", "POST /buy", place, place)})
    facts = replace(EMPTY, known=True, dependent=needs)
    assert "chatty.sequential" not in kinds(asked(4).analysed(facts=facts).minor)


def test_a_few_at_once_are_minor() -> None:
    minor = asked(12, at_once=4).analysed().minor
    assert "chatty.parallel" in kinds(minor)


def test_a_finding_tells_place_count_cost_saving_and_cure() -> None:
    """8 calls of 3.6 ms: 28.8 ms on the path; one of them must stay."""
    (finding,) = asked(8).found("chatty")
    assert finding.where == PLACE
    assert (finding.count_per_request.p50, finding.count_per_request.n) == (8.0, 10)
    assert finding.cost_ms.p50 == pytest.approx(28.8)
    assert finding.saving_ms == pytest.approx((7 * 1.0, 25.2))
    assert finding.refactor == {"op": "batch", "edge": "gateway->stock.POST /reserve", "size": 8}
    assert finding.completeness == 1.0
    assert [len(e.span_ids) for e in finding.evidence] == [8, 8, 8]
    assert "calls carry no key" in finding.text


def test_what_several_callers_in_one_request_could_save_is_added_up() -> None:
    """An order asks twice over, 8 calls of 3.6 ms each time."""
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}", end=200)
        for begin in (1, 101):
            order = request.call("order", "create", begin, begin + 90)
            for i in range(8):
                start = begin + 1 + 4 * i
                order.call("stock", "reserve", start, start + 3.6)
    (finding,) = made.found("chatty")
    assert finding.count_per_request.p50 == 16
    assert finding.cost_ms.p50 == pytest.approx(57.6)
    assert finding.saving_ms == pytest.approx((2 * 7 * 1.0, 2 * 25.2))


def test_redundant_calls_could_be_kept_for_the_request() -> None:
    (finding,) = asked(10, keys=2).found("chatty")
    assert finding.refactor == {
        "op": "cache",
        "edge": "gateway->stock.POST /reserve",
        "scope": "request",
    }
    assert finding.saving_ms == pytest.approx((28.8, 28.8))


def test_a_key_in_the_path_is_a_key() -> None:
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}", end=200)
        for i in range(5):
            request.call("stock", "item", 1 + 4 * i, 4 + 4 * i, said={"url.path": "/item/7"})
    assert kinds(made.found("chatty")) == ["chatty.redundant"]


def test_calls_of_different_operations_are_not_one_group() -> None:
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}")
        for i in range(8):
            request.call("stock", ("reserve", "release")[i % 2], 1 + 4 * i, 4 + 4 * i)
    assert made.found("chatty") == ()


def test_calls_on_behalf_of_different_requests_are_not_one_group() -> None:
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}")
        for i in range(6):
            order = request.call("order", f"step{i}", 1 + 10 * i, 9 + 10 * i)
            order.call("stock", "reserve", 2 + 10 * i, 8 + 10 * i)
    assert made.found("chatty") == ()


def test_retries_are_no_calls() -> None:
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}")
        for i in range(4):
            request.call("stock", "reserve", 8 * i + 1, 8 * i + 4, error=True)
            request.call(
                "stock", "reserve", 8 * i + 5, 8 * i + 8, said={"http.request.resend_count": 1}
            )
    assert made.found("chatty") == ()


def test_parallel_calls_spread_over_replicas_are_the_point() -> None:
    facts = replace(EMPTY, known=True, replicas={"stock": 4})
    assert asked(8, at_once=8).found("chatty", facts=facts) == ()
    assert asked(8).found("chatty", facts=facts) != ()


def test_where_several_operations_use_the_edge_the_cure_names_the_caller() -> None:
    made = asked(6)
    for t in range(10):
        other = made.request(f"other{t}", operation="browse")
        other.call("stock", "reserve", 1, 9)
    (finding,) = made.found("chatty")
    assert finding.refactor is not None
    assert finding.refactor["edge"] == "gateway.POST /buy->stock.POST /reserve"


@pytest.mark.parametrize(("affected", "is_finding"), [(1, False), (2, True)])
def test_below_a_fifth_of_the_traces_with_its_place_it_is_minor(
    affected: int, is_finding: bool
) -> None:
    made = asked(6, traces=affected)
    for t in range(10 - affected):
        made.request(f"calm{t}").call("stock", "reserve", 1, 90)
    analysis = made.analysed()
    assert ("chatty.sequential" in kinds(analysis.findings)) is is_finding
    assert ("chatty.sequential" in kinds(analysis.minor)) is not is_finding


@pytest.mark.parametrize(("each", "is_finding"), [(1.9, False), (2.1, True)])
def test_below_a_twentieth_of_the_roots_median_it_is_minor(each: float, is_finding: bool) -> None:
    """5 calls of a root of 200 ms: 5 % are 10 ms."""
    analysis = asked(5, step=each / 0.9).analysed()
    assert ("chatty.sequential" in kinds(analysis.findings)) is is_finding


def test_calls_that_nobody_waited_for_cost_nothing() -> None:
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}", end=100)
        request.call("price", "quote", 1, 99)
        for i in range(6):
            request.call("stock", "reserve", 2 + 4 * i, 5 + 4 * i)
    analysis = made.analysed()
    assert kinds(analysis.minor).count("chatty.sequential") == 1
    assert kinds(analysis.findings) == []


def test_the_threshold_is_a_setting() -> None:
    assert kinds(asked(3).found("chatty", settings=Settings(chatty_calls=3))) == [
        "chatty.sequential"
    ]


def test_messages_are_chatty_too() -> None:
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}")
        for i in range(6):
            request.publish("mail", "sent", 1 + 4 * i, 4 + 4 * i, (50, 60))
    (finding,) = made.found("chatty")
    assert finding.where.protocol == "kafka"


def test_what_a_consumer_calls_is_measured_against_the_consumer() -> None:
    """The publishing request takes 1,000 ms; handling takes 100 ms, 24 of them chatty."""
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}", end=1000)
        handled = request.publish("stock", "placed", 1, 2, (3, 103))
        for i in range(6):
            handled.call("price", "quote", 4 + 4 * i, 8 + 4 * i)
    (finding,) = made.found("chatty")
    assert (finding.where.caller, finding.cost_ms.p50) == ("stock", 24.0)


def test_calls_that_need_each_other_are_told_and_not_to_be_batched() -> None:
    place = "stock.POST /reserve"
    needs = replace(
        EMPTY, known=True, dependent=frozenset({("gateway", "POST /buy", place, place)})
    )
    (finding,) = asked(8).found("chatty", facts=needs)
    assert finding.kind == "chatty.sequential"
    assert finding.refactor is None
    assert finding.saving_ms == (0.0, 0.0)
    assert "a later one needs what an earlier one gave" in finding.text


def test_an_edge_has_one_class_that_which_costs_most() -> None:
    """Six of ten requests ask for one key again and again, the others for six."""
    for same, kind in ((6, "chatty.redundant"), (4, "chatty.sequential")):
        made = Traces()
        for t in range(10):
            request = made.request(f"t{t}", end=200)
            for i in range(6):
                key = 0 if t < same else i
                request.call("stock", "reserve", 1 + 4 * i, 4 + 4 * i, said={"hopbench.key": key})
        (finding,) = made.found("chatty")
        assert finding.kind == kind
