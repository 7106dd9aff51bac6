from __future__ import annotations

import pytest

from hopbench.exits import Exit
from hopbench.results.gate_values import of_analysis
from hopbench.results.gates import EdgeRow, Subject, Subjects, check, judge, parse
from services.errors import BadInput
from tests.analysis.build import Traces


def row(text: str, operation_of_caller: str, calls: float, per_request: float | None) -> EdgeRow:
    edge, _, operation = text.partition(".")
    caller, callee = edge.split("->")
    return EdgeRow(
        caller,
        operation_of_caller,
        callee,
        operation,
        {"calls": calls, "calls_per_request": per_request, "errors": 0.0, "retries": 0.0},
    )


BASELINE = Subject(
    values={"response_p95_ms": 120.5, "response_p99_ms": None, "verdict": "slower"},
    finding_counts={"chatty.sequential": 2, "chatty.redundant": 1, "chain": 0, "fanout.storm": 0},
    words={"verdict": ("faster", "slower")},
    edges=[
        row("orders->inventory.reserve", "create", 200, 2.0),
        row("orders->inventory.price", "create", 100, 1.0),
        row("orders->inventory.price", "quote", 50, 0.5),
        row("orders->payment.pay", "create", 100, None),
    ],
)
BATCHED = Subject(
    values={"response_p95_ms": 60.0, "response_p99_ms": 90.0, "verdict": "faster"},
    finding_counts={"chatty.sequential": 0, "chatty.redundant": 0, "chain": 0, "fanout.storm": 0},
    words={"verdict": ("faster", "slower")},
    edges=BASELINE.edges,
)
SUBJECTS = Subjects("baseline", {"baseline": BASELINE, "batched": BATCHED})


@pytest.mark.parametrize(
    ("text", "value", "passed"),
    [
        ("findings.chatty > 0", 3.0, False),
        ("findings.chatty.sequential > 2", 2.0, True),
        ("findings.chain > 0", 0.0, True),
        ("variant(batched).findings.chatty > 0", 0.0, True),
        ("response_p95_ms > 120", 120.5, False),
        ("response_p95_ms>=120.5", 120.5, False),
        ("response_p95_ms < 100", 120.5, True),
        ("variant( batched ).response_p95_ms > 1e2", 60.0, True),
        ("edge(orders->inventory).calls_per_request > 2", 3.5, False),
        ("edge(orders -> inventory.price).calls_per_request > 2", 1.5, True),
        ("edge(orders.create->inventory.reserve).calls == 200", 200.0, False),
        ("edge(orders.quote->inventory.price).calls == 50", 50.0, False),
        ("verdict == slower", "slower", False),
        ("verdict != slower", "slower", True),
        ("variant(batched).verdict == slower", "faster", True),
    ],
)
def test_a_gate_fails_when_its_comparison_is_true(text: str, value: object, passed: bool) -> None:
    gate = parse(text)
    check([gate], SUBJECTS)
    outcome = judge(gate, SUBJECTS)
    assert (outcome.value, outcome.passed) == (value, passed)
    assert outcome.exit == (Exit.DONE if passed else Exit.FAILED)


@pytest.mark.parametrize(
    "text",
    [
        "response_p99_ms > 1",
        "edge(orders->payment).calls_per_request > 1",
    ],
)
def test_a_value_that_is_not_known_is_neither_passed_nor_failed(text: str) -> None:
    gate = parse(text)
    check([gate], SUBJECTS)
    assert judge(gate, SUBJECTS).exit == Exit.INCONCLUSIVE


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("edge(com.shop.web->cart).calls > 1", 30.0),
        ("edge(com.shop.web -> cart.POST /cart/*).calls > 1", 20.0),
        ("edge(com.shop.web.GET /->cart.POST /cart/*).calls > 1", 20.0),
        ("edge(com.shop.web->cart.v1.Cart/Add(x)).calls > 1", 10.0),
    ],
)
def test_an_edge_of_anybodys_traces_is_asked_for_as_it_is_spelled(text: str, value: float) -> None:
    def foreign(operation: str, calls: float) -> EdgeRow:
        return EdgeRow("com.shop.web", "GET /", "cart", operation, {"calls": calls})

    traces = Subject({}, {}, [foreign("POST /cart/*", 20.0), foreign("v1.Cart/Add(x)", 10.0)])
    subjects = Subjects("baseline", {"baseline": traces})
    check([parse(text)], subjects)
    assert judge(parse(text), subjects).value == value


def test_findings_that_nothing_could_be_found_in_are_not_none_found() -> None:
    blind = Subject({}, {"chatty.sequential": None, "chain": None}, [])
    subjects = Subjects("baseline", {"baseline": blind})
    assert judge(parse("findings.chatty > 0"), subjects).exit == Exit.INCONCLUSIVE


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("p95 > ", "not a gate", "for example"),
        ("response_p95_ms = 3", "not a gate", "for example"),
        ("response_p95_ms > 1x!", "not a limit", "for example"),
        ("response_p95_ms > nan", "not a limit", "for example"),
        ("response_p95_ms > inf", "not a limit", "for example"),
        ("edge(orders).calls > 1", "not an edge: 'orders'", "caller->callee"),
    ],
)
def test_text_that_is_no_gate_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(text)
    assert message in refused.value.text
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("response_p59_ms > 3", "unknown value 'response_p59_ms'", "did you mean 'response_p9"),
        ("findings.chaty > 0", "unknown kind of finding 'chaty'", "did you mean 'chatty'"),
        ("edge(orders->stock).calls > 1", "unknown edge 'orders->stock'", "orders->payment.pay"),
        ("edge(orders->payment).p50 > 1", "unknown value of an edge 'p50'", "calls_per_request"),
        ("variant(bached).findings.chain > 0", "unknown variant 'bached'", "'batched'"),
        ("verdict > slower", "is a word", "=="),
        ("verdict == slowr", "slowr", "slower"),
        ("response_p95_ms != slower", "is a number, and 'slower' is none", "for example"),
        ("findings.chain == none", "is a number, and 'none' is none", "for example"),
        ("verdict == 3", "is a word, and 3 is none", "for example"),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_that_exist(
    text: str, message: str, hint: str
) -> None:
    with pytest.raises(BadInput) as refused:
        check([parse(text)], SUBJECTS)
    assert message in refused.value.text
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("queue", "field", "value"),
    [
        (4.0, "queue_p50_ms", 4.0),
        (4.0, "queue_p95_ms", 4.0),
        (4.0, "server_p50_ms", 5.0),
        (4.0, "tax_p50_ms", 1.0),
        (None, "queue_p50_ms", None),
        (None, "server_p50_ms", 9.0),
    ],
)
def test_of_an_edge_queue_and_handling_are_known_where_spans_tell(
    queue: float | None, field: str, value: float | None
) -> None:
    made = Traces()
    for t in range(100):
        made.request(f"t{t}").call("order", "create", 1, 11, queue=queue)
    gate = parse(f"edge(gateway->order).{field} > 100")
    values = of_analysis(made.analysed())
    check([gate], values)
    assert judge(gate, values).value == value
