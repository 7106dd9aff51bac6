"""Rounds small enough for tests, on real processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hopbench.engines.port import RoundPlan, Settings
from services.scenario.chance import round_seed
from services.scenario.file.parser import parse_text
from services.scenario.refactors import apply

SCENARIO = """
version: 1
name: small
seed: 7
services:
  order:
    operations:
      create:
        - {call: inventory.reserve, count: 3}
        - {call: price.quote, protocol: grpc}
  inventory:
    operations:
      reserve:
        - sleep: 1ms
  price:
    replicas: 2
    operations:
      quote:
        - work: 0.1ms
load: {rate: 50/s, duration: 600ms, warmup: 200ms, entry: order.create}
"""
EVENTS = """
version: 1
name: events
seed: 7
services:
  order:
    operations:
      create:
        - {publish: notify.send}
  notify:
    operations:
      send:
        - sleep: 1ms
load: {rate: 50/s, duration: 600ms, warmup: 200ms, entry: order.create}
"""


def settings(**changed: Any) -> Settings:
    usual = Settings(
        engine="local",
        broker="embedded",
        tracing=True,
        trace_ratio=0.5,
        instrumentation="lean",
        web_port=None,
    )
    return replace(usual, **changed)


def plan(source: str = SCENARIO, round_: int = 0) -> RoundPlan:
    base = parse_text(source)
    return RoundPlan(
        base=base,
        scenario=apply(base, "baseline"),
        source=source,
        variant="baseline",
        round=round_,
        seed=round_seed(base.seed, 0),
        trace_salt=round_,
    )


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    directory = tmp_path / "trial"
    directory.mkdir()
    return directory
