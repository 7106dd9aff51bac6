"""gRPC entries: grpc's blocking client over gevent, on several channels to each replica.

One channel is one connection, and a bottleneck that looks like the callee's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, Final, NamedTuple

import grpc
from grpc.experimental.gevent import init_gevent  # type: ignore[import-not-found]  # no stub

from loadgen.samples import OF_STATUS, OK
from loadgen.sending.asks import Asks
from loadgen.sending.port import Answer, Way
from services.errors import CannotStart
from services.pb.hop_pb2 import HopReply, HopRequest
from services.scenario.names import grpc_method
from services.wire.channels import TO_A_SERVICE
from services.wire.headers import Headers
from services.wire.payload import payload
from services.wire.ports import Address, Status
from services.wire.statuses import OF_GRPC

CHANNELS: Final = 4
"""To each replica."""
_PERHAPS_OURS: Final = (Status.TIMEOUT, Status.UNAVAILABLE)
_CONNECT_S: Final = 5.0
_NANO: Final = 1e9

Send = Callable[..., Any]


class GrpcMessage(NamedTuple):
    """Its own line: a channel carries any number of calls at once."""

    send: Send
    request: bytes
    metadata: Headers
    timeout_s: float

    def line(self) -> GrpcMessage:
        return self

    def exchange(self) -> Answer:
        try:
            size: int = self.send(self.request, timeout=self.timeout_s, metadata=self.metadata)
        except grpc.RpcError as error:
            return _failed(error)
        return Answer(OK, 0, size, True)


class GrpcSender:
    """One entry over gRPC: replicas, and the channels to each, take requests in turn."""

    def __init__(self, way: Way, replicas: Sequence[Sequence[grpc.Channel]], asks: Asks) -> None:
        self._way = way
        self._asks = asks
        self._channels = [channel for channels in replicas for channel in channels]
        method = grpc_method(way.entry.target.service, way.entry.target.operation)
        in_turn = [replicas[r][c] for c in range(CHANNELS) for r in range(len(replicas))]
        self._sends: cycle[Send] = cycle(
            channel.unary_unary(method, request_serializer=None, response_deserializer=_size)
            for channel in in_turn
        )

    def open(self) -> None:
        for channel in self._channels:
            ready = grpc.channel_ready_future(channel)
            try:
                ready.result(timeout=_CONNECT_S)
            except grpc.FutureTimeoutError as error:
                ready.cancel()
                places = ", ".join(f"{at.host}:{at.ports['grpc']}" for at in self._way.addresses)
                raise CannotStart(
                    "generator",
                    f"no answer from {self._way.entry.target} over gRPC at {places}",
                    hint="is the scenario still running?",
                ) from error

    def prepare(self, row: int) -> GrpcMessage:
        ask = self._asks[row]
        request = HopRequest(payload=payload(ask.request_bytes), key=ask.key)
        return GrpcMessage(
            next(self._sends),
            request.SerializeToString(),
            ask.headers(self._asks.peer),
            ask.timeout_ns / _NANO,
        )

    def close(self) -> None:
        for channel in self._channels:
            channel.close()


def senders(ways: Sequence[Way], asks: Asks) -> list[GrpcSender]:
    """Entries at the same address share its channels. Makes grpc use gevent, process-wide."""
    init_gevent()
    channels: dict[str, list[grpc.Channel]] = {}

    def replica(address: Address) -> list[grpc.Channel]:
        at = f"{address.host}:{address.ports['grpc']}"
        if at not in channels:
            channels[at] = [
                grpc.insecure_channel(at, options=TO_A_SERVICE) for _ in range(CHANNELS)
            ]
        return channels[at]

    return [GrpcSender(way, [replica(at) for at in way.addresses], asks) for way in ways]


def _size(reply: bytes) -> int:
    return len(HopReply.FromString(reply).payload)


def _failed(error: Any) -> Answer:
    """A failed call carries its status itself: grpc raises its own call object.

    Deadlines that passed and broken connections are mostly this side's own finding, and cannot be
    told from the same statuses sent by the callee: they count as no answer.
    """
    code = error.code()
    status = OF_GRPC.get(code.value[0], Status.ERROR)
    return Answer(OF_STATUS[status], code.value[0], 0, status not in _PERHAPS_OURS)
