"""The protocols that services talk by: a literal table.

To add one: a module as :class:`services.transports.TransportModule` describes it, and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PROTOCOLS: Final[Mapping[str, str]] = {
    "http": "services.transports.http",
    "grpc": "services.transports.grpc",
    "kafka": "services.transports.kafka.transport",
}
"""Name → module, imported when first used: the libraries below a transport take half a second and
60 MB, which a scenario's reader and the virtual engine need not pay."""
