"""Where one entry's requests go."""

from __future__ import annotations

from dataclasses import dataclass

from services.scenario.model import Entry
from services.wire.ports import Address


@dataclass(frozen=True, slots=True)
class Way:
    entry: Entry
    addresses: tuple[Address, ...]
    """By replica number."""
    warm: int
    """HTTP connections to open to each replica before the first request."""
