"""Engines by name. To add one: a file here, and a line in :data:`ENGINES`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Final, cast

from hopbench.engines.attached import places
from hopbench.engines.port import Engine, EngineName, Settings
from hopbench.exits import undisturbed
from services.scenario.model import Scenario

ENGINES: Final[Mapping[EngineName, tuple[str, str]]] = {
    "local": ("hopbench.engines.local.engine", "LocalEngine"),
    "compose": ("hopbench.engines.attached.engine", "FleetEngine"),
    "kubernetes": ("hopbench.engines.attached.engine", "FleetEngine"),
    "virtual": ("hopbench.engines.virtual", "VirtualEngine"),
}
"""Module and class; loaded when first used, for half of the libraries hang on the local one."""


def check(settings: Settings, scenarios: Iterable[Scenario]) -> None:
    """Before anything is made for a run: whether its engine has what ``scenarios`` need.

    Raises BadInput.
    """
    if settings.engine in places.ATTACHED:
        places.check(settings, scenarios, os.environ)


def engine(settings: Settings) -> Engine:
    """The engine that ``settings`` name, not yet opened."""
    module, name = ENGINES[settings.engine]
    with undisturbed():
        found = import_module(module)
    return cast(Engine, getattr(found, name)(settings))
