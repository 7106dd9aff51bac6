"""gRPC between services: grpc.aio, one method for each operation, generic handlers.

There is no generated service: the operations are only known when a scenario is, so the listener
describes them itself, in a descriptor pool of its own, which server reflection serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import cycle
from time import monotonic_ns
from typing import Any, Final, cast

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from services.errors import CannotStart
from services.pb import hop_pb2
from services.scenario.names import GRPC_PACKAGE, camel, grpc_service
from services.transports.site import GRPC_CHANNELS, BrokerKind, Site
from services.wire import ticket, traceparent
from services.wire.channels import ANY_SIZE, TO_A_SERVICE
from services.wire.headers import headers
from services.wire.payload import payload
from services.wire.ports import (
    Directory,
    Handler,
    Incoming,
    Listener,
    Outgoing,
    Reply,
    Status,
    Transport,
)
from services.wire.statuses import GRPC

_CODES: Final = {status: grpc.StatusCode[code.name] for status, code in GRPC.items()}
_STATUSES: Final = {code: status for status, code in _CODES.items()}

_CONNECT_S: Final = 10.0
SERVER_OPTIONS: Final = (
    *ANY_SIZE,
    # Two servers sharing a port would each get a part of the calls, silently.
    ("grpc.so_reuseport", 0),
)

_Send = Callable[..., Awaitable[hop_pb2.HopReply]]


def settings(kind: BrokerKind | None) -> Mapping[str, object]:
    return {
        "channels": GRPC_CHANNELS,
        "connect_s": _CONNECT_S,
        "channel_options": dict(TO_A_SERVICE),
        "server_options": dict(SERVER_OPTIONS),
    }


def client(site: Site) -> Transport:
    return GrpcTransport(site)


def listener(site: Site) -> Listener:
    return GrpcListener(site)


class GrpcTransport:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._peer = site.peer
        self._channels: list[grpc.aio.Channel] = []
        self._send: dict[tuple[int, int], Callable[[], _Send]] = {}

    async def connect(self, directory: Directory) -> None:
        wires = list(self._site.outgoing("grpc"))
        ready: list[Awaitable[None]] = []
        for callee in sorted({wire.callee for wire in wires}):
            for replica, address in enumerate(directory[callee]):
                port = address.ports.get("grpc")
                if port is None:
                    continue
                target = f"{address.host}:{port}"
                channels = [self._open(target) for _ in range(self._site.grpc_channels)]
                ready += [_ready(channel, self._peer, callee, replica) for channel in channels]
                for wire in wires:
                    if wire.callee == callee:
                        sends = [_method(channel, wire.grpc_method) for channel in channels]
                        self._send[wire.index, replica] = cycle(sends).__next__
        await asyncio.gather(*ready)

    def _open(self, target: str) -> grpc.aio.Channel:
        channel = grpc.aio.insecure_channel(
            target,
            options=TO_A_SERVICE,
            interceptors=list(self._site.hooks.grpc_client_interceptors) or None,
        )
        self._channels.append(channel)
        return channel

    async def call(self, out: Outgoing) -> Reply:
        wire = out.wire
        send = self._send.get((wire.index, out.replica))
        if send is None:
            return Reply(Status.UNAVAILABLE, 0, f"no address of {wire.callee}/{out.replica}")
        try:
            reply = await send()(
                hop_pb2.HopRequest(payload=payload(out.request_bytes), key=out.key),
                timeout=None if out.timeout_ns is None else out.timeout_ns / 1e9,
                metadata=headers(out, self._peer),
            )
        except grpc.aio.AioRpcError as error:
            return Reply(
                _STATUSES.get(error.code(), Status.ERROR),
                0,
                error.details() or error.code().name,
            )
        return Reply(Status.OK, len(reply.payload))

    async def publish(self, out: Outgoing) -> Reply:
        return Reply(Status.ERROR, 0, "gRPC has no publish")

    async def close(self) -> None:
        await asyncio.gather(*(channel.close(None) for channel in self._channels))


def _method(channel: grpc.aio.Channel, name: str) -> _Send:
    return cast(
        _Send,
        channel.unary_unary(
            name,
            request_serializer=hop_pb2.HopRequest.SerializeToString,
            response_deserializer=hop_pb2.HopReply.FromString,
        ),
    )


async def _ready(channel: grpc.aio.Channel, peer: str, callee: str, replica: int) -> None:
    try:
        async with asyncio.timeout(_CONNECT_S):
            await channel.channel_ready()
    except TimeoutError as error:
        raise CannotStart(
            peer, f"no gRPC connection to {callee}/{replica} within {_CONNECT_S:g} s"
        ) from error


class GrpcListener:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._server = grpc.aio.server(
            options=SERVER_OPTIONS,
            interceptors=list(site.hooks.grpc_server_interceptors) or None,
        )
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs

    async def start(self, handler: Handler) -> int:
        site, server = self._site, self._server
        service = grpc_service(site.service)
        operations = site.operations()
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    service,
                    {
                        camel(operation): grpc.unary_unary_rpc_method_handler(
                            _method_handler(site.service, operation, handler),
                            request_deserializer=hop_pb2.HopRequest.FromString,
                            response_serializer=hop_pb2.HopReply.SerializeToString,
                        )
                        for operation in operations
                    },
                ),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (service, health.SERVICE_NAME, reflection.SERVICE_NAME),
            server,
            pool=descriptors(site.service, operations),
        )
        try:
            port = server.add_insecure_port(f"{site.host}:0")
        except RuntimeError as error:
            raise CannotStart(site.peer, f"cannot listen on {site.host}: {error}") from error
        await server.start()
        await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self, grace_ns: int) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_ns / 1e9)


def descriptors(service: str, operations: Iterable[str]) -> DescriptorPool:
    """What reflection serves: the message pair, this service, health and reflection itself."""
    pool = DescriptorPool()
    for module in (hop_pb2, health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = FileDescriptorProto(
        name=f"hopbench/{service}.proto",
        package=GRPC_PACKAGE,
        syntax="proto3",
        dependency=[hop_pb2.DESCRIPTOR.name],
    )
    described = file.service.add(name=camel(service))
    for operation in operations:
        described.method.add(
            name=camel(operation),
            input_type=f".{hop_pb2.HopRequest.DESCRIPTOR.full_name}",
            output_type=f".{hop_pb2.HopReply.DESCRIPTOR.full_name}",
        )
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _method_handler(
    service: str, operation: str, handler: Handler
) -> Callable[[hop_pb2.HopRequest, Any], Awaitable[hop_pb2.HopReply]]:
    async def handle(
        request: hop_pb2.HopRequest,
        context: grpc.aio.ServicerContext[hop_pb2.HopRequest, hop_pb2.HopReply],
    ) -> hop_pb2.HopReply:
        received_ns = monotonic_ns()
        metadata = dict(context.invocation_metadata() or ())
        try:
            header = ticket.parse_header(metadata.get(ticket.HEADER))
        except ValueError:
            context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
            context.set_details("malformed hopbench metadata")
            return hop_pb2.HopReply()
        reply = await handler(
            Incoming(
                service=service,
                operation=operation,
                protocol="grpc",
                mode="call",
                ticket=header.ticket,
                key=request.key if request.HasField("key") else None,
                request_bytes=len(request.payload),
                response_bytes=header.response_bytes,
                timeout_ns=header.timeout_ns,
                attempt=header.attempt,
                trace=traceparent.parse(metadata.get(traceparent.HEADER)),
                received_ns=received_ns,
                peer=header.peer,
            )
        )
        if reply.status is Status.OK:
            return hop_pb2.HopReply(payload=payload(reply.response_bytes))
        context.set_code(_CODES[reply.status])
        context.set_details(reply.detail)
        return hop_pb2.HopReply()

    return handle
