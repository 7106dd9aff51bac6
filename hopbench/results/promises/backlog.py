"""What falls behind in a round, in virtual time."""

from __future__ import annotations

from typing import Final

from analysis.findings.analyzers.queue import falling_behind
from analysis.findings.settings import Settings
from hopbench.results.flows import counted
from hopbench.results.promises.requests import Sample
from services.scenario.facts import facts_of
from services.scenario.model import Scenario
from services.simulation.replay import SpanCount
from services.simulation.round import simulate

_NANO: Final = 1_000_000_000


def falling_behind_in(scenario: Scenario, rounds: Sample) -> frozenset[str]:
    """The services that do, in the first of these rounds."""
    part = rounds.parts[0]
    result = simulate(
        scenario,
        part.seed,
        part.due,
        rounds.measured_from_ns,
        lambda service, replica, numbered, clock: SpanCount(),
    )
    sent = sum(outcome.sent_ns is not None for outcome in result.outcomes[part.lead :])
    flows = counted(
        ((of.service, of.replica, of.counters.told()) for of in result.replicas),
        (wire.messages(0) for wire in (result.wire, *(of.wire for of in result.replicas))),
        round=1,
        measured_s=scenario.load.duration_ns // _NANO,
        due_for_sent=(len(part.due) - part.lead) / max(sent, 1),
    )
    found = falling_behind(flows, facts_of(scenario), Settings().backlog_share)
    return frozenset(behind.flow.service for behind in found)
