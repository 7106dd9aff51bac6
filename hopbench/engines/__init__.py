"""Engines by name. To add one: a file here, and a line in :data:`ENGINES`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final, cast

from hopbench.engines.port import Engine, EngineName, Settings
from hopbench.exits import undisturbed

ENGINES: Final[Mapping[EngineName, tuple[str, str]]] = {
    "local": ("hopbench.engines.local", "LocalEngine"),
    "virtual": ("hopbench.engines.virtual", "VirtualEngine"),
}
"""Module and class; loaded when first used, for half of the libraries hang on the local one."""


def engine(settings: Settings) -> Engine:
    """The engine that ``settings`` name, not yet opened."""
    module, name = ENGINES[settings.engine]
    with undisturbed():
        found = import_module(module)
    return cast(Engine, getattr(found, name)(settings))
