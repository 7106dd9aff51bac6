"""Traces that nobody here wrote. They lie beside the checkout, or where HOPBENCH_SHARED says."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from analysis.analyse import analyse
from analysis.findings.settings import Settings
from analysis.reading.inputs import read
from analysis.rows.roots import root_rows
from services.scenario.facts import EMPTY

SHARED = Path(os.environ.get("HOPBENCH_SHARED", Path(__file__).parents[3] / "shared")) / "traces"
CRISP = sorted((SHARED / "crisp").glob("*.json"))
DEATHSTAR = SHARED / "deathstarbench-social-network.jaeger.json.gz"

needs_crisp = pytest.mark.skipif(not CRISP, reason=f"no traces of CRISP in {SHARED}")
needs_deathstar = pytest.mark.skipif(not DEATHSTAR.exists(), reason=f"{DEATHSTAR} is not there")


@needs_crisp
@pytest.mark.parametrize("path", CRISP or [Path("none")], ids=lambda path: path.stem)
def test_crisps_own_cases_come_out_as_crisp_says(path: Path) -> None:
    expected = orjson.loads(path.read_bytes())["testing"][0]
    (root,) = root_rows(read([path]).spans, "crisp")
    assert root.exclusive_ns == {name: us * 1000 for name, us in expected.items()}


@needs_deathstar
def test_the_social_network_is_read_whole() -> None:
    found = read([DEATHSTAR])
    spans = found.spans
    assert (spans.traces, len(spans), len(set(spans.service.tolist()))) == (20, 660, 12)
    assert found.skipped == ()
    assert not any(found.repairs.values())


@needs_deathstar
def test_hops_are_told_without_a_single_span_kind() -> None:
    analysis = analyse(read([DEATHSTAR]).spans, EMPTY, Settings(), "analyze")
    assert (analysis.total_inter_service_calls, analysis.unique_service_pairs) == (220, 11)
    assert all(edge.calls_per_request == 1.0 for edge in analysis.edges)
