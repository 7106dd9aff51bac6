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
from hopbench.results.promises.backlog import falling_behind_in
from hopbench.results.promises.gains import (
    FEWEST_ROUNDS,
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
from services.scenario.pace import Closed
from services.scenario.refactors import apply_refactor, read_refactor
from services.scenario.refactors.set import Set
from services.scenario.text.forms import UNSAID
from services.scenario.text.source import tree
from services.transports.memory import Latency


def promises(
    plan: RunPlan,
    variant: str,
    seen: Observed,
    broker: BrokerKind | None,
    findings: Iterable[Finding],
) -> Promises:
    """Of the ``findings`` in the variant's traces."""
    return Promises(
        plan.scenarios[variant],
        partial(sample, plan, variant),
        partial(whole_rounds, plan, variant),
        transport(seen, plan),
        broker,
        grows=any(finding.kind == "queue.backlog" for finding in findings),
    )


class Promises:
    def __init__(
        self,
        scenario: Scenario,
        requests: Callable[[], Sample],
        rounds: Callable[[], Sample],
        transport: Sequence[Latency],
        broker: BrokerKind | None = None,
        *,
        grows: bool = False,
    ) -> None:
        """``scenario`` is the variant's; ``requests`` (and ``rounds``, for what hangs on the length
        of a round) are asked for with the first proposal; ``transport`` has the ends of what hops
        may take. Where a queue ``grows``, everything that is saved hangs on the round's length."""
        self._scenario = scenario
        self._requests, self._rounds = requests, rounds
        self._transport = transport
        self._broker = broker
        self._grows = grows
        self._falling: frozenset[str] | None = None
        self._samples: dict[bool, Sample] = {}
        self._known: dict[bool, tuple[tuple[Answered, ...], ...]] = {}

    def kept(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings, each with what its refactor gives. One whose refactor does not apply
        proposes nothing, promises nothing, and says why."""
        return tuple(map(self._kept, findings))

    def _kept(self, finding: Finding) -> Finding:
        proposed = finding.refactor
        nothing = replace(finding, refactor=None, saving_ms=(None, None))
        if proposed is None:
            return nothing
        try:
            refactor = read_refactor("finding", tree(json.dumps(dict(proposed)), "finding"))
            self._must_have(refactor)
            changed = apply_refactor(self._scenario, refactor)
            wrong = errors(changed)
        except BadInput as error:
            why = error.text
        else:
            if not wrong:
                return self._given(finding, refactor, changed)
            why = wrong[0].text
        op = proposed["op"]
        text = f"{finding.text} {op} does not apply here: {why.removeprefix(f'{op}: ')}."
        return replace(nothing, text=text)

    def _given(self, finding: Finding, refactor: Refactor, changed: Scenario) -> Finding:
        """With what the refactor gives."""
        if isinstance(refactor, Set):
            keeps_up = self._keeps_up(finding, changed)
            if keeps_up is not None:
                proposed = (finding.refactor or {}).items()
                what = ", ".join(f"{key}: {value}" for key, value in proposed if key != "op")
                told = (
                    f"In virtual time it keeps up with {{{what}}}."
                    if keeps_up
                    else f"In virtual time it falls behind with {{{what}}}, too: none is proposed."
                )
                finding = replace(finding, text=f"{finding.text} {told}")
            if keeps_up is False:
                return replace(finding, refactor=None, saving_ms=(None, None))
        low, high = self._gives_ns(refactor, changed)
        return replace(finding, saving_ms=(low / NS_PER_MS, high / NS_PER_MS))

    def _must_have(self, refactor: Refactor) -> None:
        """Raises BadInput where the broker that carried the messages cannot do it."""
        asked = isinstance(refactor, Set) and refactor.partitions is not UNSAID
        if asked and self._broker == "embedded":
            raise BadInput(
                "the embedded broker has 4 partitions for every topic, whatever is asked"
            )

    def _keeps_up(self, finding: Finding, changed: Scenario) -> bool | None:
        """Whether what falls behind in virtual time does so no longer; None where nothing does, or
        where a round is too much to be simulated."""
        rounds = self._sample(whole=True)
        if not rounds.parts or isinstance(self._scenario.load.pace, Closed):
            return None
        if self._falling is None:
            self._falling = falling_behind_in(self._scenario, rounds)
        if not self._falling:
            return None
        after = falling_behind_in(changed, rounds)
        return finding.where.callee not in after and len(after) < len(self._falling)

    def _sample(self, *, whole: bool) -> Sample:
        if whole not in self._samples:
            self._samples[whole] = self._rounds() if whole else self._requests()
        return self._samples[whole]

    def _before(self, *, whole: bool) -> tuple[tuple[Answered, ...], ...]:
        if whole not in self._known:
            requests = self._sample(whole=whole)
            self._known[whole] = tuple(
                _answered(self._scenario, requests, each) for each in self._transport
            )
        return self._known[whole]

    def _gives_ns(self, refactor: Refactor, changed: Scenario) -> tuple[int, int]:
        """Zeros where it is not worth a promise, or may be nothing."""
        ends: list[int] = []
        whole = self._grows or isinstance(refactor, Set)
        requests = self._sample(whole=whole)
        if not requests.parts or (whole and len(requests.parts) < FEWEST_ROUNDS):
            return 0, 0
        for latency, before in zip(self._transport, self._before(whole=whole), strict=True):
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
