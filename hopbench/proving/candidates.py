"""From findings to refactors that are tried, and from those that hold to one scenario.

Refactors are applied in the order of the table of operators, whichever was found first: what is
measured alone is then the same change as what is measured together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from analysis.findings.finding import Finding
from services.errors import BadInput
from services.scenario.file.validation import errors
from services.scenario.model import Refactor, Scenario
from services.scenario.names import is_name
from services.scenario.refactors import (
    OPERATORS,
    apply_refactor,
    operator_of,
    read_refactor,
    to_mapping,
)
from services.scenario.text.source import tree

_PLACES: Final = ("edge", "at", "service", "fault")
_LONGEST: Final = 40


@dataclass(frozen=True, slots=True)
class Candidate:
    """A refactor that a finding proposes."""

    name: str
    """As a variant."""
    refactor: Refactor
    finding: Finding

    @property
    def written(self) -> dict[str, Any]:
        """As a scenario file has it."""
        return to_mapping(self.refactor)

    @property
    def promised_ms(self) -> float:
        low, high = self.finding.saving_ms
        return ((low or 0.0) + (high or 0.0)) / 2


def candidates(
    findings: Iterable[Finding], tried: Iterable[Refactor] = (), names: Iterable[str] = ()
) -> tuple[Candidate, ...]:
    """Each proposal once, those that promise most first. ``tried`` are none, and have ``names``."""
    known, taken = list(tried), set(names)
    found: list[Candidate] = []
    for finding in findings:
        if finding.refactor is None:
            continue
        refactor = read_refactor("finding", tree(json.dumps(dict(finding.refactor)), "finding"))
        if refactor not in known:
            known.append(refactor)
            found.append(Candidate(_name(refactor, taken), refactor, finding))
    return tuple(sorted(found, key=lambda each: -each.promised_ms))


def ordered(refactors: Iterable[Refactor]) -> tuple[Refactor, ...]:
    operators = list(OPERATORS)
    return tuple(sorted(refactors, key=lambda each: operators.index(operator_of(each)[0])))


def combined(scenario: Scenario, refactors: Iterable[Refactor]) -> Scenario:
    """All of them, in their order. Raises BadInput where they do not go together."""
    for refactor in ordered(refactors):
        scenario = apply_refactor(scenario, refactor)
    if wrong := errors(scenario):
        raise BadInput(wrong[0].text)
    return scenario


def clash(
    scenario: Scenario, kept: Sequence[Candidate], candidate: Candidate
) -> tuple[Candidate, str] | None:
    """Which one of ``kept`` rules the candidate out, and why: they change one edge, or do not go
    together. None where nothing does."""
    place = candidate.written.get("edge")
    for each in kept:
        if place is not None and each.written.get("edge") == place:
            return each, f"both change {place}"
    try:
        combined(scenario, [*(each.refactor for each in kept), candidate.refactor])
    except BadInput as error:
        for each in kept:
            try:
                combined(scenario, [each.refactor, candidate.refactor])
            except BadInput as of_two:
                return each, of_two.text
        return kept[-1], error.text
    return None


def _name(refactor: Refactor, taken: set[str]) -> str:
    said = to_mapping(refactor)
    place = next((str(said[key]) for key in _PLACES if key in said), "")
    text = re.sub(r"[^a-z0-9]+", "-", f"{said['op']}-{place}".lower()).strip("-")
    base = text[:_LONGEST].rstrip("-")
    name, number = base, 2
    while name in taken or not is_name(name):
        end = f"-{number}"
        name, number = f"{base[: _LONGEST - len(end)]}{end}", number + 1
    taken.add(name)
    return name
