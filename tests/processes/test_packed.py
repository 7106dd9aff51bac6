"""Services that share processes: each with its own ports and telemetry, one way out for all."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from hopbench.engines.local.supervisor import Supervisor
from hopbench.engines.port import Evidence
from services.errors import CannotStart
from services.process import open_files
from services.process.job import Job
from services.scenario.file.parser import parse_text
from services.wire.topology import topology
from tests.processes.conftest import SCENARIO, plan, settings
from tests.processes.test_node import directory_of, on_a_node
from tests.processes.test_round import alive, handled, run

PACKED = SCENARIO.replace("seed: 7\n", "seed: 7\nprocesses: 2\n")
PACKED_EVENTS = """
version: 1
name: events
seed: 7
processes: 1
services:
  order:
    operations:
      create:
        - {publish: notify.send}
        - {call: stock.take, protocol: kafka}
  notify: {operations: {send: [sleep: 1ms]}}
  stock: {operations: {take: [sleep: 1ms]}}
load: {rate: 50/s, duration: 600ms, warmup: 200ms, entry: order.create}
"""


def test_services_of_a_pack_have_their_own_ports_and_one_named_process(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: Job) -> None:
        processes = await node.start(work)
        assert {f"{p.service}/{p.replica}" for p in processes} == {
            "order/0",
            "inventory/0",
            "price/0",
            "price/1",
        }
        assert len({p.pid for p in processes}) == 2
        assert len({p.address.ports["http"] for p in processes}) == 4
        titles = {" ".join(psutil.Process(p.pid).cmdline()).strip() for p in processes}
        assert titles == {"hopbench: pack/0 (2 services)", "hopbench: pack/1 (2 services)"}
        await node.connect(directory_of(processes))
        last = await node.stop(0)
        assert len(last.reports) == 4
        assert (tmp_path / "logs" / "pack-0.log").exists()

    on_a_node(tmp_path, talk, PACKED)


@pytest.mark.slow
@pytest.mark.parametrize("instrumentation", ["lean", "official"])
def test_a_packed_round_makes_the_calls_and_the_spans_of_an_unpacked_one(
    trial: Path, instrumentation: str
) -> None:
    evidence = run(settings(instrumentation=instrumentation), plan(PACKED), trial)
    _whole(evidence)
    requests = handled(evidence)["order"]
    assert handled(evidence) == {"order": requests, "inventory": 3 * requests, "price": requests}
    pids = {pid for of in evidence.service_pids.values() for pid in of}
    assert len(pids) == 2
    assert not [pid for pid in pids if alive(pid)]
    of_processes: dict[int, list[int]] = {}
    for report in evidence.processes:
        of_processes.setdefault(report.pid, []).append(report.cpu_ns)
    for used in of_processes.values():
        assert sum(value > 0 for value in used) == 1, "CPU time counts once for a process"
    assert evidence.host.start_s is not None
    assert evidence.host.start_s > 0
    assert evidence.host.memory_mb is not None
    assert evidence.host.memory_mb > 0


@pytest.mark.slow
def test_services_of_one_process_reach_each_other_over_a_broker(trial: Path) -> None:
    evidence = run(settings(), plan(PACKED_EVENTS), trial)
    _whole(evidence)
    counts = handled(evidence)
    assert counts["notify"] == counts["stock"] == counts["order"] > 0


def _whole(evidence: Evidence) -> None:
    assert (evidence.broken, evidence.undrained) == (None, None)
    expected = sum(process.spans_ended for process in evidence.processes)
    assert evidence.spans_received == expected > 0


def test_files_are_counted_by_listeners_and_connections_at_both_ends() -> None:
    scenario = parse_text(PACKED)
    replicas = {name: service.replicas for name, service in scenario.services.items()}

    def more(*services: str) -> int:
        found = open_files.needed(topology(scenario), services, replicas, 2)
        return found - open_files.BASE - open_files.HEADROOM

    assert more("inventory") == 1 + 2
    assert more("order") > more("inventory") + 2 * 2, "it also calls two replicas of price"
    assert more("order", "inventory") == more("order") + more("inventory")


LIMITED = """
import asyncio, resource, sys
from services.errors import CannotStart
from services.process.job import Job, work
from services.process.process import Process
from services.scenario.packing import Pack

pack = Pack("pack/0", (("order", 0), ("inventory", 0)))
job = Job(
    source=sys.stdin.read(), variant="baseline", packs=(pack,), seed=1, round="r",
    instrumentation="lean", tracing=True, traces="127.0.0.1:9", metrics="127.0.0.1:9",
    broker=None, unix_offset_ns=0, logs=None,
)

async def main():
    Process(work(job), pack)

resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])))
try:
    asyncio.run(main())
except CannotStart as error:
    print(error.part, error.text, error.hint)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("hard", "fits"), [(1024, True), (150, False)])
def test_a_process_takes_the_files_that_it_may_and_says_when_they_are_too_few(
    hard: int, fits: bool
) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 1024
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(hard)],
        input=PACKED,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    *said, limit = ended.stdout.splitlines()
    assert int(limit) == hard
    assert bool(said) is not fits
    if said:
        assert "2 services in one process need about" in said[0]
        assert "processes" in said[0]


@pytest.mark.slow
def test_a_pack_that_does_not_come_up_is_named(tmp_path: Path) -> None:
    async def talk(node: Supervisor, work: Job) -> None:
        nowhere = replace(work, host="203.0.113.1")  # TEST-NET-3: no address of any host
        with pytest.raises(CannotStart, match="cannot listen") as raised:
            await node.start(nowhere)
        assert raised.value.part.startswith("pack/")
        assert await node.counters() == ()

    on_a_node(tmp_path, talk, PACKED)


@pytest.mark.slow
def test_what_many_send_goes_out_together_and_nothing_is_lost(trial: Path) -> None:
    services = "".join(
        f"  s{number}: {{operations: {{go: [sleep: 1ms]}}}}\n" for number in range(40)
    )
    source = (
        "version: 1\nname: wide\nseed: 3\nprocesses: 1\nservices:\n"
        "  root:\n    operations:\n      go:\n        - parallel:\n"
        + "".join(f"            - {{call: s{number}.go}}\n" for number in range(40))
        + services
        + "load: {rate: 20/s, duration: 500ms, warmup: 0s, entry: root.go}\n"
    )
    evidence = run(settings(trace_ratio=1.0), plan(source), trial)
    _whole(evidence)
    assert evidence.spans_received == handled(evidence)["root"] * (1 + 1 + 40 * 2)
