"""Transports over real wires: protocol → module, loaded when first used.

A transport is a module with three functions: ``client(site)``, ``listener(site)`` and
``settings(broker_kind)``. The libraries below them take half a second and 60 MB to import, which
the virtual engine need not pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from services.scenario.protocols import PROTOCOLS

if TYPE_CHECKING:
    from services.scenario.model import Protocol as WireProtocol
    from services.transports.site import BrokerKind, Site
    from services.wire.ports import Listener, Transport


class TransportModule(Protocol):
    def client(self, site: Site) -> Transport: ...

    def listener(self, site: Site) -> Listener: ...

    def settings(self, kind: BrokerKind | None) -> Mapping[str, object]: ...


def load(protocol: WireProtocol) -> TransportModule:
    return cast(TransportModule, import_module(PROTOCOLS[protocol].transport))


def client(protocol: WireProtocol, site: Site) -> Transport:
    """The caller's side of ``protocol``; create it in a running event loop."""
    return load(protocol).client(site)


def listener(protocol: WireProtocol, site: Site) -> Listener:
    """The callee's side of ``protocol``; create it in a running event loop."""
    return load(protocol).listener(site)


def settings(kind: BrokerKind | None) -> dict[str, Mapping[str, object]]:
    """Every setting of every client and server, by protocol, as a run records them."""
    return {protocol: load(protocol).settings(kind) for protocol in PROTOCOLS}
