"""Engines by name. To add one: a file here, and a line in :data:`ENGINES`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Final

from hopbench.engines.attached import places
from hopbench.engines.port import ClockName, Engine, Settings
from hopbench.exits import undisturbed
from services.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Kind:
    path: str
    """``module:class``, imported when first used: half of the libraries hang on the local one."""
    clock: ClockName = "wall"


ENGINES: Final[Mapping[str, Kind]] = {
    "local": Kind("hopbench.engines.local.engine:LocalEngine"),
    "compose": Kind("hopbench.engines.attached.engine:FleetEngine"),
    "kubernetes": Kind("hopbench.engines.attached.engine:FleetEngine"),
    "virtual": Kind("hopbench.engines.virtual:VirtualEngine", clock="virtual"),
}


def is_virtual(settings: Settings) -> bool:
    """Whether nothing is started and nothing measured: time is the engine's own."""
    return ENGINES[settings.engine].clock == "virtual"


def check(settings: Settings, scenarios: Iterable[Scenario]) -> None:
    """Before anything is made for a run: whether its engine has what ``scenarios`` need.

    Raises BadInput.
    """
    if settings.engine in places.ATTACHED:
        places.check(settings, scenarios, os.environ)


def engine(settings: Settings) -> Engine:
    """The engine that ``settings`` name, not yet opened."""
    with undisturbed():
        make = resolve_name(ENGINES[settings.engine].path)
    made: Engine = make(settings)
    return made
