"""A scenario is written without loss."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.errors import BadInput
from services.scenario.file.parser import bundled, parse_text
from services.scenario.file.schema import scenario_schema
from services.scenario.file.writer import to_plain, to_yaml
from services.scenario.model import EdgeRef, Scenario, Target
from services.scenario.pace import Open
from services.scenario.refactors import apply, apply_refactor
from services.scenario.refactors.batch import Batch
from services.scenario.refactors.parallelize import Parallelize
from tests.scenario.strategies import scenarios, talks

SCHEMA = jsonschema.Draft202012Validator(scenario_schema())
slow_to_draw = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@slow_to_draw
@given(scenarios())
def test_what_is_written_fits_the_schema_and_is_read_back_the_same(scenario: Scenario) -> None:
    SCHEMA.validate(to_plain(scenario))
    assert parse_text(to_yaml(scenario)) == scenario


@pytest.mark.parametrize("name", bundled())
def test_bundled_scenarios_come_back_the_same_with_every_override(name: str) -> None:
    base = parse_text(bundled()[name])
    changed = replace(
        base,
        seed=99,
        load=replace(base.load, pace=Open("uniform", 12.5), duration_ns=1_234_567, warmup_ns=0),
    )
    assert parse_text(to_yaml(base)) == base
    assert parse_text(to_yaml(changed)) == changed
    assert parse_text(to_yaml(changed)) != base


@given(st.floats(1e-6, 9e5), st.integers(1, 10**11))
def test_every_rate_and_duration_survives(rate: float, duration: int) -> None:
    base = parse_text(bundled()["chatty"])
    offered = replace(base.load, pace=Open("poisson", rate), duration_ns=duration)
    changed = replace(base, load=offered)
    assert parse_text(to_yaml(changed)).load == changed.load


def test_the_file_is_plain_yaml_for_other_readers() -> None:
    base = parse_text(bundled()["checkout"])
    assert yaml.safe_load(to_yaml(base)) == to_plain(base)


@pytest.mark.parametrize("variant", ["parallel", "tuned"])
def test_what_refactors_made_is_not_written_as_if_it_were_a_base(variant: str) -> None:
    with pytest.raises(ValueError, match="not a base"):
        to_yaml(apply(parse_text(bundled()["checkout"]), variant))


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(talks(), st.integers(2, 9))
def test_what_refactors_made_is_written_without_loss_or_not_at_all(base: Scenario, n: int) -> None:
    for refactor in (Batch(EdgeRef("a", None, "b", "one"), n), Parallelize(Target("a", "go"), n)):
        changed, text = base, ""
        with suppress(BadInput):
            changed = apply_refactor(base, refactor)
        with suppress(ValueError):
            text = to_yaml(changed)
        assert not text or parse_text(text) == changed
