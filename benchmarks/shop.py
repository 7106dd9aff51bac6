"""Two services and one edge, ``order.create -> inventory.reserve``: what the benchmarks run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

from services import transports
from services.scenario.distributions import Constant
from services.scenario.model import Edge, KafkaOptions, OnErrorFail, Origin, Target
from services.transports.site import Counters, Hooks, Site
from services.wire.ports import Address, Incoming, Outgoing, Reply, TraceContext, wire_of
from services.wire.topology import Topology

ProtocolName = Literal["http", "grpc"]
REQUEST_BYTES: Final = 64
RESPONSE_BYTES: Final = 128
TICKET: Final = "00000000000004d2;entry@0"
_NO_HOOKS: Final = Hooks()


def shop(protocol: ProtocolName) -> Topology:
    edge = Edge(
        target=Target("inventory", "reserve"),
        protocol=protocol,
        mode="call",
        count=1,
        batch=1,
        max_parallel=1,
        probability=1.0,
        request_bytes=Constant(REQUEST_BYTES),
        response_bytes=Constant(RESPONSE_BYTES),
        key_distinct=None,
        timeout_ns=None,
        retry=None,
        hedge=None,
        on_error=OnErrorFail(),
        kafka=KafkaOptions(1, "1", 0),
        origins=(Origin("order.create/1", 1),),
    )
    wire = wire_of(0, "order", "create", edge)
    operations = (Target("order", "create"), Target("inventory", "reserve"))
    return Topology(
        operations,
        (wire,),
        {("order", "create", "order.create/1"): wire},
        {operation: i for i, operation in enumerate(operations)},
    )


@asynccontextmanager
async def connected(
    protocol: ProtocolName,
    topology: Topology,
    handler: Callable[[Incoming], Awaitable[Reply]],
    caller: Hooks = _NO_HOOKS,
    callee: Hooks = _NO_HOOKS,
) -> AsyncIterator[Callable[[Outgoing], Awaitable[Reply]]]:
    """Our transport and listener of ``protocol``, connected; yields the call."""
    listener = transports.listener(
        protocol, Site("inventory", 0, 1, topology, Counters(), hooks=callee)
    )
    port = await listener.start(handler)
    transport = transports.client(
        protocol,
        Site("order", 0, 1, topology, Counters(), hooks=caller, warm_connections=16),
    )
    address = Address("127.0.0.1", {} if port is None else {protocol: port})
    await transport.connect({"inventory": (address,)})
    try:
        yield transport.call
    finally:
        await transport.close()
        await listener.stop(0)


def sent(topology: Topology, trace: TraceContext | None) -> Outgoing:
    return Outgoing(
        topology.wires[0], 0, TICKET, None, REQUEST_BYTES, RESPONSE_BYTES, None, 0, trace
    )
