"""What findings propose, held against the scenario: a refactor is shown only where it applies, and
promises what it gives in virtual time.

Both scenarios, as it is and refactored, answer the same requests with the same draws, each hop
taking the transport time that was measured on its edge in this run, so that hops that go save
theirs. What is promised is the median over the requests that the refactor changes; gains of less
than :data:`WORTH` of those requests' P50 are none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import Final

import numpy as np

from analysis.arrays.quantiles import NS_PER_MS
from analysis.findings.finding import Finding
from analysis.rows.edges import EdgeRow
from hopbench.engines import is_virtual
from hopbench.runs.plan import RunPlan
from loadgen.schedule import MEASURED, arrivals
from services.errors import BadInput
from services.scenario.capacity import worst_calls
from services.scenario.file.validation import errors
from services.scenario.model import Scenario
from services.scenario.pace import Closed
from services.scenario.refactors import apply_refactor, read_refactor
from services.scenario.text.source import tree
from services.simulation.replay import SpanCount
from services.simulation.round import Arrival, simulate
from services.transports.memory import HopLatency, Latency, no_latency
from services.wire.ports import Wire

WORTH: Final = 0.02
_REQUESTS: Final = 200
_CALLS: Final = 6_000
"""So many calls are simulated, at most: half a second."""
_APART_NS: Final = 1_000_000_000
"""Requests of a closed load, whose times nobody knows beforehand."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests of a round, and what their chance hangs on."""

    seed: int
    due: tuple[Arrival, ...]
    measured_from_ns: int


def sample(plan: RunPlan, variant: str) -> Sample:
    """The first requests of the measured phase of the variant's first round."""
    turn = next(turn for turn in plan.order if turn.variant == variant)
    scenario = plan.scenarios[variant]
    schedule = arrivals(scenario.load, turn.seed)
    number = max(1, min(_REQUESTS, _CALLS // max(1, int(worst_calls(scenario)))))
    rows = np.flatnonzero(schedule.phase == MEASURED)[:number]
    due = schedule.offset_ns[rows].tolist()
    if isinstance(scenario.load.pace, Closed):
        due = [scenario.load.warmup_ns + i * _APART_NS for i in range(len(rows))]
    requests = zip(schedule.number[rows].tolist(), due, schedule.entry[rows].tolist(), strict=True)
    return Sample(
        turn.seed,
        tuple(Arrival(seq, at, entry, False, 0) for seq, at, entry in requests),
        scenario.load.warmup_ns,
    )


def transport(edges: Iterable[EdgeRow], plan: RunPlan) -> Latency:
    """The P50 of the transport tax of each edge, half of it each way; of an edge that the traces do
    not show the middle of those of its protocol, or else of all. In virtual time there is none."""
    if is_virtual(plan.settings):
        return no_latency
    taxes: dict[tuple[str, ...], list[float]] = {}
    for at in edges:
        if at.tax_ms.p50 is not None and at.protocol is not None:
            for key in ((at.callee, at.operation, at.protocol), (at.protocol,), ()):
                taxes.setdefault(key, []).append(at.tax_ms.p50)
    each_way = {key: HopLatency(round(median(of) * NS_PER_MS / 2)) for key, of in taxes.items()}

    def latency(wire: Wire) -> HopLatency | None:
        keys = ((wire.callee, wire.operation, wire.protocol), (wire.protocol,), ())
        return next((each_way[key] for key in keys if key in each_way), None)

    return latency


class Promises:
    def __init__(
        self, scenario: Scenario, requests: Callable[[], Sample], latency: Latency
    ) -> None:
        """``scenario`` is the variant's; ``requests`` are asked for with the first proposal."""
        self._scenario = scenario
        self._requests = requests
        self._latency = latency

    def kept(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings, each with what its refactor gives. One whose refactor does not apply
        proposes nothing, promises nothing, and says why."""
        return tuple(self._kept(finding) for finding in findings)

    def _kept(self, finding: Finding) -> Finding:
        if finding.refactor is None:
            return replace(finding, saving_ms=(None, None))
        try:
            refactor = read_refactor("finding", tree(json.dumps(dict(finding.refactor)), "finding"))
            changed = apply_refactor(self._scenario, refactor)
            wrong = errors(changed)
        except BadInput as error:
            why = error.text
        else:
            if not wrong:
                gain = self._gain_ns(changed) / NS_PER_MS
                return replace(finding, saving_ms=(gain, gain))
            why = wrong[0].text
        op = finding.refactor["op"]
        text = f"{finding.text} {op} does not apply here: {why.removeprefix(f'{op}: ')}."
        return replace(finding, refactor=None, saving_ms=(None, None), text=text)

    @cached_property
    def _sample(self) -> Sample:
        return self._requests()

    @cached_property
    def _before(self) -> dict[int, int]:
        return self._took_ns(self._scenario)

    def _gain_ns(self, changed: Scenario) -> float:
        before, after = self._before, self._took_ns(changed)
        both = [(before[n], after[n]) for n in before.keys() & after.keys()]
        moved = [(old, new) for old, new in both if old != new]
        if not moved:
            return 0.0
        gain = median(old - new for old, new in moved)
        return gain if gain >= WORTH * median(old for old, _ in moved) else 0.0

    def _took_ns(self, scenario: Scenario) -> dict[int, int]:
        """By request number, of those that were answered."""
        result = simulate(
            scenario,
            self._sample.seed,
            self._sample.due,
            self._sample.measured_from_ns,
            lambda service, replica, numbered, clock: SpanCount(),
            latency=self._latency,
        )
        return {
            of.number: of.done_ns - of.sent_ns
            for of in result.outcomes
            if of.done_ns is not None and of.sent_ns is not None
        }
