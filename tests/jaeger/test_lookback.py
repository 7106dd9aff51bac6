"""Anybody's traces out of a Jaeger, as `hopbench analyze` and `critical-path` read them."""

from __future__ import annotations

from dataclasses import replace
from time import time_ns

import pytest

from hopbench.exits import Exit
from hopbench.jaeger import lookback
from hopbench.jaeger.lookback import Wanted
from services.errors import BadInput
from tests.command_line import Hopbench
from tests.documents import conforms
from tests.jaeger.stand_in import SECOND_NS, Api, Span, Store, beside, shop, trace


def recent(count: int) -> list[Span]:
    return shop(count, time_ns() - 600 * SECOND_NS)


@pytest.mark.parametrize("api", ["v3", "camel", "legacy"])
def test_all_traces_of_all_services_come_once(api: Api) -> None:
    with beside(Store(recent(30), api=api)) as url:
        read = lookback.read(url, Wanted())
    assert sorted(read.spans.trace_ids) == [trace(i + 1) for i in range(30)]
    assert len(read.spans) == 90
    assert read.skipped == ()
    assert read.address == url


def test_the_limit_takes_the_latest_traces_and_says_so() -> None:
    with beside(Store(recent(500))) as url:
        read = lookback.read(url, Wanted(services=("order",), limit=300))
    assert sorted(read.spans.trace_ids) == [trace(i + 1) for i in range(200, 500)]
    (left,) = read.skipped
    assert "service order has more traces than the 300" in left.reason


def test_a_limit_that_fits_exactly_leaves_nothing_out() -> None:
    with beside(Store(recent(300))) as url:
        read = lookback.read(url, Wanted(limit=300))
    assert len(read.spans.trace_ids) == 300
    assert read.skipped == ()


def test_older_traces_are_left_out() -> None:
    old = [replace(s, trace="f" + s.trace[1:]) for s in shop(5, time_ns() - 2 * 3600 * SECOND_NS)]
    with beside(Store([*old, *recent(5)])) as url:
        assert len(lookback.read(url, Wanted()).spans.trace_ids) == 5
        longer = Wanted(lookback_ns=3 * 3600 * SECOND_NS)
        assert len(lookback.read(url, longer).spans.trace_ids) == 10


def test_a_service_that_is_not_there_is_told_with_those_that_are() -> None:
    with beside(Store(recent(1))) as url, pytest.raises(BadInput, match="knows no basket") as bad:
        lookback.read(url, Wanted(services=("basket",)))
    assert "gateway, order" in str(bad.value)


def test_a_broken_answer_is_told() -> None:
    with (
        beside(Store(recent(1), faults=["junk"])) as url,
        pytest.raises(BadInput, match="not JSON"),
    ):
        lookback.read(url, Wanted())


def test_analyze_reads_an_address_and_links_its_evidence(hopbench: Hopbench) -> None:
    calls = [
        Span(trace(t + 1), f"{t * 100 + n + 1:016x}", "stock", at + n * 2000)
        for t, at in enumerate(time_ns() - 60 * SECOND_NS + t * 10**8 for t in range(30))
        for n in range(3)
    ]
    with beside(Store(calls)) as url:
        done = hopbench("analyze", url, "--service", "stock", "--json", "-", "--quiet")
        assert done.code == Exit.DONE, done.err
        document = done.document
        conforms(document)
        assert document["input"]["address"] == url
        assert document["input"]["traces"] == 30
        done = hopbench("critical-path", url, "--lookback", "5min", "--json", "-", "--quiet")
        assert done.code == Exit.DONE, done.err
        # Each of a trace's three spans is a root, as none has a parent.
        assert len(done.document["traces"]) == 90
    for finding in [*document["findings"], *document["minor"]]:
        for cited in finding["evidence"]:
            assert cited["url"] == f"{url}/trace/{cited['trace_id']}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1"], "Connection refused"),
        (["http://127.0.0.1:1", "more.json"], "stands alone"),
        (["http://127.0.0.1:1", "--variant", "baseline"], "--variant"),
        (["http://127.0.0.1:1", "--lookback", "long"], "--lookback"),
        (["http://127.0.0.1:1", "--lookback", "0s"], "--lookback"),
        (["http://"], "no URL of a Jaeger"),
        (["HTTP://127.0.0.1:1"], "Connection refused"),
        (["127.0.0.1:16686"], "a Jaeger as http://HOST:16686"),
        (["http://127.0.0.1:1", "--service", ""], "--service has no name"),
        (["README.md", "--limit", "5"], "--limit is for the address of a Jaeger"),
        (["README.md", "--service", "a"], "--service is for the address of a Jaeger"),
    ],
)
def test_bad_addresses_and_flags_are_exit_2(
    hopbench: Hopbench, arguments: list[str], said: str
) -> None:
    done = hopbench("critical-path" if len(arguments) == 1 else "analyze", *arguments)
    assert done.code == Exit.BAD_INPUT
    assert said in done.err
    assert "Traceback" not in done.err


def test_no_traces_of_that_time_is_no_analysis() -> None:
    old = shop(5, time_ns() - 2 * 3600 * SECOND_NS)
    with (
        beside(Store(old)) as url,
        pytest.raises(BadInput, match="has no traces of the last 3600s with order") as bad,
    ):
        lookback.read(url, Wanted(services=("order",)))
    assert "--lookback" in str(bad.value)
    with beside(Store()) as url, pytest.raises(BadInput, match="it has none at all"):
        lookback.read(url, Wanted())


def test_a_web_page_is_no_jaeger(hopbench: Hopbench) -> None:
    with beside(Store(api="page")) as url:
        done = hopbench("analyze", url)
    assert done.code == Exit.BAD_INPUT
    assert "is no Jaeger: its answer is not JSON" in done.err
