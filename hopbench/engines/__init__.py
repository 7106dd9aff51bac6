"""Engines by name. To add one: a file here, and a line in :data:`ENGINES`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Final

from hopbench.exits import undisturbed

if TYPE_CHECKING:
    from hopbench.engines.port import ClockName, Engine, Settings
    from services.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Kind:
    path: str
    """``module:class``, imported when first used: half of the libraries hang on the local one."""
    clock: ClockName = "wall"
    check: str | None = None
    """``module:function`` of settings, scenarios and environment, which raises BadInput where the
    engine lacks what they need."""


_ATTACHED: Final = "hopbench.engines.attached.places:check"

ENGINES: Final[Mapping[str, Kind]] = {
    "local": Kind("hopbench.engines.local.engine:LocalEngine"),
    "compose": Kind("hopbench.engines.attached.engine:FleetEngine", check=_ATTACHED),
    "kubernetes": Kind("hopbench.engines.attached.engine:FleetEngine", check=_ATTACHED),
    "virtual": Kind("hopbench.engines.virtual:VirtualEngine", clock="virtual"),
}


def is_virtual(settings: Settings) -> bool:
    """Whether nothing is started and nothing measured: time is the engine's own."""
    return ENGINES[settings.engine].clock == "virtual"


def check(settings: Settings, scenarios: Iterable[Scenario]) -> None:
    """Before anything is made for a run: whether its engine has what ``scenarios`` need.

    Raises BadInput.
    """
    kind = ENGINES[settings.engine]
    if kind.check is not None:
        resolve_name(kind.check)(settings, scenarios, os.environ)


def engine(settings: Settings) -> Engine:
    """The engine that ``settings`` name, not yet opened."""
    with undisturbed():
        make = resolve_name(ENGINES[settings.engine].path)
    made: Engine = make(settings)
    return made
