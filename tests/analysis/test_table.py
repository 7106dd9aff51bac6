from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.spans.parquet import read_parquet
from analysis.spans.table import COLUMNS, Messages, SpanTable, concat, empty
from services.errors import BadInput
from tests.analysis.build import Traces, written


def rich(name: str = "t") -> SpanTable:
    """Two traces with all that a table can hold: orphans, links, messages, attributes."""
    traces = Traces()
    request = traces.request(name)
    request.call(
        "order", "create", 1, 9, instance="order/1", error=True, said={"hopbench.key": "7"}
    )
    request.publish("stock", "placed", 10, 11, (12, 20))
    request.publish("mail", "sent", 21, 22, (23, 24), link_only=True)
    traces.span(name, "gone", "price", "late", 30, 40)
    traces.span(name, None, "price", "again", 30, 40, id=request.id)
    return traces.table()


def told(table: SpanTable) -> list[dict[str, Any]]:
    """Everything of a table without its codes."""
    rows: list[dict[str, Any]] = []
    for row in range(len(table)):
        said = table.attributes.row == row
        linked = table.links.row == row
        absent = table.absent.row == row
        rows.append(
            {
                **{
                    c.name: table.name(int(getattr(table, c.name)[row]))
                    if c.unit == "name"
                    else int(getattr(table, c.name)[row])
                    for c in COLUMNS
                    if c.unit not in {"trace", "span"}
                },
                "trace": table.trace_id(row),
                "span": table.span_id(row),
                **{
                    f.name: int(getattr(table.messages, f.name)[row])
                    for f in fields(Messages)
                    if f.name != "key"
                },
                "key": table.name(int(table.messages.key[row])),
                "attributes": {
                    table.names[k]: table.attributes.values[int(v)]
                    for k, v in zip(
                        table.attributes.key[said], table.attributes.value[said], strict=True
                    )
                },
                "links": [
                    (int(target), table.span_ids[int(span)])
                    for target, span in zip(
                        table.links.target[linked], table.links.span[linked], strict=True
                    )
                ],
                "absent": [table.span_ids[int(p)] for p in table.absent.span[absent]],
            }
        )
    return rows


def test_a_table_survives_parquet(tmp_path: Path) -> None:
    table = rich().named(variant="batched", phase=["measured", "drain"])
    written(table, tmp_path / "spans.parquet")
    assert told(read_parquet(tmp_path / "spans.parquet")) == told(table)
    assert [path.name for path in tmp_path.iterdir()] == ["spans.parquet"]


@pytest.mark.parametrize("said", [3 * 2**30, 2**53 + 1, 2**63 - 1])
def test_a_message_of_many_gigabytes_keeps_its_size(said: int, tmp_path: Path) -> None:
    traces = Traces()
    traces.request("t").client("store", "put", 1, 9, said={"http.request.body.size": said})
    written(traces.table(), tmp_path / "spans.parquet")
    for table in (traces.table(), read_parquet(tmp_path / "spans.parquet")):
        assert table.messages.request_bytes.tolist() == [-1, said]


def test_what_no_column_holds_is_the_largest_that_it_does() -> None:
    traces = Traces()
    beyond = {"http.request.body.size": 2**64, "http.request.resend_count": 2**40}
    traces.request("t").client("store", "put", 1, 9, said=beyond)
    messages = traces.table().messages
    assert messages.request_bytes.tolist() == [-1, 2**63 - 1]
    assert messages.attempt.tolist() == [0, 2**31 - 1]


def test_an_empty_table_survives_parquet(tmp_path: Path) -> None:
    written(empty(), tmp_path / "spans.parquet")
    assert len(read_parquet(tmp_path / "spans.parquet")) == 0


def test_any_tool_can_read_ids_names_and_kinds_as_text(tmp_path: Path) -> None:
    written(rich(), tmp_path / "spans.parquet")
    frame = pl.read_parquet(tmp_path / "spans.parquet")
    assert [*frame.columns][: len(COLUMNS)] == [c.name for c in COLUMNS]
    assert {
        name: frame.schema[name] for name in ("trace", "parent", "kind", "service")
    } == dict.fromkeys(("trace", "parent", "kind", "service"), pl.String)
    assert frame["kind"].to_list()[:3] == ["server", "client", "server"]
    assert frame["status"].to_list()[:3] == ["unset", "error", "error"]
    orphan = frame.filter(pl.col("label") == "late")
    assert orphan["parent"].to_list() == ["gone"]


def test_another_parquet_file_is_refused_by_name(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="column 'trace' is missing"):
        read_parquet(tmp_path / "other.parquet")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("start", "noon", "column 'start' is no int64"),
        ("end", float("nan"), "column 'end' is no int64"),
        ("attributes", 7, "column 'attributes' is no map"),
        ("links", "none", "column 'links' is no list"),
        ("trace", None, "column 'trace' lacks"),
        ("depth", None, "column 'depth' lacks"),
        ("kind", "odd", "column 'kind' holds 'odd'"),
        ("status", "7", "column 'status' holds '7'"),
        ("end", 0, "a span ends before it starts"),
        ("start", -1, "starts before 1970"),
    ],
)
def test_a_table_that_holds_something_else_is_refused(
    column: str, value: object, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "spans.parquet"
    written(rich(), path)
    table = pq.read_table(path)
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, pa.array([value] * table.num_rows)), path)
    with pytest.raises(BadInput, match=reason) as raised:
        read_parquet(path)
    assert raised.value.file == str(path)


def test_columns_of_a_wider_type_are_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "spans.parquet"
    written(rich(), path)
    table = pq.read_table(path)
    for column, kind in (("service", pa.large_string()), ("attempt", pa.int64())):
        at = table.column_names.index(column)
        table = table.set_column(at, column, table[column].cast(kind))
    pq.write_table(table, path)
    assert told(read_parquet(path)) == told(rich())


def test_rounds_together_are_the_rounds_one_after_another() -> None:
    one, two = rich(), rich("other").named(variant="v")
    both = concat([one, two])
    assert both.traces == one.traces + two.traces
    rows = len(one)
    shifted = [
        {**t, "parent": p, "root": t["root"] + rows}
        for t, p in zip(
            told(two), (int(p) + rows if p >= 0 else -1 for p in two.parent), strict=True
        )
    ]
    for row in shifted:
        row["links"] = [(t + rows, s) for t, s in row["links"]]
    assert told(both) == told(one) + shifted


def test_rounds_with_equal_trace_ids_stay_apart() -> None:
    both = concat([rich(), empty(), rich()])
    assert both.traces == 4
    assert both.trace_ids.to_list() == ["t", "t-linked"] * 2


def test_a_selection_keeps_whole_traces() -> None:
    one, two = rich(), rich("other")
    both = concat([one, two])
    assert told(both.select(np.array([False, False, True, True]))) == told(two)
    kept = both.select(np.array([True, False, False, False]))
    assert kept.trace_ids.to_list() == ["t"]
    assert len(kept) == len(one) - 1


def test_a_link_out_of_the_selection_loses_its_target() -> None:
    table = rich()
    kept = table.select(np.array([False, True]))
    assert (kept.links.target.tolist(), kept.links.trace.tolist()) == ([-1], [-1])


def test_a_column_of_another_type_is_refused() -> None:
    table = rich()
    columns = {f.name: getattr(table, f.name) for f in fields(SpanTable)}
    with pytest.raises(ValueError, match="column start: float64"):
        SpanTable(**{**columns, "start": table.start.astype(float)})
    with pytest.raises(ValueError, match="column kind"):
        SpanTable(**{**columns, "kind": table.kind[1:]})
