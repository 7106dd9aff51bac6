"""What a finding proposes where no scenario could take it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.findings.advice import in_code
from analysis.findings.finding import Where
from analysis.report.view import finding_view
from services.scenario.refactors import OPERATORS
from tests.report.build import finding

PLACE = Where("trips", "GET /trips", "drivers", "GET /status/<int:i>", "http")
REFACTORS: list[dict[str, object]] = [
    {"op": "batch", "edge": "x", "size": 7},
    {"op": "cache", "edge": "x", "scope": "request"},
    {"op": "parallelize", "at": "x"},
    {"op": "bound", "edge": "x", "max": 4},
    {"op": "hedge", "edge": "x", "after": "p95"},
    {"op": "asyncify", "edge": "x"},
    {"op": "merge", "edge": "x"},
    {"op": "protocol", "edge": "x", "to": "grpc"},
]


def test_an_n_plus_one_wants_a_bulk_endpoint() -> None:
    found = replace(finding(), where=PLACE)
    assert in_code(found) == (
        "a bulk endpoint for drivers GET /status/<int:i>: trips asks 7 times in a request"
    )


@pytest.mark.parametrize("refactor", REFACTORS, ids=lambda refactor: str(refactor["op"]))
def test_every_refactor_that_is_proposed_is_said_in_words(refactor: dict[str, object]) -> None:
    said = in_code(replace(finding(), where=PLACE, refactor=refactor))
    assert said
    assert "op:" not in said


def test_no_operator_that_a_finding_may_propose_is_forgotten() -> None:
    assert {str(r["op"]) for r in REFACTORS} == OPERATORS.keys() - {"set", "without"}


def test_a_scenario_is_told_its_refactor_and_nothing_is_promised_that_is_nothing() -> None:
    nothing = replace(finding(), where=PLACE, saving_ms=(0.0, 0.0))
    assert finding_view(nothing).advice.startswith("{op: batch")
    assert finding_view(nothing, scenario=False).advice.startswith("a bulk endpoint")
    assert finding_view(nothing).saving == ""
