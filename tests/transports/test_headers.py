"""What rides beside the payload, as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.wire import ticket, traceparent
from services.wire.ports import TraceContext

positive = st.integers(min_value=1)


@given(
    numbers=st.lists(st.integers(0, 99), min_size=1),
    response_bytes=st.integers(0, 2**40),
    timeout_ns=st.none() | st.integers(0, 2**62),
    attempt=st.integers(0, 9),
    peer=st.sampled_from(["", "orders/0", "a-b/12"]),
)
def test_a_header_reads_back_as_written(
    numbers: list[int], response_bytes: int, timeout_ns: int | None, attempt: int, peer: str
) -> None:
    carried = ticket.encode(5, [ticket.Item("orders.create/1", n) for n in numbers])
    text = ticket.encode_header(carried, response_bytes, timeout_ns, attempt, peer)
    assert ticket.parse_header(text) == ticket.Header(
        carried, response_bytes, timeout_ns, attempt, peer
    )


def test_a_header_is_written_as_documented() -> None:
    text = ticket.encode_header(ticket.encode(1234, [ticket.Item("a.b/0", 3)]), 20, None, 1, "a/0")
    assert text == "00000000000004d2;a.b/0@3|20|-|1|a/0"


@pytest.mark.parametrize("text", ["", "ticket", "t|1|-|0", "t|many|-|0|a/0", "t|1|soon|0|a/0"])
def test_what_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        ticket.parse_header(text)


@given(
    st.builds(TraceContext, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
)
def test_a_trace_context_reads_back_as_written(trace: TraceContext) -> None:
    assert traceparent.parse(traceparent.encode(trace)) == trace


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00-" + "0" * 32 + "-00000000000000aa-01",
        "00-" + "a" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "x" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "_" + "b" * 16 + "-01",
    ],
)
def test_a_malformed_traceparent_counts_as_absent(text: str | None) -> None:
    assert traceparent.parse(text) is None


def test_a_later_version_of_traceparent_is_read_as_the_first() -> None:
    text = "01-" + "a" * 32 + "-" + "b" * 16 + "-01-more"
    assert traceparent.parse(text) == TraceContext(int("a" * 32, 16), int("b" * 16, 16), True)
