"""A round dealt to workers, and put together again: pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadgen.cluster.dealing import Start, dealt, merged
from loadgen.samples import NOT_REACHED
from loadgen.spool.follower import CHUNK_BYTES, Follower
from loadgen.spool.reader import merged as put_together
from loadgen.spool.reader import read
from loadgen.spool.recorder import header, known
from services.wire.ports import Address
from tests.loadgen.rig import entry, load, plan

ADDRESS = Address("127.0.0.1", 1, 2)


def counts(**changed: Any) -> dict[str, Any]:
    spread = {"n": 10, "p50": 1, "p99": 2, "max": 3}
    return {
        "scheduled": 10,
        "sent": 9,
        "ok": 6,
        "error": 2,
        "timeout": 1,
        "dropped": 1,
        "complete": True,
        "broken": None,
        "start_ns": 100,
        "elapsed_ns": 1000,
        "cpu_ns": 400,
        "busiest_cpu_ns": 300,
        "core_wait_ns": 5,
        "lag_ns": spread,
        "hub_lag_ns": spread,
        "kafka": (),
        **changed,
    }


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_shares_of_all_workers_are_the_schedule_of_one_generator(
    workers: int, tmp_path: Path
) -> None:
    whole = plan(load(entry(keys=9), entry("broken", weight=2), rate=300), ADDRESS, tmp_path)
    shares = [part.schedule() for part in dealt(whole, workers)]
    for number, share in enumerate(shares):
        assert set(share.number % workers) == {number}
    alone = whole.schedule()
    order = np.argsort(np.concatenate([share.number for share in shares]))
    for name in type(alone).__slots__:
        together = np.concatenate([getattr(share, name) for share in shares])[order]
        assert together.tolist() == getattr(alone, name).tolist(), name


def test_each_worker_has_a_spool_of_its_own_and_a_part_of_what_may_be_in_flight(
    tmp_path: Path,
) -> None:
    parts = dealt(plan(load(max_in_flight=11), ADDRESS, tmp_path), 3)
    assert [part.samples.name for part in parts] == [f"samples-{k}.spool" for k in range(3)]
    assert [part.max_in_flight for part in parts] == [4, 4, 3]


def test_counts_add_up_and_lag_is_the_worst_workers() -> None:
    slow = {"n": 4, "p50": 7, "p99": 1, "max": 9}
    idle = {"n": 0, "p50": None, "p99": None, "max": None}
    told = [counts(), counts(lag_ns=slow, elapsed_ns=2000), counts(lag_ns=idle, core_wait_ns=8)]
    found = merged(told, 3, None)
    assert (found["scheduled"], found["sent"], found["ok"]) == (30, 27, 18)
    assert (found["cpu_ns"], found["elapsed_ns"], found["core_wait_ns"]) == (1200, 2000, 8)
    assert found["lag_ns"] == {"n": 14, "p50": 7, "p99": 2, "max": 9}
    assert found["complete"]
    assert found["broken"] is None
    assert found["workers"] == told


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([counts()], None),
        ([counts(), counts(complete=False)], None),
        ([counts(), counts(complete=False, broken="no space")], "no space"),
    ],
)
def test_a_round_is_complete_only_with_every_worker(
    told: list[dict[str, Any]], why: str | None
) -> None:
    found = merged(told, 2, None)
    assert not found["complete"]
    assert found["broken"] == why


def test_without_any_worker_left_there_is_still_a_count() -> None:
    found = merged([], 2, "worker 1 is gone")
    assert (found["sent"], found["complete"], found["broken"]) == (0, False, "worker 1 is gone")
    assert found["lag_ns"] == {"n": 0, "p50": None, "p99": None, "max": None}


def test_a_start_is_given_in_either_clock() -> None:
    assert Start.read({"start_ns": 5}) == Start(5, unix=False)
    assert Start.read({"start_unix_ns": 6}) == Start(6, unix=True)
    assert Start.read({"stop": True}) is None
    assert Start(5, unix=False).monotonic_ns() == 5


def test_a_follower_reads_every_byte_once_in_pieces_also_of_spools_that_come_later(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "samples-0.spool", tmp_path / "samples-0.kafka.spool"
    follower = Follower(tmp_path)
    assert list(follower.news()) == []
    content = bytes(range(256)) * (CHUNK_BYTES // 100)
    first.write_bytes(content)
    (tmp_path / "other.spool").write_bytes(b"not ours")
    pieces = list(follower.news(chunks=1))
    assert [len(data) for _, data in pieces] == [CHUNK_BYTES]
    second.write_bytes(b"later")
    pieces += follower.news()
    found: dict[str, bytes] = {}
    for name, data in pieces:
        found[name] = found.get(name, b"") + data
    assert found == {first.name: content, second.name: b"later"}
    assert list(follower.news()) == []


def test_times_of_a_worker_with_another_clock_are_moved_to_the_benchs(tmp_path: Path) -> None:
    here, there = dealt(plan(load(), ADDRESS, tmp_path), 2)
    zero, other_zero = 10_000_000_000, 77_000_000_000
    for part, start_ns in ((here, zero), (there, other_zero)):
        document = json.loads(header(part, start_ns))
        records = known(part.schedule(), part, start_ns)
        records["sent_ns"] = records["intended_ns"] + 5
        records["done_ns"] = NOT_REACHED
        if part is there:
            document["bench_start_ns"] = zero
        part.samples.write_bytes(json.dumps(document).encode() + b"\n" + records.tobytes())
    spools = [read(part.samples) for part in (here, there)]
    records = put_together(spools)
    alone = plan(load(), ADDRESS, tmp_path).schedule()
    assert records["intended_ns"].tolist() == (alone.offset_ns + zero).tolist()
    assert (records["sent_ns"] - records["intended_ns"] == 5).all()
    assert set(records["done_ns"].tolist()) == {NOT_REACHED}
