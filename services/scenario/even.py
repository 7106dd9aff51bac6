"""Whether one stretch of a scenario's load is as every other."""

from __future__ import annotations

from services.scenario.model import Scenario
from services.scenario.pace import Open


def is_even(scenario: Scenario) -> bool:
    """No ramp, recording or users who wait, and no fault that goes by the time of the round."""
    pace = scenario.load.pace
    return (
        isinstance(pace, Open)
        and not pace.ramp
        and all(
            fault.kind != "pause" and fault.from_ns is None and fault.to_ns is None
            for fault in scenario.faults
        )
    )
