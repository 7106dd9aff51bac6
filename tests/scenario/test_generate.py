"""Generated scenarios: valid for every number, shape and seed, and every service is reached."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scenario.capacity import shape as shape_of
from services.scenario.capacity import worst_calls
from services.scenario.file.parser import parse_text
from services.scenario.file.synthesis import (
    DEPTH,
    FAN_OUT,
    MAX_SERVICES,
    PACKED_FROM,
    WORST_CALLS,
    Shape,
    generate,
)
from services.scenario.file.validation import validate
from services.scenario.graph import callees, reached
from services.scenario.packing import packed, packs

SHAPES = get_args(Shape)
drawn = settings(max_examples=40, deadline=None)
shapes = st.sampled_from(SHAPES)
numbers = st.integers(1, 150)
seeds = st.integers(0, 2**32)


@drawn
@given(numbers, shapes, seeds)
def test_it_is_valid_without_a_warning_and_every_service_is_reached(
    services: int, shape: Shape, seed: int
) -> None:
    scenario = parse_text(generate(services, shape, seed))
    assert validate(scenario) == ()
    assert len(scenario.services) == services
    assert {target.service for target in reached(scenario, callees(scenario))} == set(
        scenario.services
    )
    assert scenario.seed == seed


@drawn
@given(numbers, shapes, seeds)
def test_what_a_request_can_cause_is_bounded(services: int, shape: Shape, seed: int) -> None:
    scenario = parse_text(generate(services, shape, seed))
    found = shape_of(scenario)
    if shape == "tree":
        assert found.calls_worst == services - 1
        assert len(scenario.load.entries) == 1
    else:
        assert found.calls_worst <= WORST_CALLS
    assert found.depth <= DEPTH
    assert found.fan_out <= FAN_OUT + 1
    assert found.hops_per_s is not None
    assert found.hops_per_s <= 1_000


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_seed_makes_the_same_file_and_another_one_another(shape: Shape) -> None:
    assert generate(100, shape, 7) == generate(100, shape, 7)
    assert generate(100, shape, 7) != generate(100, shape, 8)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thousand_services_fit_into_a_few_processes(shape: Shape) -> None:
    scenario = parse_text(generate(1000, shape, 1))
    assert validate(scenario) == ()
    assert [len(pack.replicas) for pack in packs(scenario)] == [250] * 4
    assert worst_calls(scenario) <= 1000


def test_few_services_have_a_process_each() -> None:
    assert not packed(parse_text(generate(PACKED_FROM - 1, "tree", 1)))
    assert packed(parse_text(generate(PACKED_FROM, "tree", 1)))


@pytest.mark.parametrize("services", [0, MAX_SERVICES + 1])
def test_too_few_and_too_many_are_refused(services: int) -> None:
    with pytest.raises(ValueError, match="services"):
        generate(services, "tree", 1)
