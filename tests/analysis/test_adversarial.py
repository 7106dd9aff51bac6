"""What holds for any spans, however broken: cycles, ids given twice, no length, wrong kinds.

Names and times are drawn from few, so that places meet and times tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.analyse import Analysis, analyse
from analysis.document import analysis_document
from analysis.findings.observed import Mode
from analysis.findings.settings import Settings
from analysis.reading.inputs import Read
from analysis.reading.recorder import Malformed
from analysis.rows.roots import root_rows
from analysis.traces.critical_path import PRESETS, Preset
from services.codec import plain
from services.errors import BadInput
from services.scenario.facts import EMPTY
from tests.analysis.build import EPOCH, MS, Span, Traces, told

EAGER = Settings(
    chatty_calls=2,
    chain_hops=2,
    sequential_edges=2,
    storm_peak=2,
    storm_critical_peak=3,
    straggler_siblings=2,
    payload_bytes=1000,
    trace_share=0.0,
    cost_share=0.0,
)
"""Finds something everywhere."""

WIRES: tuple[dict[str, str], ...] = (
    {},
    {"http.request.method": "GET", "url.path": "/x/1"},
    {"rpc.system": "grpc", "rpc.service": "S", "rpc.method": "x"},
    {"messaging.system": "kafka", "messaging.destination.name": "x"},
    {"peer.service": "b", "http.request.method": "GET", "url.path": "/y?q=1"},
    {"hopbench.attempt": "1", "peer.service": "a"},
    {"http.request.body.size": "300000", "hopbench.key": "k"},
    {"http.request.body.size": "nan", "hopbench.attempt": "-7"},
)


class Row(NamedTuple):
    trace: int
    id: int
    parent: int | None
    kind: int
    service: str
    start: int
    length: int
    wire: int
    failed: bool
    follows: bool
    shared: bool
    link: int | None


NUMBER = st.integers(0, 14)
ROWS = st.lists(
    st.builds(
        Row,
        trace=st.integers(0, 2),
        id=NUMBER,
        parent=st.none() | NUMBER,
        kind=st.integers(0, 5),
        service=st.sampled_from("abc"),
        start=st.integers(0, 12),
        length=st.sampled_from((0, 1, 4, 12, 30)),
        wire=st.integers(0, len(WIRES) - 1),
        failed=st.booleans(),
        follows=st.booleans(),
        shared=st.booleans(),
        link=st.none() | NUMBER,
    ),
    max_size=30,
)


def read(rows: Sequence[Row], *, skew: bool = False) -> Read:
    made = Traces()
    for row in rows:
        made.span(
            f"t{row.trace}",
            None if row.parent is None else f"s{row.parent}",
            row.service,
            "x",
            row.start / MS,
            (row.start + row.length) / MS,
            row.kind,
            id=f"s{row.id}",
            error=row.failed,
            attributes=WIRES[row.wire],
            links=[]
            if row.link is None
            else [Span(made, f"t{row.trace}", f"s{row.link}", row.service, 0, 0)],
            follows=row.follows,
            shared=row.shared,
        )
    found = made.normalised(skew=skew)
    return Read(found.spans, 1, found.repairs, ())


def analysed(rows: Sequence[Row], mode: Mode = "analyze") -> Analysis:
    return analyse(read(rows).spans, EMPTY, EAGER, mode)


anything = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@anything
@given(ROWS, st.sampled_from(tuple(PRESETS)), st.booleans())
def test_the_path_of_every_root_adds_up_to_it_to_the_nanosecond(
    rows: list[Row], preset: Preset, skew: bool
) -> None:
    for root in root_rows(read(rows, skew=skew).spans, preset):
        whole = root.root_duration_ns
        assert sum(root.exclusive_ns.values()) == whole
        assert sum(s.end_ns - s.start_ns for s in root.sections) == whole
        assert all(a.end_ns == b.start_ns for a, b in pairwise(root.sections))


@anything
@given(ROWS, st.sampled_from(("run", "analyze", "protocols")))
def test_savings_lie_between_nothing_and_the_cost(rows: list[Row], mode: Mode) -> None:
    found = analysed(rows, mode)
    for finding in found.findings + found.minor:
        low, high = finding.saving_ms
        assert low is not None
        assert high is not None
        assert 0 <= low <= high <= (finding.cost_ms.max or 0)
        assert 0 <= finding.completeness <= 1
        assert all(evidence.span_ids for evidence in finding.evidence)


@anything
@given(ROWS)
def test_no_two_findings_are_of_one_kind_and_place(rows: list[Row]) -> None:
    found = analysed(rows)
    prints = [f.fingerprint for f in found.findings + found.minor]
    assert len(set(prints)) == len(prints)


@anything
@given(ROWS)
def test_every_document_is_json_without_numbers_that_are_none(rows: list[Row]) -> None:
    given_ = read(rows)
    document = analysis_document(given_, analyse(given_.spans, EMPTY, EAGER, "analyze"))
    assert "nan" not in repr(document)
    assert orjson.loads(orjson.dumps(plain(document))) == told(document)


@pytest.mark.parametrize("reverse", [False, True])
def test_which_of_two_touching_calls_comes_first_in_the_file_does_not_matter(
    reverse: bool,
) -> None:
    """One call without length starts together with another, and is over before it begins."""
    made = Traces()
    for t in range(10):
        request = made.request(f"t{t}")
        calls = [("a", 1, 30), ("b", 30, 30), ("c", 30, 90)]
        for service, start, end in reversed(calls) if reverse else calls:
            request.call(service, "get", start, end, tax=0)
    (finding,) = made.found("fanout")
    assert finding.count_per_request.p50 == 3


def test_a_span_whose_start_was_left_out_is_malformed() -> None:
    with pytest.raises(Malformed, match="one of its times is missing"):
        Traces().span("t", None, "a", "n", -EPOCH / 1e6, 1)


def test_clocks_that_are_decades_apart_are_told_not_added_up() -> None:
    """Seven requests, each with one call today and one in 1970."""
    made = Traces()
    for t in range(7):
        request = made.request(f"t{t}")
        request.call("stock", "get", 1, 2, tax=0)
        request.call("stock", "get", 2 - EPOCH / 1e6, 3 - EPOCH / 1e6, tax=0)
    with pytest.raises(BadInput, match="years apart"):
        made.analysed()
