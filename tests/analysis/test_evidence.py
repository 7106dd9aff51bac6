"""What a finding cites."""

from __future__ import annotations

from tests.analysis.build import Traces


def test_the_most_typical_traces_are_cited_not_the_dearest() -> None:
    """Five calls of 1, 2, … 9 ms each, one trace a length: the median is 5 ms."""
    traces = Traces()
    for ms in range(1, 10):
        request = traces.request(f"t{ms}", end=60)
        for i in range(5):
            request.call("stock", "reserve", i * 10, i * 10 + ms)
    (finding,) = traces.found("chatty")
    cited = [evidence.trace_id for evidence in finding.evidence]
    assert cited[0] == "t5"
    assert set(cited[1:]) == {"t4", "t6"}
