"""What ``--fail-on`` can ask of a comparison, beside what it can ask of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from hopbench.comparison.document import Document, Verdict, comparisons
from hopbench.comparison.metrics import METRICS
from hopbench.results import gate_values
from hopbench.results.gates import Gate, Subject, Subjects, Value
from hopbench.results.summary import Summary
from hopbench.runs.plan import RunPlan
from hopbench.statistics.effect import Outcome
from services.scenario.model import Scenario

WORDS: Final = {"verdict": tuple(outcome.value for outcome in Outcome)}
OF_PAIRS: Final = tuple(f"{name}_ratio" for name in METRICS)
"""Of each metric, of all entries together: the estimate of its verdict. In `run` those of the same
name are ratios of medians."""
VERDICT_VALUES: Final = ("verdict", "worse_guardrails", "pairs", *OF_PAIRS)


def of_every_arm(gates: Iterable[Gate], planned: RunPlan) -> list[Gate]:
    """A gate that names no variant is about each arm that is compared with the first."""
    compared = _compared(planned)
    found = []
    for gate in gates:
        if gate.variant is not None:
            found.append(gate)
        elif len(compared) == 1:
            found.append(replace(gate, variant=compared[0]))
        else:
            found += [
                replace(gate, variant=name, text=f"variant({name}).{gate.text}")
                for name in compared
            ]
    return found


def planned(plan: RunPlan) -> Subjects:
    """The names that there will be; every value is unknown."""
    return names(plan.scenarios, _compared(plan))


def names(scenarios: Mapping[str, Scenario], compared: Iterable[str]) -> Subjects:
    """Of variants, some of which are ``compared`` with another; every value is unknown."""
    nothing: Mapping[str, Value] = dict.fromkeys(VERDICT_VALUES)
    return _with(gate_values.planned(scenarios), dict.fromkeys(compared, nothing))


def of(plan: RunPlan, summary: Summary, document: Document) -> Subjects:
    of_run = gate_values.of_summary(plan, summary)
    return _with(of_run, {each.b: _values(each) for each in comparisons(document)})


def _with(of_run: Subjects, added: Mapping[str, Mapping[str, Value]]) -> Subjects:
    subjects: dict[str, Subject] = dict(of_run.by_name)
    for name, values in added.items():
        of = subjects[name]
        subjects[name] = replace(of, values={**of.values, **values}, words={**of.words, **WORDS})
    return Subjects(of_run.default, subjects)


def _values(of: Verdict) -> dict[str, Value]:
    alone = len(of.entries) == 1
    whole = {row.metric: row.ratio for row in of.metrics if alone or row.entry is None}
    return {
        "verdict": of.verdict.value,
        "worse_guardrails": float(sum(row.worse for row in of.guardrails)),
        "pairs": float(of.pairs),
        **{gate: whole.get(name) for gate, name in zip(OF_PAIRS, METRICS, strict=True)},
    }


def _compared(plan: RunPlan) -> tuple[str, ...]:
    assert plan.design is not None
    return tuple(dict.fromkeys(plan.design.arms[1:]))
