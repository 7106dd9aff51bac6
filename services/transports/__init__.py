"""Transports over real wires: protocol → module, loaded when first used.

A transport is a module with two functions, ``client(site)`` and ``listener(site)``. The libraries
below them take half a second and 60 MB to import, which the virtual engine need not pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from services.ports import Listener, Transport
    from services.scenario.model import Protocol as WireProtocol
    from services.transports.site import Site


class TransportModule(Protocol):
    def client(self, site: Site) -> Transport: ...

    def listener(self, site: Site) -> Listener: ...


TRANSPORTS: Mapping[WireProtocol, str] = {
    "http": "services.transports.http",
    "grpc": "services.transports.grpc",
    "kafka": "services.transports.kafka",
}


def load(protocol: WireProtocol) -> TransportModule:
    return cast(TransportModule, import_module(TRANSPORTS[protocol]))


def client(protocol: WireProtocol, site: Site) -> Transport:
    """The caller's side of ``protocol``; create it in a running event loop."""
    return load(protocol).client(site)


def listener(protocol: WireProtocol, site: Site) -> Listener:
    """The callee's side of ``protocol``; create it in a running event loop."""
    return load(protocol).listener(site)
