"""The generator as a process: real Locust, real sockets."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import psutil
import pytest

from loadgen import launch
from loadgen.messages import Broken, Finished, Progress, Ready, Stop
from loadgen.plan import PLAN_VARIABLE
from loadgen.samples import DROPPED, ERROR, NOT_REACHED, OK, TIMEOUT
from loadgen.schedule import MEASURED, NO_KEY, WARMUP
from loadgen.spool.reader import read
from services.scenario.distributions import Constant, Uniform
from services.scenario.model import Protocol
from services.scenario.pace import Closed
from services.wire.ports import Address
from services.wire.ticket import encode_header, entry_ticket
from tests.loadgen.conftest import Shop
from tests.loadgen.rig import MS, entry, generator, load, plan

PROTOCOLS: tuple[Protocol, ...] = ("http", "grpc")
ONE_FAST = ("http", pytest.param("grpc", marks=pytest.mark.slow))
"""Both protocols, where the second costs more time than it is likely to show."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_arrival_is_sent_once_and_its_end_recorded(
    protocol: Protocol, shop: Shop, tmp_path: Path
) -> None:
    mixed = load(entry(protocol=protocol, weight=3), entry("broken", protocol=protocol), rate=300)
    asked = plan(mixed, shop.address, tmp_path)
    with generator(asked, tmp_path) as running:
        start_ns = running.start()
        counts = running.hear(Finished).counts
        assert running.end() == 0
    schedule = asked.schedule()
    records = np.sort(running.samples().records, order="seq")
    broken = schedule.entry == 1
    assert records["seq"].tolist() == schedule.number.tolist()
    assert records["intended_ns"].tolist() == (schedule.offset_ns + start_ns).tolist()
    assert records["sampled"].tolist() == schedule.sampled.astype(int).tolist()
    assert records["status"].tolist() == np.where(broken, ERROR, OK).tolist()
    codes = {"http": (500, 200), "grpc": (13, 0)}[protocol]
    assert records["code"].tolist() == np.where(broken, *codes).tolist()
    assert (records["sent_ns"] >= records["intended_ns"]).all()
    assert (records["done_ns"] > records["sent_ns"]).all()
    assert set(records["response_bytes"][~broken].tolist()) == {200}
    assert counts.scheduled == counts.sent == len(schedule)
    assert (counts.ok, counts.error) == (int((~broken).sum()), int(broken.sum()))
    assert counts.complete
    assert counts.broken is None
    assert counts.cpu_ns > 0
    assert counts.core_wait_ns is None or counts.core_wait_ns >= 0
    assert counts.lag_ns.n == len(schedule)
    assert counts.hub_lag_ns.n > 20


@pytest.mark.parametrize("protocol", ONE_FAST)
def test_users_send_again_when_they_have_their_answer_and_have_thought(
    protocol: Protocol, shop: Shop, tmp_path: Path
) -> None:
    """Two users, 20 ms of thought: a request every 20 ms for each, less what answers take."""
    closed = replace(
        load(entry(protocol=protocol), seconds=0.8, warmup=0.2), pace=Closed(2, Constant(20 * MS))
    )
    asked = plan(closed, shop.address, tmp_path)
    with generator(asked, tmp_path) as running:
        start_ns = running.start()
        counts = running.hear(Finished).counts
        assert running.end() == 0
    records = np.sort(running.samples().records, order="seq")
    assert counts.complete
    assert counts.sent == counts.ok == len(records) <= 2 * 50
    assert records["seq"].tolist() == list(range(len(records)))
    assert (records["intended_ns"] == records["sent_ns"]).all()
    assert counts.lag_ns.n == 0
    assert (records["sent_ns"] < start_ns + closed.length_ns).all()
    measured = records["sent_ns"] >= start_ns + closed.warmup_ns
    assert records["phase"].tolist() == np.where(measured, MEASURED, WARMUP).tolist()
    # Never more in flight than users, and each thinks: the answer before last is 20 ms ago.
    assert (records["sent_ns"][2:] - np.sort(records["done_ns"])[:-2] >= 20 * MS).all()


def test_users_without_thought_send_at_once_and_stop_when_told(shop: Shop, tmp_path: Path) -> None:
    busy = replace(load(seconds=30), pace=Closed(3, Constant(0)))
    with generator(plan(busy, shop.address, tmp_path), tmp_path) as running:
        running.start()
        running.hear(Progress)
        running.say(Stop())
        counts = running.hear(Finished).counts
        assert running.end() == 0
    records = np.sort(running.samples().records, order="seq")
    assert not counts.complete
    assert len(records) == counts.sent > 20
    begun, ended = np.sort(records["sent_ns"]), np.sort(records["done_ns"][records["done_ns"] > 0])
    assert (np.arange(1, len(begun) + 1) - np.searchsorted(ended, begun, "right")).max() <= 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_request_carries_its_ticket_trace_key_and_size(
    protocol: Protocol, shop: Shop, tmp_path: Path
) -> None:
    keyed = entry(protocol=protocol, keys=50, request=Uniform(0, 3000), response=Uniform(0, 900))
    asked = plan(load(keyed), shop.address, tmp_path)
    with generator(asked, tmp_path) as running:
        running.start()
        running.hear(Finished)
    schedule = asked.schedule()
    expected = []
    for row in range(len(schedule)):
        low = int(schedule.trace_lo[row])
        trace = int(schedule.trace_hi[row]) << 64 | low
        flags = "01" if schedule.sampled[row] else "00"
        head = encode_header(
            entry_ticket(asked.seed, row),
            int(schedule.response_bytes[row]),
            5000 * MS,
            0,
            "generator/0",
        )
        assert schedule.key[row] != NO_KEY
        expected.append(
            {
                "protocol": protocol,
                "operation": "fast",
                "key": str(schedule.key[row]),
                "bytes": int(schedule.request_bytes[row]),
                "hopbench": head,
                "traceparent": f"00-{trace:032x}-{low:016x}-{flags}",
            }
        )
    by_ticket = sorted(shop.received(), key=lambda received: str(received["hopbench"]))
    assert by_ticket == sorted(expected, key=lambda one: str(one["hopbench"]))
    records = np.sort(running.samples().records, order="seq")
    assert records["response_bytes"].tolist() == schedule.response_bytes.tolist()


@pytest.mark.parametrize("protocol", ONE_FAST)
def test_without_tracing_no_traceparent_is_sent(
    protocol: Protocol, shop: Shop, tmp_path: Path
) -> None:
    quiet = load(entry(protocol=protocol), seconds=0.1)
    with generator(plan(quiet, shop.address, tmp_path, tracing=False), tmp_path) as running:
        running.start()
        running.hear(Finished)
    assert {received["traceparent"] for received in shop.received()} == {None}
    records = running.samples().records
    assert not records["trace_lo"].any()
    assert not records["sampled"].any()


@pytest.mark.parametrize("protocol", ONE_FAST)
def test_a_request_that_takes_too_long_is_a_timeout_without_an_answer(
    protocol: Protocol, shop: Shop, tmp_path: Path
) -> None:
    stuck = load(entry("stuck", protocol=protocol, timeout_ms=100), rate=50, seconds=0.2)
    with generator(plan(stuck, shop.address, tmp_path), tmp_path) as running:
        running.start()
        counts = running.hear(Finished).counts
    records = running.samples().records
    assert counts.timeout == counts.scheduled == len(records) > 0
    assert set(records["status"].tolist()) == {TIMEOUT}
    assert set(records["done_ns"].tolist()) == {NOT_REACHED}


def test_a_callee_that_hangs_up_is_an_error_without_an_answer(shop: Shop, tmp_path: Path) -> None:
    abrupt = load(entry("abrupt"), entry(), rate=100)
    with generator(plan(abrupt, shop.address, tmp_path), tmp_path) as running:
        running.start()
        running.hear(Finished)
    records = running.samples().records
    cut = records["entry"] == 0
    assert 0 < cut.sum() < len(records)
    assert set(records["status"][cut].tolist()) == {ERROR}
    assert set(records["code"][cut].tolist()) == {-1}
    assert set(records["done_ns"][cut].tolist()) == {NOT_REACHED}
    assert set(records["status"][~cut].tolist()) == {OK}


@pytest.mark.parametrize("protocol", ONE_FAST)
def test_what_exceeds_max_in_flight_is_dropped_and_counted_not_delayed(
    protocol: Protocol, shop: Shop, tmp_path: Path
) -> None:
    crowded = load(
        entry("slow", protocol=protocol), arrivals="uniform", rate=100, seconds=0.3, max_in_flight=3
    )
    with generator(plan(crowded, shop.address, tmp_path), tmp_path) as running:
        running.start()
        counts = running.hear(Finished).counts
    records = np.sort(running.samples().records, order="seq")
    dropped = records["status"] == DROPPED
    assert counts.scheduled == 40
    assert not dropped[:3].any()
    # Answers take 300 ms, arrivals come every 10: the next 25 surely find no place.
    assert dropped[3:28].all()
    assert counts.sent + counts.dropped == 40
    assert set(records["sent_ns"][dropped].tolist()) == {NOT_REACHED}


@pytest.mark.parametrize("protocol", ONE_FAST)
def test_a_stop_cuts_what_is_in_flight_and_keeps_every_sample(
    protocol: Protocol, shop: Shop, tmp_path: Path
) -> None:
    long = load(
        entry(protocol=protocol), entry("stuck", protocol=protocol, timeout_ms=60_000), seconds=60
    )
    with generator(plan(long, shop.address, tmp_path), tmp_path) as running:
        running.start()
        assert running.hear(Progress).sent > 0
        running.say(Stop())
        counts = running.hear(Finished).counts
        assert running.end() == 0
    records = running.samples().records
    assert not counts.complete
    assert 0 < len(records) == counts.sent + counts.dropped < counts.scheduled
    assert sorted(records["seq"].tolist()) == list(range(len(records)))
    assert set(records["status"][(records["entry"] == 1)].tolist()) <= {ERROR, DROPPED}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ONE_FAST)
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_its_samples(
    signum: signal.Signals, code: int, protocol: Protocol, shop: Shop, tmp_path: Path
) -> None:
    long = load(entry(protocol=protocol), entry("slow", protocol=protocol), seconds=60)
    with generator(plan(long, shop.address, tmp_path), tmp_path) as running:
        running.start()
        running.hear(Progress)
        running.process.send_signal(signum)
        counts = running.hear(Finished).counts
        assert running.end() == code
    spool = running.samples()
    assert spool.torn_bytes == 0
    assert len(spool.records) == counts.sent + counts.dropped > 0


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before the start", "during the round"])
def test_it_leaves_when_the_bench_is_gone(when: str, shop: Shop, tmp_path: Path) -> None:
    with generator(plan(load(seconds=60), shop.address, tmp_path), tmp_path) as running:
        if when == "before the start":
            running.hear(Ready)
        else:
            running.start()
            running.hear(Progress)
        running.control.close()
        running.end()
    if when == "during the round":
        assert len(running.samples().records) > 0


@pytest.mark.slow
def test_killed_outright_it_leaves_what_it_had_written(shop: Shop, tmp_path: Path) -> None:
    with generator(plan(load(seconds=60), shop.address, tmp_path), tmp_path) as running:
        running.start()
        running.hear(Progress)
        running.hear(Progress)
        running.process.kill()
        running.end()
    assert len(running.samples().records) > 0


def test_what_is_late_is_sent_at_once_and_its_lag_recorded(shop: Shop, tmp_path: Path) -> None:
    asked = plan(load(max_in_flight=1000), shop.address, tmp_path)
    with generator(asked, tmp_path) as running:
        running.start(in_ns=-2000 * MS)
        counts = running.hear(Finished).counts
    records = running.samples().records
    assert counts.sent == len(records) == len(asked.schedule())
    # The whole schedule, 600 ms, was over 1,400 ms before the word came.
    assert (records["sent_ns"] - records["intended_ns"]).min() > 1400 * MS
    assert (counts.lag_ns.p50 or 0) > 1400 * MS


def test_a_stop_before_the_start_sends_nothing(shop: Shop, tmp_path: Path) -> None:
    with generator(plan(load(), shop.address, tmp_path), tmp_path) as running:
        running.hear(Ready)
        running.say(Stop())
        assert running.end() == 0
    assert shop.received() == []


@pytest.mark.parametrize("protocol", ONE_FAST)
def test_connections_are_open_before_the_first_request(
    protocol: Protocol, shop: Shop, tmp_path: Path
) -> None:
    with generator(plan(load(entry(protocol=protocol)), shop.address, tmp_path), tmp_path) as it:
        it.hear(Ready)
        port = shop.address.ports[protocol]
        peers = [c.raddr for c in psutil.Process(it.process.pid).net_connections("tcp")]
        assert sum(bool(peer) and peer.port == port for peer in peers) >= 4
        assert shop.received() == []


@pytest.mark.slow
def test_an_entry_that_does_not_answer_is_said_and_ends_it(tmp_path: Path) -> None:
    port = _free_port()
    nobody = Address("127.0.0.1", {"http": port})
    with generator(plan(load(), nobody, tmp_path), tmp_path) as running:
        assert f"no answer from shop.fast at 127.0.0.1:{port}" in running.hear(Broken).why
        assert running.end() == 5


@pytest.mark.slow
def test_a_full_disk_ends_the_round_and_keeps_what_was_written(shop: Shop, tmp_path: Path) -> None:
    with generator(plan(load(rate=2000, seconds=60), shop.address, tmp_path), tmp_path) as running:
        running.hear(Ready)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
        running.start()
        assert "cannot write samples" in running.hear(Broken).why
        assert running.hear(Finished).counts.complete is False
        assert running.end() == 5
    assert len(running.samples().records) > 0


@pytest.mark.slow
def test_the_web_page_shows_the_running_load(shop: Shop, tmp_path: Path) -> None:
    port = _free_port()
    asked = plan(load(seconds=1.5), shop.address, tmp_path)
    with generator(asked, tmp_path, web_port=port) as running:
        running.start()
        running.hear(Progress)
        running.hear(Progress)
        page = _get(port, "/stats/requests")
        running.hear(Finished)
        assert running.end() == 0
    assert page["state"] == "running"
    assert page["stats"][0]["name"] == "shop.fast"
    assert page["stats"][0]["num_requests"] > 20


@pytest.mark.slow
def test_locusts_stop_button_ends_the_round_with_its_samples(shop: Shop, tmp_path: Path) -> None:
    port = _free_port()
    asked = plan(load(seconds=60), shop.address, tmp_path)
    with generator(asked, tmp_path, web_port=port) as running:
        running.start()
        running.hear(Progress)
        with suppress(ConnectionError):
            # Locust may be gone before it has answered.
            _get(port, "/stop", b"")
        assert running.hear(Finished).counts.complete is False
        running.end()
    assert len(running.samples().records) > 0


@pytest.mark.slow
def test_by_hand_every_press_of_start_is_a_round_of_its_own(shop: Shop, tmp_path: Path) -> None:
    port = _free_port()
    asked = plan(load(seconds=0.5), shop.address, tmp_path)
    asked.write(tmp_path / "plan.json")
    spools = [tmp_path / "samples.spool", tmp_path / "samples-2.spool"]
    line = [*_by_hand_line(), "--web-host", "127.0.0.1", "--web-port", str(port)]
    variables = launch.environment(os.environ, tmp_path / "plan.json")
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen(line, env=variables, cwd=tmp_path, stderr=log) as locust:
        for spool in spools:
            # Until Locust has ended the round before, a press of Start does nothing.
            _until(partial(_begun, port, spool))
            _until(partial(_whole, spool, len(asked.schedule())))
        locust.terminate()
        locust.wait(timeout=20)
    one, two = (read(spool).records for spool in spools)
    assert sorted(one["seq"].tolist()) == sorted(two["seq"].tolist())
    assert set(one["trace_lo"].tolist()).isdisjoint(two["trace_lo"].tolist())


@pytest.mark.slow
def test_by_hand_it_runs_the_plan_that_is_up_and_writes_locusts_own_reports(
    shop: Shop, tmp_path: Path
) -> None:
    asked = plan(load(seconds=0.4), shop.address, tmp_path)
    home = tmp_path / f"hopbench-{os.getuid()}"
    home.mkdir()
    asked.write(home / "up.json")
    done = _by_hand(
        tmp_path, "--headless", "--csv", "report", "--html", "report.html", TMPDIR=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    sent = len(shop.received())
    assert sent > 50
    rows = (tmp_path / "report_stats.csv").read_text().splitlines()
    assert rows[1].startswith(f"HTTP,shop.fast,{sent},0,")
    assert "shop.fast" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_by_hand_without_a_running_scenario_it_says_what_to_do(tmp_path: Path) -> None:
    done = _by_hand(tmp_path, "--headless", TMPDIR=str(tmp_path))
    assert done.returncode == 2
    assert "no scenario is running" in done.stderr
    assert "hopbench up SCENARIO" in done.stderr


@pytest.mark.slow
def test_by_hand_a_plan_that_is_no_plan_is_bad_input(tmp_path: Path) -> None:
    wrong = tmp_path / "plan.json"
    wrong.write_text('{"schema": "hopbench.summary/1"}')
    done = _by_hand(tmp_path, "--headless", **{PLAN_VARIABLE: str(wrong)})
    assert done.returncode == 2
    assert f"{wrong}: this is no plan" in done.stderr


def _by_hand(directory: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = launch.environment(os.environ, directory / "unused")
    del inherited[PLAN_VARIABLE]
    return subprocess.run(
        [*_by_hand_line(), *flags],
        env=inherited | variables,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _by_hand_line() -> list[str]:
    return [sys.executable, "-P", "-m", "locust", "-f", str(launch.LOCUSTFILE)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _get(port: int, path: str, form: bytes | None = None) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", form) as answer:
        return json.load(answer)


def _begun(port: int, spool: Path) -> bool:
    """Press Start, if Locust is there yet, and see whether a round has begun."""
    try:
        _get(port, "/swarm", b"user_count=1&spawn_rate=1")
    except OSError:
        return False
    return spool.exists()


def _whole(spool: Path, count: int) -> bool:
    return len(read(spool).records) == count


def _until(true: Callable[[], bool]) -> None:
    """Wait for another process; pytest's own time limit ends it."""
    while not true():
        Event().wait(0.05)
