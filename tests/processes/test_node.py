"""The node by its control calls: who may ask, what it starts, and what it says when that fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns

import psutil
import pytest
from aiohttp import ClientSession

from hopbench.collector.server import Ready
from hopbench.engines.local.supervisor import Supervisor, start_supervisor
from hopbench.parts.part import start_part
from services.errors import CannotStart
from services.node.messages import TOKEN_HEADER, Deaths, Last, Running
from services.process.job import Job
from services.process.orders import Begin
from services.scenario.packing import Pack, packs
from services.system.logs import END_BYTES
from services.wire.ports import Address, Directory
from tests.processes.conftest import SCENARIO, plan


def on_a_node(
    directory: Path,
    talk: Callable[[Supervisor, Job], Awaitable[None]],
    source: str = SCENARIO,
) -> None:
    """Run ``talk`` with a node and the job of the scenario."""

    async def once() -> None:
        collector = await start_part(
            "collector",
            "hopbench.collector.server",
            (f"--out={directory}",),
            directory / "c.log",
            ready=Ready,
        )
        node = await start_supervisor(directory / "node.log")
        try:
            await talk(node, _job(directory, collector.ready.grpc_port, source))
        finally:
            await node.close()
            await collector.stop()

    asyncio.run(once())
    assert psutil.Process().children(recursive=True) == []


def _job(directory: Path, collector: int, source: str) -> Job:
    planned = plan(source)
    return Job(
        source=source,
        variant="baseline",
        packs=packs(planned.scenario),
        seed=planned.seed,
        round="r",
        instrumentation="lean",
        tracing=True,
        traces=f"127.0.0.1:{collector}",
        metrics=f"127.0.0.1:{collector}",
        broker=None,
        unix_offset_ns=time.time_ns() - monotonic_ns(),
        logs=str(directory / "logs"),
    )


def directory_of(replicas: Iterable[Running]) -> Directory:
    found: dict[str, tuple[Address, ...]] = {}
    for each in sorted(replicas, key=lambda each: each.replica):
        found[each.service] = (*found.get(each.service, ()), each.address)
    return found


@pytest.mark.slow
def test_logs_that_a_node_keeps_come_with_the_last_reports(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: Job) -> None:
        order, *_ = await node.start(replace(work, logs=None))
        log = Path(f"/proc/{order.pid}/fd/1").resolve()  # noqa: ASYNC240
        assert log.name == "order-0.log"
        log.write_text("x" * END_BYTES + "the end\n")
        logs = (await node.stop(0)).logs
        assert logs.keys() == {"order-0", "inventory-0", "price-0", "price-1"}
        assert logs["order-0"].endswith("xthe end\n")
        assert len(logs["order-0"]) == END_BYTES
        assert not log.exists()

    on_a_node(tmp_path, talk)


def test_a_bench_on_another_host_names_unix_times(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: Job) -> None:
        source = work.source + "faults: [{pause: 1ms, at: {service: inventory}, from: 0s}]\n"
        await node.start(replace(work, source=source, unix_offset_ns=None))
        await node.begin(Begin(time.time_ns(), time.time_ns() + 1_000_000, "unix"))
        # A pause is due when the measured phase begins.
        async with asyncio.timeout(10):
            while not sum(r.faults_fired for r in await node.counters()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    on_a_node(tmp_path, talk)


def test_without_the_token_nothing_is_answered_but_that_it_serves(tmp_path: Path) -> None:
    async def talk(node: Supervisor, _job: Job) -> None:
        url = f"http://127.0.0.1:{node.part.ready.port}/quit"
        async with ClientSession() as stranger:
            for given in ({}, {TOKEN_HEADER: "guess"}, {TOKEN_HEADER: "gu\u00e9ss"}):
                async with stranger.post(url, headers=given) as answer:
                    assert answer.status == 403
            async with stranger.get(url.replace("/quit", "/health")) as answer:
                assert answer.status == 200
        assert await node.counters() == ()

    on_a_node(tmp_path, talk)


def test_processes_are_named_for_what_they_run_and_connect_to_each_other(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: Job) -> None:
        processes = await node.start(work)
        await node.connect(directory_of(processes))
        titles = {" ".join(psutil.Process(p.pid).cmdline()).strip() for p in processes}
        assert titles == {
            "hopbench: order/0",
            "hopbench: inventory/0",
            "hopbench: price/0",
            "hopbench: price/1",
        }
        at = {p.service: p.address for p in processes}
        assert "grpc" in at["price"].ports
        assert "grpc" not in at["inventory"].ports
        reports = (await node.stop(0)).reports
        assert sorted(f"{r.service}/{r.replica}" for r in reports) == [
            "inventory/0",
            "order/0",
            "price/0",
            "price/1",
        ]

    on_a_node(tmp_path, talk)


@pytest.mark.slow
def test_new_processes_replace_those_of_the_round_before(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: Job) -> None:
        first = {p.pid for p in await node.start(work)}
        second = {p.pid for p in await node.start(work)}
        assert not first & second
        assert not [pid for pid in first if psutil.pid_exists(pid)]

    on_a_node(tmp_path, talk)


def _host_of_nobody(work: Job) -> Job:
    return replace(work, host="203.0.113.1")  # TEST-NET-3: no address of any host


def _unknown_service(work: Job) -> Job:
    return replace(work, packs=(*work.packs, Pack("nobody/0", (("nobody", 0),))))


def _log_is_a_directory(work: Job) -> Job:
    assert work.logs is not None
    (Path(work.logs) / "order-0.log").mkdir(parents=True)
    return work


def _logs_below_a_file(work: Job) -> Job:
    assert work.logs is not None
    Path(work.logs).write_text("")
    return replace(work, logs=f"{work.logs}/here")


def _no_scenario(work: Job) -> Job:
    return replace(work, source="version: 1\nservicess: {}\n")


@pytest.mark.slow
def test_a_bug_in_the_node_is_told_with_its_log(tmp_path: Path) -> None:
    async def talk(node: Supervisor, _work: Job) -> None:
        with pytest.raises(CannotStart, match=r"failed at /deaths\?\S+ \(HTTP 500\)") as raised:
            await node._call("GET", "/deaths?within_s=soon", Deaths)
        assert "ValueError: could not convert string to float: 'soon'" in raised.value.log

    on_a_node(tmp_path, talk)


def test_a_node_says_what_it_does_not_understand_of_an_order(tmp_path: Path) -> None:
    async def talk(node: Supervisor, _work: Job) -> None:
        with pytest.raises(CannotStart, match=r"does not understand /stop: .*grace_ns"):
            await node._call("POST", "/stop", Last, {"no": "grace"})
        assert await node.counters() == ()

    on_a_node(tmp_path, talk)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "part", "text"),
    [
        (_host_of_nobody, "/", "cannot listen on 203.0.113.1"),
        (_unknown_service, "nobody/0", "ended while starting (exit 70)"),
        (_log_is_a_directory, "order/0", "ended while starting (exit 70)"),
        (_logs_below_a_file, "node", "Not a directory"),
        (_no_scenario, "scenario", "servicess"),
    ],
)
def test_what_does_not_come_up_is_named_and_nothing_of_it_is_left(
    tmp_path: Path, spoil: Callable[[Job], Job], part: str, text: str
) -> None:
    async def talk(node: Supervisor, work: Job) -> None:
        spoilt = spoil(work)
        with pytest.raises(CannotStart) as raised:
            await node.start(spoilt)
        assert part in raised.value.part
        assert text in raised.value.text
        if part == "nobody/0":
            assert "KeyError: 'nobody'" in raised.value.log
        assert await node.counters() == ()

    on_a_node(tmp_path, talk)
