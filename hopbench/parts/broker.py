"""The Kafka broker of a run: the embedded one in a process of its own, or a real one by address.

Embedded means librdkafka's mock cluster, out of the confluent-kafka wheel. It speaks the real
protocol, but it is not Kafka: services/transports/kafka/transport.py says what it cannot do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from time import monotonic
from typing import Final

import orjson
from confluent_kafka import KafkaException, Producer, libversion
from confluent_kafka.admin import AdminClient

from hopbench.parts.part import Part, start_part
from services.errors import BadInput, CannotStart
from services.system.death import die_with, stop_asked
from services.system.title import set_title

SCHEMA: Final = "hopbench.broker/1"
_START_S: Final = 15.0
_CHECK_S: Final = 5.0
_AGAIN_S: Final = 0.5
_HINT: Final = "start Kafka there, or leave --broker out to use the embedded broker"


async def start(log: Path) -> Part:
    """Start the embedded broker, which listens at its ``ready["address"]`` (``HOST:PORT``).

    Call from the main thread (services/system/death.py says why). Raises CannotStart.
    """
    return await start_part("broker", "hopbench.parts.broker", (), log)


async def check(address: str) -> tuple[str, ...]:
    """The addresses that the Kafka at ``address`` (``HOST:PORT``) gives for its brokers.

    Raises CannotStart where none answers there, or where one of its brokers can't be reached from
    here (clients are sent on to the advertised addresses); BadInput for what is no address.
    """
    # Asked first because librdkafka keeps trying a refused connection for the whole timeout.
    if why := await _unreachable(address):
        raise CannotStart("broker", f"no Kafka at {address}: {why}", hint=_HINT)
    brokers = await asyncio.to_thread(_advertised, address)
    for broker in brokers:
        if why := await _unreachable(broker):
            raise CannotStart(
                "broker",
                f"Kafka at {address} sends clients on to {broker}, which can't be reached: {why}",
                hint="set its advertised.listeners to an address that works from here",
            )
    return brokers


async def back(address: str, within_s: float) -> None:
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


async def _unreachable(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise BadInput(f"--broker {address}: not an address", hint="write HOST:PORT or embedded")
    try:
        async with asyncio.timeout(_CHECK_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        return f"no connection within {_CHECK_S:g} s"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    return None


def _advertised(address: str) -> tuple[str, ...]:
    client = AdminClient(
        {"bootstrap.servers": address, "socket.timeout.ms": int(_CHECK_S * 1000), "log_level": 0}
    )
    try:
        brokers = client.list_topics(timeout=_CHECK_S).brokers.values()
    except KafkaException as error:
        raise CannotStart(
            "broker", f"no Kafka answers at {address}: {error.args[0].str()}", hint=_HINT
        ) from error
    return tuple(sorted(f"{broker.host}:{broker.port}" for broker in brokers))


async def _serve(parent: int | None) -> None:
    stop = stop_asked(parent)
    # The cluster lives as long as the client that carries it.
    cluster = Producer({"test.mock.num.brokers": 1})
    (broker,) = cluster.list_topics(timeout=_START_S).brokers.values()
    ready = {
        "schema": SCHEMA,
        "pid": os.getpid(),
        "address": f"{broker.host}:{broker.port}",
        "kind": "embedded",
        "librdkafka": libversion()[0],
    }
    print(orjson.dumps(ready).decode(), flush=True)
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
