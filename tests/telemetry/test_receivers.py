"""Spans and metrics that go to different receivers: one that is gone holds up nothing else."""

from __future__ import annotations

import socket
from time import monotonic

import pytest

from services.telemetry.sender import Request, Sender
from tests.telemetry.test_pipeline import receiving

BODY = b"\x0a\x00"
"""A request that holds an empty group."""


def nobody() -> str:
    """An endpoint where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def test_each_signal_goes_to_its_own_receiver() -> None:
    with receiving() as spans, receiving() as metrics:
        sender = Sender(spans.endpoint, metrics.endpoint)
        sender.send("traces", Request(BODY, 3))
        sender.send("metrics", Request(BODY, 2))
        assert sender.drain(10.0)
        sender.close()
    assert (spans.traces, spans.metrics) == ([BODY], [])
    assert (metrics.traces, metrics.metrics) == ([], [BODY])
    assert sender.exported == {"traces": 3, "metrics": 2}
    assert sender.lost == {"traces": 0, "metrics": 0}


@pytest.mark.slow
def test_metrics_arrive_while_spans_find_nobody() -> None:
    with receiving() as metrics:
        sender = Sender(nobody(), metrics.endpoint, timeout_s=60.0)
        for _ in range(3):
            sender.send("traces", Request(BODY, 5))
        sender.send("metrics", Request(BODY, 2))
        assert not sender.drain(1.0)
        assert metrics.metrics == [BODY]
        began = monotonic()
        sender.close()
        # The exporter's retries would go on for a minute.
        assert monotonic() - began < 30.0
    assert sender.exported == {"traces": 0, "metrics": 2}
    assert sender.lost == {"traces": 15, "metrics": 0}
