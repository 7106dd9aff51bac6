"""One random scenario: what a run of it promises, and what the refactors give in other rounds."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from analysis.findings.finding import Finding
from hopbench.engines.port import Settings
from hopbench.engines.virtual import execute
from hopbench.results.promises.gains import Answered, answered, gain_ns, pairs
from hopbench.results.promises.requests import Part, asked
from hopbench.results.round import World
from hopbench.results.variant import told
from hopbench.runs import evidence, plan
from hopbench.runs.directory import RunDir
from hopbench.runs.limits import USUAL
from loadgen.schedule import MEASURED, arrivals
from services.errors import BadInput
from services.scenario.capacity import calls_of, shape
from services.scenario.chance import round_seed
from services.scenario.facts import facts_of
from services.scenario.file.parser import parse_text
from services.scenario.file.validation import errors
from services.scenario.model import Refactor, Scenario
from services.scenario.refactors import BASELINE, apply_refactor, read_refactor
from services.scenario.steps.calls import Call, Talk
from services.scenario.text.source import tree
from services.scenario.tree import operations, walk
from tests.front.random_scenarios import text

SETTINGS: Final = Settings("virtual", "embedded", True, 1.0, "lean", None)
OTHER_ROUNDS: Final = 10
"""Pairs of a run after the first, which the promise was made of."""
CHAIN: Final = 5
"""Hops."""
NOT_HERE: Final = "does not apply here"
"""What is said of a refactor that an analyzer proposed in vain."""
MUCH: Final = 0.1
"""Of the requests' P50."""


@dataclass(frozen=True)
class Promise:
    """``saving_ms`` and the gains of ten other rounds, None where it changed no request there."""

    op: str
    kind: str
    minor: bool
    refactor: str
    low: float
    high: float
    gains: tuple[float | None, ...]
    share: float
    """The median gain, as a share of the requests' P50."""


@dataclass(frozen=True)
class Judged:
    number: int
    proposed: tuple[Promise, ...]
    refused: tuple[str, ...]
    """Proposals that do not apply."""
    best: tuple[float, str]
    """The largest share that any refactor gave that a finding may propose, and which one."""


def findings_of(source: str, directory: Path) -> tuple[Scenario, list[tuple[Finding, bool]]]:
    """The findings of one round of the baseline, as a run has them; and whether each is minor."""
    ran = plan.plan_of(parse_text(source), "", variants=(BASELINE,), rounds=1, settings=SETTINGS)
    (turn,) = ran.order
    run = RunDir(directory)
    place = run.trial(turn.round, turn.variant)
    place.path.mkdir(parents=True)
    left = execute(
        ran.round_plan(turn), SETTINGS, place.path, lambda phase, share: None, threading.Event()
    )
    evidence.ended(
        place, evidence.Written(turn.variant, turn.round, turn.pair, str(turn.seed), left)
    )
    _, row = told(ran, run, BASELINE, World("virtual", None, USUAL, None))
    scenario = ran.scenarios[BASELINE]
    return scenario, [(f, False) for f in row.findings] + [(f, True) for f in row.minor]


def refactor_of(written: str) -> Refactor:
    return read_refactor("finding", tree(written, "finding"))


def judged(number: int) -> Judged:
    with tempfile.TemporaryDirectory() as directory:
        scenario, findings = findings_of(text(number), Path(directory))
    rounds = Rounds(scenario)
    proposed, refused = [], []
    for finding, minor in findings:
        if finding.refactor is None:
            if NOT_HERE in finding.text:
                refused.append(finding.text)
            continue
        written = json.dumps(dict(finding.refactor))
        low, high = finding.saving_ms
        assert low is not None
        assert high is not None
        try:
            refactor = refactor_of(written)
            changed = apply_refactor(scenario, refactor)
        except BadInput as error:
            refused.append(f"{written}: {error.text}")
            continue
        refused += [f"{written}: {wrong.text}" for wrong in errors(changed)]
        rounds_asked = range(1, 1 + (OTHER_ROUNDS if high else 3))
        gains, share = rounds.gains(refactor, changed, rounds_asked)
        op = str(finding.refactor["op"])
        proposed.append(Promise(op, finding.kind, minor, written, low, high, gains, share))
    best = max(((p.share, p.refactor) for p in proposed), default=(0.0, ""))
    if best[0] < MUCH or not any(p.high > 0 for p in proposed):
        for written in candidates(scenario):
            refactor = refactor_of(written)
            try:
                changed = apply_refactor(scenario, refactor)
            except BadInput:
                continue
            if not errors(changed):
                _, share = rounds.gains(refactor, changed, range(1, 3))
                best = max(best, (share, written))
    return Judged(number, tuple(proposed), tuple(refused), best)


class Rounds:
    """Other rounds of a scenario: all of their requests, with their own chance."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._before = cache(lambda pair: self._round(scenario, pair))

    def gains(
        self, refactor: Refactor, changed: Scenario, pairs_: Sequence[int]
    ) -> tuple[tuple[float | None, ...], float]:
        gains: list[float | None] = []
        shares: list[float] = []
        for pair in pairs_:
            before = self._before(pair)
            both = pairs(refactor, before, self._round(changed, pair))
            if len(both) == 0:
                gains.append(None)
                continue
            gain = float(gain_ns(refactor, both))
            gains.append(gain / 1e6)
            shares.append(gain / float(np.median(both[:, 0])))
        return tuple(gains), float(np.median(shares)) if shares else 0.0

    def _round(self, scenario: Scenario, pair: int) -> Answered:
        load = scenario.load
        seed = round_seed(scenario.seed, pair)
        due = arrivals(load, seed)
        requests = tuple(
            asked(int(due.number[i]), int(due.offset_ns[i]), int(due.entry[i]))
            for i in range(len(due))
        )
        lead = int((due.phase != MEASURED).sum())
        return answered(scenario, Part(seed, requests, lead), load.warmup_ns)


def candidates(scenario: Scenario) -> Iterator[str]:
    """Refactors wherever they may apply, as a finding would write them; of chains that are long.

    Not ``merge``: in virtual time a hop takes nothing, and what it gives there is the callee's
    faults that go.
    """
    long, facts = shape(scenario).depth >= CHAIN, facts_of(scenario)
    for service, operation in operations(scenario):
        yield json.dumps({"op": "parallelize", "at": f"{service.name}.{operation.name}"})
        for step in walk(operation.steps):
            if not isinstance(step, Talk):
                continue
            edge = f"{service.name}.{operation.name}->{step.edge.target}"
            if calls_of(step.edge) > 1:
                yield json.dumps({"op": "batch", "edge": edge, "size": step.edge.count})
            if isinstance(step, Call):
                if long and not facts.needed(service.name, operation.name, str(step.edge.target)):
                    yield json.dumps({"op": "asyncify", "edge": edge})
                yield json.dumps({"op": "cache", "edge": edge, "scope": "request"})
                yield json.dumps({"op": "hedge", "edge": edge, "after": "p95"})
                if calls_of(step.edge) > 20:
                    yield json.dumps({"op": "bound", "edge": edge, "max": 20})
