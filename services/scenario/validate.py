"""validate: thin"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Problem:
    severity: Literal["error", "warning"]
    text: str
    at: tuple[str, ...]
    hint: str | None = None


def validate(scenario: Scenario) -> tuple[Problem, ...]:
    return ()
