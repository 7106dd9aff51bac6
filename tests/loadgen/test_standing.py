"""A master that stands by and its workers: real Locust, real processes, rounds over TCP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import numpy as np
import pytest

from loadgen import launch
from loadgen.messages import Broken, Offer, Ready, Said
from loadgen.plan import Plan
from loadgen.samples import OK
from loadgen.spool.reader import merged, read
from services import codec
from services.errors import CannotStart
from tests.loadgen.cluster import TOKEN, Cluster, cluster
from tests.loadgen.conftest import Shop
from tests.loadgen.rig import entry, load, plan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def _two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("standing") / "cluster", 2) as found:
        yield found


@pytest.fixture
def two(_two: Cluster) -> Cluster:
    """A master with two workers, for tests that leave them as they are."""
    return _two


def made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def records(directory: Path) -> Any:
    return merged([read(spool) for spool in sorted(directory.glob("samples*.spool"))])


def is_whole(asked: Plan, start_ns: int, directory: Path, workers: int) -> None:
    """The merged samples are those of one generator with the same plan."""
    schedule, found = asked.schedule(), records(directory)
    assert found["seq"].tolist() == schedule.number.tolist()
    assert found["intended_ns"].tolist() == (schedule.offset_ns + start_ns).tolist()
    assert found["entry"].tolist() == schedule.entry.tolist()
    assert found["sampled"].tolist() == schedule.sampled.astype(int).tolist()
    assert found["trace_hi"].tolist() == schedule.trace_hi.tolist()
    assert found["trace_lo"].tolist() == schedule.trace_lo.tolist()
    assert found["worker"].tolist() == (schedule.number % workers).tolist()
    assert (found["sent_ns"] >= found["intended_ns"]).all()


def ask(cluster: Cluster, path: str, form: bytes | None = None) -> Any:
    """What Locust's page answers at ``path``, to a POST where there is a form."""
    open_ = build_opener(ProxyHandler({})).open
    with open_(f"http://127.0.0.1:{cluster.web}/{path}", form, timeout=20) as answer:
        return json.load(answer)


def requests_on(cluster: Cluster) -> int:
    rows = ask(cluster, "stats/requests")["stats"]
    return sum(row["num_requests"] for row in rows if row["name"] == "Aggregated")


def test_round_after_round_is_dealt_and_its_samples_come_back(
    two: Cluster, shop: Shop, tmp_path: Path
) -> None:
    for name, rate in (("first", 300.0), ("second", 150.0)):
        asked = plan(load(entry(), rate=rate), shop.address, tmp_path)
        start_ns, counts = asyncio.run(two.play(asked, made(tmp_path / name)))
        is_whole(asked, start_ns, tmp_path / name, workers=2)
        assert set(records(tmp_path / name)["status"].tolist()) == {OK}
        assert counts.complete
        assert counts.sent == counts.ok == len(asked.schedule())
        # Of one core, the busiest worker's: at least the mean.
        assert counts.core_share is not None
        assert counts.core_share >= counts.cpu_ns / counts.elapsed_ns / 2 > 0
        # The page keeps the statistics of the whole load after the round.
        assert requests_on(two) == len(asked.schedule())


def test_spools_from_elsewhere_carry_the_benchs_start(
    two: Cluster, shop: Shop, tmp_path: Path
) -> None:
    asked = plan(load(entry()), shop.address, tmp_path)
    start_ns, _ = asyncio.run(two.play(asked, made(tmp_path / "round")))
    for number in range(2):
        spool = tmp_path / "round" / f"samples-{number}.spool"
        head = json.loads(spool.read_bytes().partition(b"\n")[0])
        assert head["bench_start_ns"] == start_ns
        # The same host: the clocks differ by what reading them takes.
        assert abs(head["start_ns"] - start_ns) < 50_000_000


def test_a_wrong_token_is_refused_and_the_next_bench_served(
    two: Cluster, shop: Shop, tmp_path: Path
) -> None:
    asked = plan(load(entry(), seconds=0.1), shop.address, tmp_path)
    with pytest.raises(CannotStart, match="wrong token"):
        asyncio.run(two.play(asked, made(tmp_path / "refused"), token="another"))
    assert not list((tmp_path / "refused").glob("*.spool"))
    start_ns, _ = asyncio.run(two.play(asked, made(tmp_path / "taken")))
    is_whole(asked, start_ns, tmp_path / "taken", workers=2)


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("GET / HTTP/1.1", "must hold a token and a plan"),
        ("[1]", "must hold a token and a plan"),
        ('{"token": "\\ud800", "plan": {}}', "must hold a token and a plan"),
        (json.dumps({"token": TOKEN, "plan": {}, "workers": 0}), "no whole number above 0"),
        (json.dumps({"token": TOKEN, "plan": {}, "workers": "two"}), "`$.workers`"),
        (json.dumps({"token": TOKEN, "plan": []}), "`$.plan`"),
        (json.dumps({"token": TOKEN, "plan": {}}), "this is no plan"),
    ],
)
def test_what_is_no_bench_is_told_so(two: Cluster, first: str, said: str) -> None:
    with socket.create_connection(("127.0.0.1", two.control), 20) as bench:
        bench.sendall(first.encode() + b"\n")
        with bench.makefile("rb") as lines:
            told = codec.decode(Broken, lines.readline())
            assert said in told.why
            assert lines.readline() == b""


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b'{"type": "start", "at_ns": null}',
        b'{"type": "start", "at_ns": "now"}',
        b'{"type": "begin", "at_ns": 1}',
    ],
)
def test_a_bench_that_says_no_control_has_no_round(
    two: Cluster, shop: Shop, tmp_path: Path, line: bytes
) -> None:
    asked = plan(load(entry(), seconds=60), shop.address, tmp_path)
    first = Offer(TOKEN, asked.document())
    with socket.create_connection(("127.0.0.1", two.control), 20) as bench:
        bench.sendall(codec.encode(first) + b"\n")
        with bench.makefile("rb") as lines:
            assert isinstance(codec.decode(Said, lines.readline()), Ready)
            bench.sendall(line + b"\n")
            assert lines.readline() == b""


def test_an_entry_that_does_not_answer_is_told_with_the_worker(
    two: Cluster, shop: Shop, tmp_path: Path
) -> None:
    nobody = plan(load(entry(protocol="grpc")), shop.address, tmp_path)
    closed = [
        tuple(type(a)("127.0.0.1", {"http": 1, "grpc": 1}) for a in of) for of in nobody.addresses
    ]
    lost = plan(load(entry()), shop.address, tmp_path, addresses=tuple(closed))
    with pytest.raises(CannotStart, match=r"worker \d on .*shop"):
        asyncio.run(two.play(lost, made(tmp_path / "lost")))


def test_a_bench_that_hangs_up_ends_the_round(two: Cluster, shop: Shop, tmp_path: Path) -> None:
    long = plan(load(entry(), seconds=60), shop.address, tmp_path)

    async def leave() -> None:
        sending = asyncio.Event()
        task = asyncio.create_task(two.play(long, made(tmp_path / "left"), at=sending.set))
        await sending.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    kept = len(records(tmp_path / "left"))
    assert 0 < kept < len(long.schedule())
    short = plan(load(entry()), shop.address, tmp_path)
    start_ns, _ = asyncio.run(two.play(short, made(tmp_path / "next")))
    is_whole(short, start_ns, tmp_path / "next", workers=2)


def test_locusts_stop_button_ends_the_round_on_every_worker(
    two: Cluster, shop: Shop, tmp_path: Path
) -> None:
    long = plan(load(entry(), seconds=60), shop.address, tmp_path)
    with ThreadPoolExecutor(1) as pool:
        pressed: list[Future[Any]] = []
        _, counts = asyncio.run(
            two.play(
                long,
                made(tmp_path / "stopped"),
                at=lambda: pressed.append(pool.submit(ask, two, "stop", b"")),
            )
        )
        assert pressed[0].result()["success"]
    assert (counts.complete, counts.broken) == (False, None)
    assert set(records(tmp_path / "stopped")["worker"].tolist()) == {0, 1}
    assert 0 < len(records(tmp_path / "stopped")) == counts.sent < len(long.schedule())
    short = plan(load(entry()), shop.address, tmp_path)
    start_ns, _ = asyncio.run(two.play(short, made(tmp_path / "next"), workers=2))
    is_whole(short, start_ns, tmp_path / "next", workers=2)


def test_a_worker_that_comes_late_takes_part_from_the_next_round_on(
    shop: Shop, tmp_path: Path
) -> None:
    asked = plan(load(entry(), seconds=1.5), shop.address, tmp_path)
    with cluster(tmp_path / "cluster", 1) as one:
        start_ns, counts = asyncio.run(one.play(asked, made(tmp_path / "alone"), at=one.worker))
        is_whole(asked, start_ns, tmp_path / "alone", workers=1)
        # Of the two, the first is ready a second time, after its round.
        one.joined(3)
        start_ns, counts = asyncio.run(one.play(asked, made(tmp_path / "both"), workers=2))
        is_whole(asked, start_ns, tmp_path / "both", workers=2)
        assert counts.sent == len(asked.schedule())


def killed(one: subprocess.Popen[bytes]) -> None:
    os.kill(one.pid, signal.SIGKILL)


def test_a_worker_that_vanishes_is_named_and_what_was_streamed_is_kept(
    shop: Shop, tmp_path: Path
) -> None:
    long = plan(load(entry(), seconds=60), shop.address, tmp_path)
    with cluster(tmp_path / "cluster", 2) as pair:
        last = pair.processes[-1]
        start_ns, counts = asyncio.run(
            pair.play(long, made(tmp_path / "broken"), at=lambda: killed(last))
        )
        assert counts.broken is not None
        named = re.match(r"worker (\d) .* has said nothing for 3 s", counts.broken)
        assert named is not None
        assert not counts.complete
        found = records(tmp_path / "broken")
        assert set(np.unique(found["worker"])) <= {0, 1}
        # Only the other one has told what it sent.
        left = found["worker"] != int(named[1])
        assert len(found) >= left.sum() == counts.sent + counts.dropped > 0
        short = plan(load(entry()), shop.address, tmp_path)
        start_ns, _ = asyncio.run(pair.play(short, made(tmp_path / "rest")))
        is_whole(short, start_ns, tmp_path / "rest", workers=1)


def test_workers_join_a_master_that_was_started_anew(shop: Shop, tmp_path: Path) -> None:
    long = plan(load(entry(), seconds=60), shop.address, tmp_path)
    with cluster(tmp_path / "cluster", 2) as pair:
        master = pair.processes[0]
        with pytest.raises(CannotStart, match="master has closed the connection"):
            asyncio.run(
                pair.play(long, made(tmp_path / "broken"), at=lambda: killed(pair.processes[0]))
            )
        assert len(records(tmp_path / "broken")) > 0
        master.wait(20)
        pair.log("master").unlink()
        pair.master()
        pair.joined(2)
        short = plan(load(entry()), shop.address, tmp_path)
        start_ns, _ = asyncio.run(pair.play(short, made(tmp_path / "again"), workers=2))
        is_whole(short, start_ns, tmp_path / "again", workers=2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_end_at_once_when_asked_to(tmp_path: Path, number: signal.Signals) -> None:
    with cluster(tmp_path / "cluster", 1) as one:
        for process in reversed(one.processes):
            process.send_signal(number)
            assert process.wait(20) == 0
    assert "Traceback" not in one.log("master").read_text() + one.log("worker").read_text()


def test_a_worker_that_was_told_no_master_ends_when_asked_to(tmp_path: Path) -> None:
    with subprocess.Popen(
        launch.worker_command(0),
        env=launch.environment(os.environ, None),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
    ) as worker:
        try:
            until = time.monotonic() + 60
            while not catches(worker.pid, signal.SIGTERM):
                assert time.monotonic() < until
                time.sleep(0.05)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0
        finally:
            worker.kill()


def catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask, 16) >> number - 1 & 1)


def test_without_a_token_there_is_no_master(tmp_path: Path) -> None:
    found = Cluster(tmp_path, 0, 0, 0)
    process = found.start("master", "--control=127.0.0.1:0", token=None)
    assert process.wait(20) == 2
    assert "HOPBENCH_TOKEN" in found.log("master").read_text()
