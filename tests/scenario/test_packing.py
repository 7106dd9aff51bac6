"""Which replicas share a process."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.errors import BadInput
from services.scenario.file.parser import bundled, parse_text
from services.scenario.file.validation import validate
from services.scenario.file.writer import to_yaml
from services.scenario.model import Scenario
from services.scenario.packing import Pack, packed, packs
from services.scenario.refactors import apply
from tests.scenario.strategies import scenarios

drawn = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def replicas(scenario: Scenario) -> set[tuple[str, int]]:
    return {(s.name, r) for s in scenario.services.values() for r in range(s.replicas)}


@drawn
@given(scenarios(), st.none() | st.integers(1, 50))
def test_every_replica_has_one_process_and_no_process_is_empty(
    scenario: Scenario, processes: int | None
) -> None:
    scenario = replace(scenario, processes=processes)
    found = packs(scenario)
    placed = [replica for pack in found for replica in pack.replicas]
    assert len(placed) == len(set(placed))
    assert set(placed) == replicas(scenario)
    assert all(pack.replicas for pack in found)
    assert len({pack.name for pack in found}) == len(found)
    assert len(found) == min(processes or len(placed), len(placed))
    assert packed(scenario) == any(pack.shared for pack in found)


@drawn
@given(scenarios(), st.integers(1, 50))
def test_processes_differ_by_one_replica_at_most(scenario: Scenario, processes: int) -> None:
    sizes = [len(pack.replicas) for pack in packs(replace(scenario, processes=processes))]
    assert max(sizes) - min(sizes) <= 1


@drawn
@given(scenarios(), st.integers(2, 50))
def test_replicas_of_a_service_share_a_process_only_where_there_are_more_of_them(
    scenario: Scenario, processes: int
) -> None:
    for pack in packs(replace(scenario, processes=processes)):
        for name, service in scenario.services.items():
            together = sum(of == name for of, _ in pack.replicas)
            assert together <= -(-service.replicas // min(processes, len(replicas(scenario))))


@pytest.mark.parametrize("name", bundled())
def test_every_variant_is_packed_alike(name: str) -> None:
    base = replace(parse_text(bundled()[name]), processes=3)
    alike = {packs(apply(base, variant)) for variant in ("baseline", *base.variants)}
    assert len(alike) == 1


SMALL = """
version: 1
processes: {processes}
services:
  a: {{operations: {{go: [call: b.go]}}}}
  b: {{operations: {{go: [sleep: 1ms]}}}}
load: {{rate: 1/s, entry: a.go}}
"""


def test_a_file_says_how_many_processes() -> None:
    found = parse_text(SMALL.format(processes=1))
    assert packs(found) == (Pack("pack/0", (("a", 0), ("b", 0))),)
    alone = packs(parse_text(SMALL.format(processes=2)))
    assert alone == (Pack("a/0", (("a", 0),)), Pack("b/0", (("b", 0),)))
    assert parse_text(to_yaml(found)).processes == 1


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "many", "10001"])
def test_what_is_no_number_of_processes_is_refused_with_its_line(wrong: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse_text(SMALL.format(processes=wrong))
    assert raised.value.line == 3


def test_a_pause_is_warned_of_where_services_share_a_process() -> None:
    text = SMALL + "faults: [{{pause: 1s, at: {{service: b}}}}]\n"
    for processes, warned in ((1, True), (2, False)):
        found = validate(parse_text(text.format(processes=processes)))
        assert any("pauses every service" in problem.text for problem in found) is warned
