"""Traces that nobody here wrote (tests/analysis/data/README.md)."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from analysis.analyse import analyse
from analysis.findings.settings import Settings
from analysis.reading.inputs import read
from analysis.rows.roots import root_rows
from services.scenario.facts import EMPTY

DATA = Path(__file__).parent / "data"
DEATHSTAR = DATA / "deathstarbench-social-network.jaeger.json.gz"


@pytest.mark.parametrize("path", sorted((DATA / "crisp").glob("*.json")), ids=lambda p: p.stem)
def test_crisps_own_cases_come_out_as_crisp_says(path: Path) -> None:
    expected = orjson.loads(path.read_bytes())["testing"][0]
    (root,) = root_rows(read([path]).spans, "crisp")
    assert root.exclusive_ns == {name: us * 1000 for name, us in expected.items()}


def test_the_social_network_is_read_whole() -> None:
    found = read([DEATHSTAR])
    spans = found.spans
    assert (spans.traces, len(spans), len(set(spans.service.tolist()))) == (20, 660, 12)
    assert found.skipped == ()
    assert not any(found.repairs.values())


def test_hops_are_told_without_a_single_span_kind() -> None:
    analysis = analyse(read([DEATHSTAR]).spans, EMPTY, Settings(), "analyze")
    assert (analysis.total_inter_service_calls, analysis.unique_service_pairs) == (220, 11)
    assert all(edge.calls_per_request == 1.0 for edge in analysis.edges)
