"""The Kafka broker of a run: the embedded one in a process of its own, or a real one by address.

Embedded means librdkafka's mock cluster, out of the confluent-kafka wheel. It speaks the real
protocol, but it is not Kafka: services/transports/kafka/transport.py says what it cannot do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from confluent_kafka import KafkaException, Producer, libversion
from confluent_kafka.admin import AdminClient

from hopbench.parts.part import Part, start_part
from services import codec
from services.errors import CannotStart
from services.system.death import die_with, stop_asked
from services.system.endpoints import Endpoint, silence
from services.system.title import set_title

_START_S: Final = 15.0
_CHECK_S: Final = 5.0
_AGAIN_S: Final = 0.5
_HINT: Final = "start Kafka there, or leave --broker out to use the embedded broker"


@dataclass(frozen=True, slots=True)
class Embedded:
    """What the broker says once it takes connections."""

    pid: int
    address: str
    """``HOST:PORT``."""
    librdkafka: str
    """Its version."""


async def start(log: Path) -> Part[Embedded]:
    """Start the embedded broker.

    Call from the main thread (services/system/death.py says why). Raises CannotStart.
    """
    return await start_part("broker", "hopbench.parts.broker", (), log, ready=Embedded)


async def check(address: Endpoint) -> tuple[Endpoint, ...]:
    """The addresses that the Kafka at ``address`` gives for its brokers.

    Raises CannotStart where none answers there, or where one of its brokers can't be reached from
    here (clients are sent on to the advertised addresses).
    """
    # Asked first because librdkafka keeps trying a refused connection for the whole timeout.
    if why := await silence(address, _CHECK_S):
        raise CannotStart("broker", f"no Kafka at {address}: {why}", hint=_HINT)
    brokers = await asyncio.to_thread(_advertised, address)
    for broker in brokers:
        if why := await silence(broker, _CHECK_S):
            raise CannotStart(
                "broker",
                f"Kafka at {address} sends clients on to {broker}, which can't be reached: {why}",
                hint="set its advertised.listeners to an address that works from here",
            )
    return brokers


async def back(address: Endpoint, within_s: float) -> None:
    """Return once the Kafka at ``address`` answers, which it may not for ``within_s``, as between
    two rounds. Raises CannotStart."""
    until = monotonic() + within_s
    while True:
        try:
            await check(address)
        except CannotStart:
            if monotonic() > until:
                raise
            await asyncio.sleep(_AGAIN_S)
        else:
            return


def _advertised(address: Endpoint) -> tuple[Endpoint, ...]:
    client = AdminClient(
        {
            "bootstrap.servers": str(address),
            "socket.timeout.ms": int(_CHECK_S * 1000),
            "log_level": 0,
        }
    )
    try:
        brokers = client.list_topics(timeout=_CHECK_S).brokers.values()
    except KafkaException as error:
        raise CannotStart(
            "broker", f"no Kafka answers at {address}: {error.args[0].str()}", hint=_HINT
        ) from error
    return tuple(sorted(Endpoint(str(broker.host), broker.port) for broker in brokers))


async def _serve(parent: int | None) -> None:
    stop = stop_asked(parent)
    # The cluster lives as long as the client that carries it.
    cluster = Producer({"test.mock.num.brokers": 1})
    (broker,) = cluster.list_topics(timeout=_START_S).brokers.values()
    ready = Embedded(os.getpid(), f"{broker.host}:{broker.port}", libversion()[0])
    print(codec.encode(ready).decode(), flush=True)
    await stop.wait()
    del cluster


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hopbench.parts.broker",
        description="The embedded Kafka broker. Prints one JSON line with its address when ready.",
    )
    parser.add_argument(
        "--parent",
        type=int,
        help="pid of the process to die with; standard input is then a pipe from it",
    )
    parent: int | None = parser.parse_args().parent
    if parent is not None:
        die_with(parent)
        set_title("hopbench: broker")
    asyncio.run(_serve(parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
