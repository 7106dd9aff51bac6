"""A round's traces, read back: whole, once, and nobody else's."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.reading.inputs import ANSWERS, read_spools
from hopbench.engines.wall.trace_stores import Watch
from hopbench.jaeger.client import Jaeger, Unanswered, addresses
from hopbench.jaeger.readback import SLACK_NS, Readback, Sought, sought, windows
from loadgen.schedule import arrivals
from services.scenario.file.parser import parse_text
from tests.jaeger.stand_in import SECOND_NS, Api, Fault, Span, Store, serving, shop, trace

T0 = 1_800_000_000 * SECOND_NS
COUNT = 40


def wanted(count: int = COUNT) -> Sought:
    return Sought(
        {"gateway": tuple(T0 + i * SECOND_NS // 10 for i in range(count))},
        frozenset(trace(i + 1) for i in range(count)),
    )


def read(
    store: Store, spool: Path, *, expected: int = 3 * COUNT, what: Sought | None = None
) -> int:
    async def live() -> int:
        async with serving(store) as url, Jaeger(url) as jaeger:
            await jaeger.find_api()
            back = Readback(jaeger, what or wanted(), spool, calm_s=0.1)
            return await back.read(expected, 30.0)

    return asyncio.run(live())


@pytest.mark.parametrize("api", ["v3", "camel", "legacy"])
def test_every_span_comes_back_once(tmp_path: Path, api: Api) -> None:
    store = Store(shop(COUNT, T0), api=api)
    spool = tmp_path / ANSWERS
    assert read(store, spool) == 3 * COUNT
    spans = read_spools([spool])
    assert len(spans) == 3 * COUNT
    assert sorted(spans.trace_ids) == sorted(wanted().ids)


def test_traces_of_others_are_left_where_they_are(tmp_path: Path) -> None:
    others = [
        Span(f"{0xFFFF0000 + i:032x}", f"{0xFFFF0000 + i:016x}", "gateway", T0 + i * 10**7)
        for i in range(400)
    ]
    store = Store([*shop(COUNT, T0), *others])
    spool = tmp_path / ANSWERS
    assert read(store, spool) == 3 * COUNT
    assert b"ffff00" not in spool.read_bytes()
    assert len(read_spools([spool])) == 3 * COUNT


def test_what_a_search_lacks_is_asked_for_by_id(tmp_path: Path) -> None:
    store = Store(shop(COUNT, T0), hidden={trace(3), trace(17)})
    spool = tmp_path / ANSWERS
    assert read(store, spool) == 3 * COUNT
    assert sorted(store.by_id()) == [trace(3), trace(17)]
    assert len(read_spools([spool])) == 3 * COUNT


def test_a_trace_without_a_span_of_its_entry_is_found_by_id(tmp_path: Path) -> None:
    spans = [s for s in shop(COUNT, T0) if s.trace != trace(5) or s.service == "order"]
    store = Store(spans)
    assert read(store, tmp_path / ANSWERS, expected=len(spans)) == len(spans)


def test_spans_that_come_late_are_waited_for(tmp_path: Path) -> None:
    spans = shop(COUNT, T0)
    store = Store(spans[:-4])
    spool = tmp_path / ANSWERS

    async def live() -> int:
        async with serving(store) as url, Jaeger(url) as jaeger:
            reading = asyncio.create_task(
                Readback(jaeger, wanted(), spool, calm_s=10.0).read(len(spans), 30.0)
            )
            await store.looked_by_id.wait()
            store.add(*spans[-4:])
            return await reading

    assert asyncio.run(live()) == len(spans)
    assert len(read_spools([spool])) == len(spans)


def test_lost_spans_end_the_waiting(tmp_path: Path) -> None:
    store = Store(shop(COUNT, T0)[:-5])
    assert read(store, tmp_path / ANSWERS) == 3 * COUNT - 5


def test_a_store_that_has_lost_everything_is_no_error(tmp_path: Path) -> None:
    spool = tmp_path / ANSWERS
    assert read(Store(), spool) == 0
    assert not spool.exists()


def test_a_round_without_sampled_requests_asks_nothing(tmp_path: Path) -> None:
    store = Store(shop(COUNT, T0))
    assert read(store, tmp_path / ANSWERS, what=Sought({}, frozenset())) == 0
    assert store.searched() == []


@pytest.mark.parametrize("fault", ["junk", "reset", "500"])
def test_a_broken_answer_is_told_and_what_came_stays(tmp_path: Path, fault: Fault) -> None:
    store = Store(shop(COUNT, T0), faults=[fault] * 9)
    with pytest.raises(Unanswered):
        read(store, tmp_path / ANSWERS)


def test_a_cut_last_line_of_the_spool_is_no_error(tmp_path: Path) -> None:
    spool = tmp_path / ANSWERS
    read(Store(shop(COUNT, T0)), spool)
    with spool.open("ab") as file:
        file.write(b'{"result": {"resourceSpans": [{"resou')
    assert len(read_spools([spool])) == 3 * COUNT


@given(
    times=st.lists(st.integers(0, 60 * SECOND_NS), min_size=1, max_size=300),
    spans=st.integers(0, 10**6),
)
def test_windows_cover_the_round_without_gap_or_overlap(times: list[int], spans: int) -> None:
    due = tuple(T0 + t for t in sorted(times))
    what = Sought({"gateway": due}, frozenset(trace(i) for i in range(len(due))))
    found = list(windows(what, spans, T0 + 70 * SECOND_NS))
    assert found[0].from_ns == due[0] - SLACK_NS
    assert found[-1].to_ns == T0 + 70 * SECOND_NS + SLACK_NS
    for before, after in pairwise(found):
        assert after.from_ns == before.to_ns + 1


SCENARIO = """\
version: 1
services:
  gateway: {operations: {buy: [sleep: 1ms]}}
  shop: {operations: {look: [sleep: 1ms]}}
load:
  rate: 100/s
  duration: 2s
  entries: [{call: gateway.buy, weight: 3}, {call: shop.look, weight: 1}]
"""


def test_what_is_sought_is_what_the_schedule_samples() -> None:
    load = parse_text(SCENARIO).load
    schedule = arrivals(load, 7, trace_ratio=0.5, trace_salt=3)
    what = sought(load, schedule, T0)
    sampled = int(schedule.sampled.sum())
    assert 0 < sampled < len(schedule)
    assert len(what.ids) == sampled
    assert set(what.due_ns) == {"gateway", "shop"}
    assert sum(map(len, what.due_ns.values())) == sampled
    row = int(schedule.sampled.argmax())
    assert f"{int(schedule.trace_hi[row]):016x}{int(schedule.trace_lo[row]):016x}" in what.ids
    assert min(min(times) for times in what.due_ns.values()) == T0 + schedule.offset_ns[row]


@pytest.mark.slow
def test_a_jaeger_that_goes_is_noticed_and_one_that_stays_is_not() -> None:
    async def live() -> str:
        async with serving(Store(shop(1, T0))) as url:
            # Its own port stands for OTLP's: something listens there.
            at = addresses(url, url.removeprefix("http://"))
            watch = Watch(at, "v3", gone_s=0.2, look_s=0.02)
            died = asyncio.create_task(watch.died())
            done, _ = await asyncio.wait({died}, timeout=1.0)
            assert not done
        return await died

    assert "jaeger is gone: http://127.0.0.1:" in asyncio.run(live())


@pytest.mark.slow
@pytest.mark.parametrize("last", ["answers", "refuses"])
def test_stalls_and_refusals_in_turn_do_not_add_up_to_gone(last: str) -> None:
    """A stall ends when the client gives up, after 3 s; a refusal may last 1 s here."""

    async def live() -> bool:
        store = Store(shop(1, T0), ailing=["500", "stall", "500"])
        async with serving(store) as url:
            at = addresses(url, url.removeprefix("http://"))
            watch = Watch(at, "v3", gone_s=1.0, stalled_s=60.0, look_s=0.02)
            died = asyncio.create_task(watch.died())
            while len(store.asked) < 4 and not died.done():  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0.02)
            assert not died.done()
            if last == "refuses":
                store.ailing = ["500"] * 1000
                told = await died
                assert "jaeger is gone" in told
                assert "storage is out of order" in told
            else:
                died.cancel()
        return True

    assert asyncio.run(live())


@pytest.mark.slow
def test_a_jaeger_that_stalls_for_long_is_gone() -> None:
    async def live() -> str:
        async with serving(Store(ailing=["stall"] * 9)) as url:
            at = addresses(url, url.removeprefix("http://"))
            return await Watch(at, "v3", gone_s=60.0, stalled_s=0.1, look_s=0.02).died()

    assert "does not answer: nothing within 3 s" in asyncio.run(live())


def test_a_jaeger_that_takes_no_spans_any_more_is_gone() -> None:
    async def live() -> str:
        async with serving(Store()) as url:
            at = addresses(url, "127.0.0.1:1")
            return await Watch(at, "v3", gone_s=0.1, look_s=0.02).died()

    assert "127.0.0.1:1 takes no spans: Connection refused" in asyncio.run(live())
