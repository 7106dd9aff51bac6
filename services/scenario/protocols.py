"""The protocols that services talk by: a literal table.

To add one: a module with what :class:`services.transports.TransportModule` and
:class:`services.telemetry.conventions.Convention` ask for, and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """Both are imported when first used. The libraries below a transport take half a second and
    60 MB, which nobody pays who only needs to know what spans say."""

    transport: str
    """A module."""
    convention: str
    """``module:name``."""


PROTOCOLS: Final[Mapping[str, Kind]] = {
    "http": Kind("services.transports.http", "services.telemetry.conventions:HTTP"),
    "grpc": Kind("services.transports.grpc", "services.telemetry.conventions:GRPC"),
    "kafka": Kind("services.transports.kafka.transport", "services.telemetry.conventions:KAFKA"),
}
