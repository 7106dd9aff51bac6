"""Whether one stretch of a scenario's load is as every other."""

from __future__ import annotations

from services.scenario.model import Scenario
from services.scenario.pace import Open
from services.scenario.steps.calls import Talk
from services.scenario.tree import operations, walk


def is_even(scenario: Scenario) -> bool:
    """No ramp, recording or users who wait, no fault that goes by the time of the round, and no
    cache that fills, or runs out, as it goes on."""
    pace = scenario.load.pace
    return (
        isinstance(pace, Open)
        and not pace.ramp
        and all(
            fault.kind != "pause" and fault.from_ns is None and fault.to_ns is None
            for fault in scenario.faults
        )
        and not any(
            isinstance(step, Talk)
            and step.edge.cache is not None
            and step.edge.cache.scope == "process"
            for _, operation in operations(scenario)
            for step in walk(operation.steps)
        )
    )
