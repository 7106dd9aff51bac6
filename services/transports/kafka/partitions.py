"""Which partitions a topic has, which of them a message goes to, and who reads it.

The same on the wire and in memory: both ends of an edge work these out from the same topology. An
edge asks for a number of partitions; a topic gets the most that any edge to it asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from zlib import crc32

from services.scenario import names
from services.scenario.text.edges import KAFKA
from services.wire.topology import Topology


def partitions_asked(topology: Topology) -> Mapping[str, int]:
    """Every topic that some edge or entry reaches, with its partitions."""
    asked: dict[str, int] = {}
    for wire in topology.wires:
        if wire.protocol == "kafka":
            asked[wire.topic] = max(wire.kafka.partitions, asked.get(wire.topic, 1))
    for service, operations in topology.doors.items():
        for operation in operations:
            name = names.topic(service, operation)
            asked[name] = max(KAFKA.partitions, asked.get(name, 1))
    return asked


def partition_for(key: bytes | None, ticket: str, partitions: int) -> int:
    """The partition of a message: of its key as Kafka's own clients choose it, else by chance.

    Chance must be repeatable, so an unkeyed message goes by its ticket and not by a die.
    """
    if partitions == 1:
        return 0
    if key is None:
        return crc32(ticket.encode()) % partitions
    return (_murmur2()(key) & 0x7FFFFFFF) % partitions


def share(partitions: int, replica: int, replicas: int) -> range:
    """The partitions that ``replica`` of ``replicas`` takes."""
    return range(replica, partitions, replicas)


def reader(partition: int, replicas: int) -> int:
    """The replica that takes a partition: back from :func:`share`."""
    return partition % replicas


@cache
def _murmur2() -> Callable[[bytes], int]:
    """The client brings all of itself along, which virtual time has no other need of."""
    found: Callable[[bytes], int] = import_module("aiokafka.partitioner").murmur2
    return found
