"""Where a proof lies: what was asked, each stage as a run directory, and the proof itself.

runs/<time>-<name>-proof/
  proof-plan.json       what was asked (hopbench.proof-plan/1); scenario.yaml beside it
  stages/1-look/        run directories: 1-screen, 1-confirm, 2-look…, final
  spent.json            what each stage has taken
  proof.json report.html report.md
  final.yaml            the scenario with all that held
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hopbench import disk
from hopbench.engines.port import Settings
from hopbench.proving.stages import Asked
from hopbench.runs import evidence
from hopbench.runs.directory import PROOF_PLAN, RunDir
from services import codec
from services.errors import BadInput
from services.scenario.file.parser import parse_text
from services.scenario.file.writer import to_yaml


@dataclass(frozen=True, slots=True)
class ProofDir:
    path: Path

    @property
    def plan(self) -> Path:
        return self.path / PROOF_PLAN

    @property
    def scenario(self) -> Path:
        return self.path / "scenario.yaml"

    @property
    def spent(self) -> Path:
        return self.path / "spent.json"

    @property
    def proof(self) -> Path:
        return self.path / "proof.json"

    @property
    def final(self) -> Path:
        return self.path / "final.yaml"

    def stage(self, name: str) -> RunDir:
        return RunDir(self.path / "stages" / name)


@dataclass(frozen=True, slots=True)
class _Written:
    scenario_sha256: str
    settings: Settings
    depth: int
    level: float
    delta: float
    repeat_void: int
    budget_s: float | None = None
    schema: Literal["hopbench.proof-plan/1"] = "hopbench.proof-plan/1"


def begin(place: ProofDir, asked: Asked) -> None:
    """Write down what is to be proved, before anything is started."""
    with disk.whole(place.scenario) as file:
        file.write(to_yaml(asked.scenario).encode())
    written = _Written(
        asked.sha256,
        asked.settings,
        asked.depth,
        asked.level,
        asked.delta,
        asked.repeat_void,
        asked.budget_s,
    )
    # Last: it is what makes the directory a proof's.
    disk.write_json(place.plan, codec.plain(written))


def read(place: ProofDir) -> Asked:
    """Raises BadInput for what is no proof's directory, or a damaged one."""
    if not place.plan.is_file():
        raise BadInput(
            f"{place.path} is no proof's directory (proof-plan.json is missing)",
            hint="it is what `hopbench prove` prints last",
        )
    try:
        written = codec.decode(_Written, place.plan.read_bytes())
        text = place.scenario.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read: {error}", file=str(place.path)) from error
    except codec.Unfit as error:
        raise BadInput(f"is no plan of hopbench: {error}", file=str(place.plan)) from error
    return Asked(
        scenario=parse_text(text, str(place.scenario)),
        sha256=written.scenario_sha256,
        settings=written.settings,
        depth=written.depth,
        level=written.level,
        delta=written.delta,
        repeat_void=written.repeat_void,
        budget_s=written.budget_s,
    )


@dataclass(frozen=True, slots=True)
class Taken:
    rounds: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """Over all sittings."""

    stages: Mapping[str, Taken] = field(default_factory=dict)
    schema: Literal["hopbench.spent/1"] = "hopbench.spent/1"

    @property
    def rounds(self) -> int:
        return sum(each.rounds for each in self.stages.values())

    @property
    def seconds(self) -> float:
        return sum(each.seconds for each in self.stages.values())

    def more(self, stage: str, rounds: int, seconds: float) -> Spent:
        before = self.stages.get(stage, Taken())
        now = Taken(before.rounds + rounds, before.seconds + seconds)
        return Spent({**self.stages, stage: now})


def spent(place: ProofDir) -> Spent:
    """Raises BadInput for a file that says something else."""
    return evidence.read_file(Spent, place.spent) or Spent()
