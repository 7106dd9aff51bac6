"""Evidence on disk: ``trial.json`` (hopbench.trial/1), written as a round ends.

A round that never ended has none: what it measured lies in its spools all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from hopbench import disk
from hopbench.engines.port import Evidence
from hopbench.runs.directory import TrialDir
from services import codec
from services.errors import BadInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Written:
    """The file. ``seed`` is the round's, in digits: it has 64 bits, a number in JSON is exact to
    53."""

    variant: str
    round: int
    pair: int
    seed: str
    evidence: Evidence
    repeats: int = 0
    """How often it was measured before, and was void or broke off."""
    schema: Literal["hopbench.trial/1"] = "hopbench.trial/1"


def ended(trial: TrialDir, told: Written) -> None:
    disk.write_json(trial.evidence, codec.plain(told))


def broke_off(trial: TrialDir, why: str) -> None:
    """Of a round that has ended: it is not to count."""
    found = written(trial)
    if found is not None:
        ended(trial, replace(found, evidence=replace(found.evidence, broken=why)))


def is_done(trial: TrialDir) -> bool:
    """Whether the round ran to its end, whole: a resumed run need not repeat it."""
    evidence = read(trial)
    return evidence is not None and evidence.broken is None


def written(trial: TrialDir) -> Written | None:
    """None where the round did not end. Raises BadInput for a file that is no trial."""
    return read_file(Written, trial.evidence)


def read(trial: TrialDir) -> Evidence | None:
    """As :func:`written`."""
    found = written(trial)
    return None if found is None else found.evidence


def read_file(kind: type[T], path: Path) -> T | None:
    """What ``path`` holds; None where it is not there. Raises BadInput where it holds something
    else."""
    try:
        return codec.decode(kind, path.read_bytes())
    except FileNotFoundError:
        return None
    except codec.Unfit as error:
        raise BadInput(f"is not what hopbench wrote: {error}", file=str(path)) from error
