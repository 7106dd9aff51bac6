"""What findings propose, held against the scenario: a refactor is shown only where it applies, and
promises what it gives in virtual time.

Both scenarios, as it is and refactored, answer the same requests with the same draws, each hop
taking the transport time that was measured on its edge in this run, so that hops that go save
theirs. What is promised is a range over what is unknown: which requests another round has, and,
measured, what the transport takes of them. docs/analysis.md, "Findings", has the rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from analysis.arrays.quantiles import NS_PER_MS
from analysis.findings.finding import Finding
from analysis.findings.observed import Observed
from hopbench.engines.port import BrokerKind
from hopbench.results.promises.gains import (
    Answered,
    answered,
    of_rounds_ns,
    pairs,
    range_ns,
    worth,
)
from hopbench.results.promises.requests import Sample, sample, whole_rounds
from hopbench.results.promises.transport import transport
from hopbench.runs.plan import RunPlan
from services.errors import BadInput
from services.scenario.file.validation import errors
from services.scenario.model import Refactor, Scenario
from services.scenario.refactors import apply_refactor, read_refactor
from services.scenario.refactors.set import Set
from services.scenario.text.forms import UNSAID
from services.scenario.text.source import tree
from services.transports.memory import Latency


def promises(plan: RunPlan, variant: str, seen: Observed, broker: BrokerKind | None) -> Promises:
    """Of the findings in ``seen``, the variant's traces."""
    scenario = plan.scenarios[variant]
    asked = partial(sample, plan, variant), partial(whole_rounds, plan, variant)
    return Promises(scenario, *asked, transport(seen, plan), broker)


class Promises:
    def __init__(
        self,
        scenario: Scenario,
        requests: Callable[[], Sample],
        rounds: Callable[[], Sample],
        transport: Sequence[Latency],
        broker: BrokerKind | None = None,
    ) -> None:
        """``scenario`` is the variant's; ``requests`` (and ``rounds``, for what hangs on the length
        of a round) are asked for with the first proposal; ``transport`` has the ends of what hops
        may take."""
        self._scenario = scenario
        self._requests, self._rounds = requests, rounds
        self._transport = transport
        self._broker = broker
        self._known: dict[bool, tuple[Sample, tuple[tuple[Answered, ...], ...]]] = {}

    def kept(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings, each with what its refactor gives. One whose refactor does not apply
        proposes nothing, promises nothing, and says why."""
        return tuple(self._kept(finding) for finding in findings)

    def _kept(self, finding: Finding) -> Finding:
        if finding.refactor is None:
            return replace(finding, saving_ms=(None, None))
        try:
            refactor = read_refactor("finding", tree(json.dumps(dict(finding.refactor)), "finding"))
            self._must_have(refactor)
            changed = apply_refactor(self._scenario, refactor)
            wrong = errors(changed)
        except BadInput as error:
            why = error.text
        else:
            if not wrong:
                low, high = self._gives_ns(refactor, changed)
                return replace(finding, saving_ms=(low / NS_PER_MS, high / NS_PER_MS))
            why = wrong[0].text
        op = finding.refactor["op"]
        text = f"{finding.text} {op} does not apply here: {why.removeprefix(f'{op}: ')}."
        return replace(finding, refactor=None, saving_ms=(None, None), text=text)

    def _must_have(self, refactor: Refactor) -> None:
        """Raises BadInput where the broker that carried the messages cannot do it."""
        asked = isinstance(refactor, Set) and refactor.partitions is not UNSAID
        if asked and self._broker == "embedded":
            raise BadInput(
                "the embedded broker has 4 partitions for every topic, whatever is asked"
            )

    def _before(self, *, whole: bool) -> tuple[Sample, tuple[tuple[Answered, ...], ...]]:
        if whole not in self._known:
            requests = self._rounds() if whole else self._requests()
            before = tuple(_answered(self._scenario, requests, each) for each in self._transport)
            self._known[whole] = requests, before
        return self._known[whole]

    def _gives_ns(self, refactor: Refactor, changed: Scenario) -> tuple[int, int]:
        """Zeros where it is not worth a promise, or may be nothing."""
        ends: list[int] = []
        requests, before_each = self._before(whole=isinstance(refactor, Set))
        if not requests.parts:
            return 0, 0
        for latency, before in zip(self._transport, before_each, strict=True):
            after = _answered(changed, requests, latency)
            parts = [pairs(refactor, *each) for each in zip(before, after, strict=True)]
            together = np.concatenate(parts)
            if not worth(refactor, together):
                return 0, 0
            if requests.rounds:
                ends += of_rounds_ns(refactor, parts)
                continue
            counted = sum(len(part.due) - part.lead for part in requests.parts)
            ends += range_ns(refactor, parts, requests.of * len(together) // counted)
        return (min(ends), max(ends)) if min(ends) > 0 else (0, 0)


def _answered(scenario: Scenario, requests: Sample, latency: Latency) -> tuple[Answered, ...]:
    """By part."""
    since_ns = requests.measured_from_ns
    return tuple(answered(scenario, part, since_ns, latency) for part in requests.parts)
