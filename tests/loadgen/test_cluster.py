"""A round dealt to workers, and put together again: pure."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest

from loadgen.cluster.dealing import dealt
from loadgen.counts import Counts, together
from loadgen.messages import Start
from loadgen.samples import NOT_REACHED
from loadgen.spool.follower import CHUNK_BYTES, Follower
from loadgen.spool.reader import merged, read
from loadgen.spool.recorder import header, known
from services.report import Spread
from services.wire.ports import Address
from tests.loadgen.rig import entry, load, plan

ADDRESS = Address("127.0.0.1", {"http": 1, "grpc": 2})


COUNTS = Counts(
    scheduled=10,
    sent=9,
    ok=6,
    error=2,
    timeout=1,
    dropped=1,
    complete=True,
    broken=None,
    start_ns=100,
    elapsed_ns=1000,
    cpu_ns=400,
    core_share=0.3,
    core_wait_ns=5,
    lag_ns=Spread(10, 1, 2, 3),
    hub_lag_ns=Spread(10, 1, 2, 3),
)


def counts(**changed: Any) -> Counts:
    return replace(COUNTS, **changed)


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
        whole_again = np.concatenate([getattr(share, name) for share in shares])[order]
        assert whole_again.tolist() == getattr(alone, name).tolist(), name


def test_each_worker_has_a_spool_of_its_own_and_a_part_of_what_may_be_in_flight(
    tmp_path: Path,
) -> None:
    parts = dealt(plan(load(max_in_flight=11), ADDRESS, tmp_path), 3)
    assert [part.samples.name for part in parts] == [f"samples-{k}.spool" for k in range(3)]
    assert [part.max_in_flight for part in parts] == [4, 4, 3]


def test_counts_add_up_and_lag_is_the_worst_workers() -> None:
    slow, idle = Spread(4, 7, 1, 9), Spread()
    found = together(
        [
            counts(),
            counts(lag_ns=slow, elapsed_ns=2000, core_share=0.7),
            counts(lag_ns=idle, core_wait_ns=8, core_share=None),
        ]
    )
    assert (found.scheduled, found.sent, found.ok) == (30, 27, 18)
    assert (found.cpu_ns, found.elapsed_ns, found.core_wait_ns) == (1200, 2000, 8)
    assert found.core_share == 0.7
    assert found.lag_ns == Spread(14, 7, 2, 9)
    assert found.complete
    assert found.broken is None


@pytest.mark.parametrize(("one_core", "share"), [(True, 0.9), (False, 0.6)])
def test_processes_that_must_share_a_core_use_of_it_what_they_use_together(
    one_core: bool, share: float
) -> None:
    entries_over_kafka = counts(core_share=0.6)
    found = together([counts(core_share=0.3), entries_over_kafka], one_core=one_core)
    assert found.core_share == pytest.approx(share)


@pytest.mark.parametrize(
    ("told", "missing", "why"),
    [
        ([counts()], True, None),
        ([counts(), counts(complete=False)], False, None),
        ([counts(), counts(complete=False, broken="no space")], False, "no space"),
    ],
)
def test_a_round_is_complete_only_with_every_worker(
    told: list[Counts], missing: bool, why: str | None
) -> None:
    found = together(told, missing=missing)
    assert not found.complete
    assert found.broken == why


def test_without_any_worker_left_there_is_still_a_count() -> None:
    found = together([], missing=True, broken="worker 1 is gone")
    assert (found.sent, found.complete, found.broken) == (0, False, "worker 1 is gone")
    assert found.core_share is None
    assert found.lag_ns == Spread()


def test_a_start_is_given_in_either_clock() -> None:
    assert Start(5).monotonic_ns() == 5
    ahead_ns = time.time_ns() - monotonic_ns()
    # Reading the two clocks takes its time; and the wall clock may be slewed meanwhile.
    assert abs(Start(5 + ahead_ns, unix=True).monotonic_ns() - 5) < 50_000_000


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
    records = merged(spools)
    alone = plan(load(), ADDRESS, tmp_path).schedule()
    assert records["intended_ns"].tolist() == (alone.offset_ns + zero).tolist()
    assert (records["sent_ns"] - records["intended_ns"] == 5).all()
    assert set(records["done_ns"].tolist()) == {NOT_REACHED}
