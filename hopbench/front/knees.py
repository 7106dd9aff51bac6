"""The lowest knee of a comparison's arms, for loads that are shares of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from hopbench.exits import Exit
from hopbench.front.output import Output
from hopbench.front.saturating import Search
from hopbench.runs.plan import RunPlan, plan_of
from hopbench.saturation.shown import terminal
from services.errors import BadInput
from services.scenario.model import Scenario
from services.scenario.pace import Open

WITHIN: Final = 0.1
MOST_RPS: Final = 5_000.0


def lowest(planned: RunPlan, place: Path, output: Output) -> tuple[Exit, float | None]:
    """Of all arms; None where one of them has none, with the exit code that says why."""
    found = []
    for arm in planned.scenarios:
        pace = planned.base(arm).load.pace
        if not isinstance(pace, Open) or pace.ramp:
            raise BadInput("--load: the load has not one rate", hint="an open load: `rate`")

        def at(rate_rps: float, arm: str = arm, pace: Open = pace) -> RunPlan:
            def paced(scenario: Scenario) -> Scenario:
                load = replace(scenario.load, pace=replace(pace, rate_rps=rate_rps))
                return replace(scenario, load=load)

            return plan_of(
                paced(planned.scenario),
                planned.sha256,
                variants=(arm,),
                rounds=1,
                settings=planned.settings,
                others={name: paced(of) for name, of in planned.others.items()},
            )

        directory = place / arm
        directory.mkdir(parents=True)
        search = Search(directory, at, None, pace.rate_rps, MOST_RPS, WITHIN, output)
        code, told = search.run()
        output.show(terminal(told))
        if code is not Exit.DONE:
            return code, None
        if told.knee_rps is None:
            output.reason(f"--load: no knee of {arm} is known: {told.sentence}")
            return Exit.INCONCLUSIVE, None
        found.append(told.knee_rps)
    return Exit.DONE, min(found)
