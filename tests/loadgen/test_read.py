"""Spools, read back whole or cut off, and the columns that come of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadgen.plan import Plan
from loadgen.samples import DROPPED, ERROR, NOT_REACHED, OK, RECORD, TIMEOUT
from loadgen.schedule import Schedule
from loadgen.spool.reader import COLUMNS, merged, read, samples, table
from loadgen.spool.recorder import Ended, Recorder, header, known
from services.errors import BadInput
from services.wire.ports import Address
from tests.loadgen.rig import entry, load, plan

START = 1_000_000
HERE = Address("127.0.0.1", {"http": 1, "grpc": 2})


def spool(plan: Plan, *ended: Ended) -> Schedule:
    """Write a spool in which these requests ended, in this order."""
    schedule = plan.schedule()
    recorder = Recorder(plan.samples, header(plan, START), known(schedule, plan, START))
    for one in ended:
        recorder.add(one)
    recorder.flush()
    recorder.close()
    return schedule


def test_a_spool_gives_back_what_was_recorded(tmp_path: Path) -> None:
    asked = plan(load(entry(), entry("other", protocol="grpc")), HERE, tmp_path)
    schedule = spool(asked, (3, 10, 20, OK, 200, 50), (1, 11, NOT_REACHED, TIMEOUT, -1, 0))
    back = read(asked.samples)
    assert (back.seed, back.worker, back.workers, back.start_ns) == (7, 0, 1, START)
    assert [(e.entry, e.protocol) for e in back.entries] == [
        ("shop.fast", "http"),
        ("shop.other", "grpc"),
    ]
    assert back.torn_bytes == 0
    rows = [3, 1]
    assert back.records["seq"].tolist() == rows
    assert back.records["intended_ns"].tolist() == (schedule.offset_ns[rows] + START).tolist()
    assert back.records["entry"].tolist() == schedule.entry[rows].tolist()
    assert back.records["trace_lo"].tolist() == schedule.trace_lo[rows].tolist()
    assert back.records["sent_ns"].tolist() == [10, 11]
    assert back.records["done_ns"].tolist() == [20, NOT_REACHED]
    assert back.records["status"].tolist() == [OK, TIMEOUT]
    assert back.records["code"].tolist() == [200, -1]
    assert back.records["response_bytes"].tolist() == [50, 0]


def test_more_records_than_one_slice_are_written_in_order(tmp_path: Path) -> None:
    asked = plan(load(rate=3000, seconds=1), HERE, tmp_path)
    rows = list(range(len(asked.schedule())))[::-1]
    spool(asked, *((row, row, row + 1, OK, 200, 0) for row in rows))
    assert len(rows) > 2000
    assert read(asked.samples).records["seq"].tolist() == rows


@pytest.mark.parametrize("kept", range(0, 2 * RECORD.itemsize, 13))
def test_a_spool_cut_anywhere_is_read_to_its_last_whole_record(kept: int, tmp_path: Path) -> None:
    asked = plan(load(), HERE, tmp_path)
    spool(asked, (0, 1, 2, OK, 200, 0), (1, 3, 4, OK, 200, 0))
    data = asked.samples.read_bytes()
    body = data.index(b"\n") + 1
    asked.samples.write_bytes(data[: body + kept])
    back = read(asked.samples)
    assert back.records["seq"].tolist() == [0, 1][: kept // RECORD.itemsize]
    assert back.torn_bytes == kept % RECORD.itemsize


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 50, b'{"schema": "hopbench.samp', b"{}\n"])
def test_what_is_no_spool_is_bad_input(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.spool"
    path.write_bytes(data)
    with pytest.raises(BadInput, match="this is no spool") as raised:
        read(path)
    assert raised.value.file == str(path)


def test_a_spool_that_is_missing_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read samples"):
        read(tmp_path / "none.spool")


def test_the_spools_of_all_workers_become_one_table_in_order(tmp_path: Path) -> None:
    whole = plan(load(), HERE, tmp_path)
    paths = []
    for k in range(3):
        mine = replace(whole, worker=k, workers=3, samples=tmp_path / f"{k}.spool")
        count = len(mine.schedule())
        spool(mine, *((row, 1, 2, OK, 200, 0) for row in reversed(range(count))))
        paths.append(mine.samples)
    found = samples(paths)
    assert found["seq"].to_pylist() == list(range(len(whole.schedule())))
    assert [seq % 3 for seq in found["seq"].to_pylist()] == found["worker"].to_pylist()


def test_spools_of_two_rounds_are_not_mixed(tmp_path: Path) -> None:
    one = plan(load(), HERE, tmp_path)
    other = plan(load(), HERE, tmp_path, seed=8, samples=tmp_path / "other.spool")
    spool(one)
    spool(other)
    with pytest.raises(BadInput, match="not the workers of one round"):
        merged([read(one.samples), read(other.samples)])


def test_columns_are_null_where_a_request_did_not_come_so_far(tmp_path: Path) -> None:
    asked = plan(load(entry("slow", protocol="grpc"), warmup=0), HERE, tmp_path, trace_ratio=1.0)
    schedule = spool(
        asked,
        (0, 10, 20, OK, 0, 50),
        (1, 11, 21, ERROR, 13, 0),
        (2, 12, NOT_REACHED, TIMEOUT, -1, 0),
        (3, NOT_REACHED, NOT_REACHED, DROPPED, -1, 0),
    )
    back = read(asked.samples)
    found = table(back.records, back.entries)
    assert found.schema == COLUMNS
    rows = found.to_pylist()
    due = (schedule.offset_ns + START).tolist()
    trace = f"{int(schedule.trace_hi[0]):016x}{int(schedule.trace_lo[0]):016x}"
    assert rows[0] == {
        "seq": 0, "intended_ns": due[0], "sent_ns": 10, "done_ns": 20, "status": "ok", "code": 0,
        "trace_id": trace, "sampled": True, "phase": "measured", "entry": "shop.slow",
        "protocol": "grpc", "worker": 0, "request_bytes": 100, "response_bytes": 50,
    }  # fmt: skip
    names = ("sent_ns", "done_ns", "status", "code", "response_bytes")
    assert [tuple(row[name] for name in names) for row in rows[1:]] == [
        (11, 21, "error", 13, 0),
        (12, None, "timeout", None, None),
        (None, None, "dropped", None, None),
    ]


def test_without_tracing_there_is_no_trace_id(tmp_path: Path) -> None:
    asked = plan(load(), HERE, tmp_path, tracing=False)
    spool(asked, (0, 1, 2, OK, 200, 0))
    back = read(asked.samples)
    assert table(back.records, back.entries)["trace_id"].to_pylist() == [None]


def test_a_round_in_which_nothing_ended_has_an_empty_table(tmp_path: Path) -> None:
    asked = plan(load(), HERE, tmp_path)
    spool(asked)
    found = samples([asked.samples])
    assert found.num_rows == 0
    assert found.schema == COLUMNS


def test_a_record_has_no_hidden_gaps() -> None:
    assert RECORD.itemsize == sum(RECORD[name].itemsize for name in RECORD.names or ())
    assert np.zeros(1, RECORD).tobytes() == bytes(RECORD.itemsize)
