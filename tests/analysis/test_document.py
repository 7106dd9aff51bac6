from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from analysis.analyse import analyse
from analysis.document import analysis_document, critical_path_document
from analysis.findings.settings import Settings
from analysis.reading.inputs import Read
from analysis.reading.recorder import Skipped
from analysis.rows.roots import root_rows
from services.scenario.facts import EMPTY
from services.scenario.findings import FINDINGS
from tests.analysis.build import MS, Traces, told
from tests.analysis.test_analyse import shop
from tests.documents import conforms


def read_of(made: Traces) -> Read:
    found = made.normalised()
    return Read(found.spans, 1, found.repairs, (Skipped("a.json", 7, "no traceId"),))


def document() -> Any:
    read = read_of(shop())
    return told(analysis_document(read, analyse(read.spans, EMPTY, Settings(), "analyze")))


def quantile_maps(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "p50" in value:
            yield value
        for item in value.values():
            yield from quantile_maps(item)
    elif isinstance(value, list):
        for item in value:
            yield from quantile_maps(item)


def test_an_analysis_has_every_key_and_tells_what_was_set_aside() -> None:
    found = document()
    assert found["schema"] == "hopbench.analysis/1"
    assert found["input"]["skipped"] == [{"file": "a.json", "offset": 7, "reason": "no traceId"}]
    assert {"duplicate", "orphan", "outside", "shifted", "cycle"} <= found["input"][
        "repairs"
    ].keys()
    assert {f["kind"] for f in found["findings"] + found["minor"]} <= set(FINDINGS)
    for finding in found["findings"]:
        assert list(finding)[:6] == [
            "kind",
            "fingerprint",
            "where",
            "count_per_request",
            "cost_ms",
            "saving_ms",
        ]
        assert ("hops" in finding) is (finding["kind"] == "chain")


def test_every_quantile_map_is_null_where_the_sample_is_too_small() -> None:
    maps = list(quantile_maps(document()))
    assert len(maps) > 20
    for each in maps:
        assert list(each) == ["n", "p50", "p90", "p95", "p99", "max"]
        assert (each["p50"] is None) is (each["n"] < 6)
        assert (each["p90"] is None) is (each["n"] < 36)


def test_a_critical_path_is_told_in_time_order_by_the_ids_of_the_input() -> None:
    made = Traces()
    request = made.request("t", end=10)
    served = request.call("order", "create", 2, 8, tax=1)
    (root,) = root_rows(made.table(), "reference")
    assert (root.trace_id, root.root_span_id) == ("t", request.id)
    assert root.root_duration_ns == 10 * MS
    assert [section.span_id for section in root.sections] == [
        request.id,
        "s0002",
        served.id,
        "s0002",
        request.id,
    ]
    assert root.exclusive_ns == {
        "[gateway] serve buy": 4 * MS,
        "[gateway] to order": 2 * MS,
        "[order] serve create": 4 * MS,
    }
    assert sum(root.exclusive_ns.values()) == root.root_duration_ns


@pytest.mark.parametrize("name", ["analysis", "critical-path"])
def test_documents_hold_to_their_schemas(name: str) -> None:
    roots = root_rows(shop().table(), "jaeger")
    # What `--fail-on` came to is the command's.
    found = (
        {**document(), "gates": []}
        if name == "analysis"
        else told(critical_path_document("jaeger", roots))
    )
    conforms(found)
