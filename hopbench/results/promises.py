"""What findings propose, held against the scenario: a refactor is shown only where it applies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from analysis.findings.finding import Finding
from services.errors import BadInput
from services.scenario.file.validation import errors
from services.scenario.model import Scenario
from services.scenario.refactors import apply_refactor, read_refactor
from services.scenario.text.source import tree


def kept(findings: Iterable[Finding], scenario: Scenario) -> tuple[Finding, ...]:
    """The findings; one whose refactor does not apply to ``scenario``, the variant's, proposes
    nothing, promises nothing, and says why."""
    return tuple(_kept(finding, scenario) for finding in findings)


def _kept(finding: Finding, scenario: Scenario) -> Finding:
    if finding.refactor is None:
        return finding
    try:
        refactor = read_refactor("finding", tree(json.dumps(dict(finding.refactor)), "finding"))
        wrong = errors(apply_refactor(scenario, refactor))
    except BadInput as error:
        why = error.text
    else:
        if not wrong:
            return finding
        why = wrong[0].text
    op = finding.refactor["op"]
    text = f"{finding.text} {op} does not apply here: {why.removeprefix(f'{op}: ')}."
    return replace(finding, refactor=None, saving_ms=(None, None), text=text)
