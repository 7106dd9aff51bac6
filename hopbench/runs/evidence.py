"""Evidence on disk: ``trial.json`` (hopbench.trial/1), written as a round ends.

A round that never ended has none: what it measured lies in its spools all the same.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import orjson

from hopbench.engines.port import Evidence, ProcessReport, RoundPlan
from hopbench.runs import directory as rundir
from hopbench.runs.directory import TrialDir
from services.errors import BadInput

SCHEMA: Final = "hopbench.trial/1"
_HERE: Final = ("plan", "directory")
"""Fields of Evidence that the run's plan and the file's place already say."""


def ended(trial: TrialDir, evidence: Evidence, pair: int) -> None:
    body = {
        field.name: getattr(evidence, field.name)
        for field in fields(evidence)
        if field.name not in _HERE
    }
    plan = evidence.plan
    rundir.write_json(
        trial.evidence,
        {
            "schema": SCHEMA,
            "variant": plan.variant,
            "round": plan.round,
            "pair": pair,
            # 64 bits; a number in JSON is exact to 53.
            "seed": str(plan.seed),
            "evidence": body,
        },
    )


def is_done(trial: TrialDir) -> bool:
    """Whether the round ran to its end, whole: a resumed run need not repeat it."""
    document = _document(trial)
    if document is None:
        return False
    body = document["evidence"]
    return body["broken"] is None


def read(trial: TrialDir, plan: RoundPlan) -> Evidence | None:
    """None where the round did not end. Raises BadInput for a file that is no trial."""
    document = _document(trial)
    if document is None:
        return None
    body: dict[str, Any] = document["evidence"]
    try:
        body["processes"] = tuple(
            ProcessReport(**{**report, "doubts": _pairs(report["doubts"])})
            for report in body["processes"]
        )
        body["service_pids"] = {k: tuple(v) for k, v in body["service_pids"].items()}
        body["locust_pids"] = tuple(body["locust_pids"])
        body["doubts"] = _pairs(body["doubts"])
        return Evidence(plan=plan, directory=trial.path, **body)
    except (KeyError, TypeError) as error:
        raise BadInput(f"does not fit {SCHEMA}: {error}", file=str(trial.evidence)) from error


def _pairs(values: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((code, text) for code, text in values)


def _document(trial: TrialDir) -> dict[str, Any] | None:
    path: Path = trial.evidence
    if not path.is_file():
        return None
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise BadInput(f"this is not JSON: {error}", file=str(path)) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise BadInput(f"its schema is {schema!r}, not {SCHEMA!r}", file=str(path))
    found: dict[str, Any] = document
    return found
