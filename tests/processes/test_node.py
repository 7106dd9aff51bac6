"""The node by its control calls: who may ask, what it starts, and what it says when that fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic_ns
from typing import Any

import psutil
import pytest
from aiohttp import ClientSession

from hopbench.engines.local.supervisor import Supervisor, start_supervisor
from hopbench.engines.wall.job import directory_of, job
from hopbench.parts.part import Part, start_part
from services.errors import CannotStart
from services.node.forks import LOG_BYTES
from services.node.server import TOKEN_HEADER
from tests.processes.conftest import SCENARIO, plan, settings


def on_a_node(
    directory: Path,
    talk: Callable[[Supervisor, dict[str, Any]], Awaitable[None]],
    source: str = SCENARIO,
) -> None:
    """Run ``talk`` with a node and the job of the scenario."""

    async def once() -> None:
        collector = await start_part(
            "collector", "hopbench.collector.server", (f"--out={directory}",), directory / "c.log"
        )
        node = await start_supervisor(directory / "node.log")
        try:
            await talk(node, _job(directory, collector, source))
        finally:
            await node.close()
            await collector.stop()

    asyncio.run(once())
    assert psutil.Process().children(recursive=True) == []


def _job(directory: Path, collector: Part, source: str) -> dict[str, Any]:
    planned = plan(source)
    return job(
        planned.scenario,
        source,
        "baseline",
        settings=settings(),
        seed=planned.seed,
        unix_offset_ns=time.time_ns() - monotonic_ns(),
        logs=directory / "logs",
        collector=collector,
        broker=None,
    )


def test_logs_that_a_node_keeps_come_with_the_last_reports(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: dict[str, Any]) -> None:
        work["settings"]["logs"] = None
        order, *_ = await node.start(work)
        log = Path(f"/proc/{order['pid']}/fd/1").resolve()  # noqa: ASYNC240
        assert log.name == "order-0.log"
        log.write_text("x" * LOG_BYTES + "the end\n")
        logs = (await node.stop(0)).logs
        assert logs.keys() == {"order-0", "inventory-0", "price-0", "price-1"}
        assert logs["order-0"].endswith("xthe end\n")
        assert len(logs["order-0"]) == LOG_BYTES
        assert not log.exists()

    on_a_node(tmp_path, talk)


def test_a_bench_on_another_host_names_unix_times(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: dict[str, Any]) -> None:
        work["source"] += "faults: [{pause: 1ms, at: {service: inventory}, from: 0s}]\n"
        work["settings"]["unix_offset_ns"] = None
        await node.start(work)
        await node.begin(time.time_ns(), time.time_ns() + 1_000_000, "unix")
        # A pause is due when the measured phase begins.
        async with asyncio.timeout(10):
            while not sum(r.faults_fired for r in await node.counters()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    on_a_node(tmp_path, talk)


def test_without_the_token_nothing_is_answered_but_that_it_serves(tmp_path: Path) -> None:
    async def talk(node: Supervisor, _job: dict[str, Any]) -> None:
        url = f"http://127.0.0.1:{node.part.ready['port']}/quit"
        async with ClientSession() as stranger:
            for given in ({}, {TOKEN_HEADER: "guess"}, {TOKEN_HEADER: "gu\u00e9ss"}):
                async with stranger.post(url, headers=given) as answer:
                    assert answer.status == 403
            async with stranger.get(url.replace("/quit", "/health")) as answer:
                assert answer.status == 200
        assert await node.counters() == ()

    on_a_node(tmp_path, talk)


def test_processes_are_named_for_what_they_run_and_connect_to_each_other(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: dict[str, Any]) -> None:
        processes = await node.start(work)
        await node.connect(directory_of(processes))
        titles = {" ".join(psutil.Process(p["pid"]).cmdline()).strip() for p in processes}
        assert titles == {
            "hopbench: order/0",
            "hopbench: inventory/0",
            "hopbench: price/0",
            "hopbench: price/1",
        }
        ports = {p["service"]: (p["http_port"], p["grpc_port"]) for p in processes}
        assert ports["price"][1] is not None
        assert ports["inventory"][1] is None
        reports = (await node.stop(0)).reports
        assert sorted(f"{r.service}/{r.replica}" for r in reports) == [
            "inventory/0",
            "order/0",
            "price/0",
            "price/1",
        ]

    on_a_node(tmp_path, talk)


def test_new_processes_replace_those_of_the_round_before(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: dict[str, Any]) -> None:
        first = {p["pid"] for p in await node.start(work)}
        second = {p["pid"] for p in await node.start(work)}
        assert not first & second
        assert not [pid for pid in first if psutil.pid_exists(pid)]

    on_a_node(tmp_path, talk)


def _host_of_nobody(work: dict[str, Any]) -> None:
    work["settings"]["host"] = "203.0.113.1"  # TEST-NET-3: no address of any host


def _unknown_service(work: dict[str, Any]) -> None:
    work["processes"].append([("nobody", 0)])


def _log_is_a_directory(work: dict[str, Any]) -> None:
    (Path(work["settings"]["logs"]) / "order-0.log").mkdir(parents=True)


def _logs_below_a_file(work: dict[str, Any]) -> None:
    logs = Path(work["settings"]["logs"])
    logs.write_text("")
    work["settings"]["logs"] = str(logs / "here")


def _no_scenario(work: dict[str, Any]) -> None:
    work["source"] = "version: 1\nservicess: {}\n"


def test_a_bug_in_the_node_is_told_with_its_log(tmp_path: Path) -> None:
    async def talk(node: Supervisor, _work: dict[str, Any]) -> None:
        with pytest.raises(CannotStart, match=r"failed at /stop \(HTTP 500\)") as raised:
            await node._call("POST", "/stop", {"no": "grace"})
        assert "KeyError: 'grace_ns'" in raised.value.log

    on_a_node(tmp_path, talk)


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
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], part: str, text: str
) -> None:
    async def talk(node: Supervisor, work: dict[str, Any]) -> None:
        spoil(work)
        with pytest.raises(CannotStart) as raised:
            await node.start(work)
        assert part in raised.value.part
        assert text in raised.value.text
        if part == "nobody/0":
            assert "KeyError: 'nobody'" in raised.value.log
        assert await node.counters() == ()

    on_a_node(tmp_path, talk)
