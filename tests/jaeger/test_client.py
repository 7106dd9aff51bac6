"""The query API as a client meets it: both spellings, both APIs, and what is no Jaeger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import pytest

from hopbench.jaeger.answers import EMPTY
from hopbench.jaeger.client import (
    Addresses,
    DepthRefused,
    Jaeger,
    Unanswered,
    addresses,
    connected,
    pages,
    rfc3339,
)
from services.errors import BadInput, CannotStart
from services.system.endpoints import Endpoint
from tests.jaeger.stand_in import SECOND_NS, Api, Fault, Span, Store, serving, shop, trace

T0 = 1_800_000_000 * SECOND_NS


def asking(store: Store, work: Callable[[Jaeger], Awaitable[None]]) -> None:
    async def live() -> None:
        async with serving(store) as url, Jaeger(url) as jaeger:
            await jaeger.find_api()
            await work(jaeger)

    asyncio.run(live())


@pytest.mark.parametrize("api", ["v3", "camel", "legacy"])
def test_a_search_finds_the_same_in_every_api(api: Api) -> None:
    store = Store(shop(10, T0), api=api)

    async def work(jaeger: Jaeger) -> None:
        assert jaeger.api == ("legacy" if api == "legacy" else "v3")
        assert await jaeger.services() == ("gateway", "order")
        page = await jaeger.search("order", T0 + 2 * SECOND_NS // 10, T0 + SECOND_NS // 2, 100)
        assert set(page.spans) == {trace(3), trace(4), trace(5)}
        assert page.spans[trace(3)] == {f"{n:016x}" for n in (7, 8, 9)}

    asking(store, work)


@pytest.mark.parametrize("api", ["v3", "legacy"])
def test_a_trace_is_found_by_id_and_one_that_is_not_there_is_empty(api: Api) -> None:
    store = Store(shop(2, T0), api=api)

    async def work(jaeger: Jaeger) -> None:
        assert {t: len(ids) for t, ids in (await jaeger.trace(trace(2))).spans.items()} == {
            trace(2): 3
        }
        assert await jaeger.trace(trace(9)) is EMPTY

    asking(store, work)


def test_a_fresh_jaeger_has_no_services_and_is_one_all_the_same() -> None:
    async def work(jaeger: Jaeger) -> None:
        assert jaeger.api == "v3"
        assert await jaeger.services() == ()
        assert await jaeger.search("gateway", T0, T0 + 1, 10) is EMPTY

    asking(Store(), work)


def test_what_answers_with_pages_is_no_jaeger() -> None:
    with pytest.raises(Unanswered, match="is no Jaeger: its answer is not JSON"):
        asking(Store(api="page"), lambda jaeger: asyncio.sleep(0))


@pytest.mark.parametrize("api", ["v3", "legacy"])
def test_pages_halve_the_window_until_nothing_is_left_out(api: Api) -> None:
    store = Store(shop(100, T0), api=api)

    async def work(jaeger: Jaeger) -> None:
        found: list[str] = []
        async for page in pages(jaeger, "gateway", T0, T0 + 10 * SECOND_NS, 8):
            assert len(page.spans) < 8
            found += page.spans
        assert set(found) == {trace(i + 1) for i in range(100)}
        # Windows follow each other: a trace comes twice only across the cut.
        assert len(found) < 150

    asking(store, work)


def test_more_traces_at_one_moment_than_the_depth_end_in_one_answer() -> None:
    store = Store([Span(trace(i + 1), f"{i + 1:016x}", "gateway", T0) for i in range(20)])

    async def work(jaeger: Jaeger) -> None:
        found: set[str] = set()
        async for page in pages(jaeger, "gateway", T0 - SECOND_NS, T0 + SECOND_NS, 8):
            found |= page.spans.keys()
        assert len(found) == 8

    asking(store, work)
    assert len(store.asked) < 100


def test_a_depth_that_the_store_refuses_becomes_smaller() -> None:
    store = Store(shop(30, T0), max_traces=20)

    async def work(jaeger: Jaeger) -> None:
        with pytest.raises(DepthRefused, match="search depth"):
            await jaeger.search("gateway", T0, T0 + SECOND_NS, 21)
        found: set[str] = set()
        async for page in pages(jaeger, "gateway", T0, T0 + 10 * SECOND_NS, 64):
            found |= page.spans.keys()
        assert len(found) == 30

    asking(store, work)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("junk", "not JSON"),
        ("reset", "does not answer"),
        ("500", "HTTP 500: storage is out of order"),
    ],
)
def test_what_is_no_answer_is_told(fault: Fault, said: str) -> None:
    store = Store(shop(3, T0), faults=[fault] * 3)

    async def work(jaeger: Jaeger) -> None:
        with pytest.raises(Unanswered, match=said):
            await jaeger.search("gateway", T0, T0 + SECOND_NS, 10)

    asking(store, work)


def test_an_answer_without_spans_is_empty() -> None:
    async def work(jaeger: Jaeger) -> None:
        assert not (await jaeger.search("gateway", T0, T0 + SECOND_NS, 10)).spans

    asking(Store(shop(3, T0), faults=["empty"]), work)


def test_others_traces_are_left_out_of_a_line() -> None:
    apis: tuple[Literal["v3", "legacy"], ...] = ("v3", "legacy")
    for api in apis:

        async def work(jaeger: Jaeger) -> None:
            page = await jaeger.search("gateway", T0, T0 + SECOND_NS, 10)
            line = page.only({trace(2)})
            assert b"\n" not in line
            assert trace(2).encode() in line
            assert trace(1).encode() not in line
            assert page.only(page.spans.keys()) == page.raw

        asking(Store(shop(3, T0), api=api), work)


def test_nobody_there_is_exit_5_with_what_to_do() -> None:
    with pytest.raises(CannotStart, match="Connection refused") as failure:
        asyncio.run(connected(addresses("http://127.0.0.1:1")))
    assert "start Jaeger there" in str(failure.value)


def test_a_port_that_speaks_no_http_is_told_in_a_line() -> None:
    async def frames(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # As OTLP's port does: HTTP/2's settings, whatever is asked.
        writer.write(b"\0\0\6\4\0\0\0\0\0\0\5\0\0@\0")
        await reader.read()
        writer.close()

    async def live() -> None:
        async with await asyncio.start_server(frames, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await connected(addresses(f"http://127.0.0.1:{port}"))

    with pytest.raises(CannotStart, match="does not answer: what it says is no HTTP") as failure:
        asyncio.run(live())
    assert "bytes" not in str(failure.value)


def test_a_jaeger_that_takes_no_spans_is_told_apart() -> None:
    async def live() -> None:
        async with serving(Store()) as url:
            await connected(addresses(url, "127.0.0.1:1"))

    with pytest.raises(CannotStart, match=r"answers, but 127\.0\.0\.1:1 takes no spans") as failure:
        asyncio.run(live())
    assert "--jaeger-otlp" in str(failure.value)


def test_http_where_otlp_should_be_is_told() -> None:
    async def live() -> None:
        async with serving(Store()) as url:
            await connected(addresses(url, url.removeprefix("http://")))

    with pytest.raises(CannotStart, match="no OTLP over gRPC there"):
        asyncio.run(live())


def test_addresses_have_defaults_and_a_base_path_stays() -> None:
    assert addresses("http://jaeger:16686/") == Addresses(
        "http://jaeger:16686", Endpoint("jaeger", 4317), "http://jaeger:16686"
    )
    assert addresses("https://[::1]/jaeger/").otlp == Endpoint("::1", 4317)
    at = addresses("http://jaeger:16686/base", "other:1234", "http://localhost:8080/base/")
    assert at.link("ab") == "http://localhost:8080/base/trace/ab"

    async def live() -> None:
        async with serving(Store(shop(1, T0))) as url, Jaeger(f"{url}/base") as jaeger:
            await jaeger.find_api()
            assert await jaeger.services() == ("gateway", "order")

    asyncio.run(live())


@pytest.mark.parametrize(
    "url", ["jaeger", "jaeger:16686", "ftp://jaeger", "http://", "http://jaeger:x", "http://j/?a=1"]
)
def test_what_is_no_url_is_bad_input(url: str) -> None:
    with pytest.raises(BadInput, match="--jaeger"):
        addresses(url)


@pytest.mark.parametrize("otlp", ["jaeger", "jaeger:", ":4317", "jaeger:0", "http://jaeger:4317"])
def test_what_is_no_otlp_address_is_bad_input(otlp: str) -> None:
    with pytest.raises(BadInput, match="--jaeger-otlp"):
        addresses("http://jaeger:16686", otlp)


def test_times_are_exact_to_the_nanosecond() -> None:
    assert rfc3339(T0 + 1) == "2027-01-15T08:00:00.000000001Z"
