"""Which partitions a topic has, which of them a message goes to, and who reads it.

The same on the wire and in memory: both ends of an edge work these out from the same topology. An
edge asks for a number of partitions; a topic gets the most that any edge to it asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from importlib import import_module
from typing import Final
from zlib import crc32

from services.scenario import names
from services.scenario.text.edges import KAFKA
from services.slots import Slots
from services.wire.topology import Topology

AT_ONCE: Final = 500
"""Messages of a partition that are handled at the same time, at most: as many as Kafka's own
consumer takes with one poll (``max.poll.records``)."""


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


def ordered_topics(topology: Topology) -> frozenset[str]:
    """Those for which some edge asks for order."""
    return frozenset(
        wire.topic
        for wire in topology.wires
        if wire.protocol == "kafka" and wire.kafka.ordering == "partition"
    )


class Lanes:
    """Turns at the messages of each partition: one waits until fewer are being handled than may be,
    in the order in which they came. A partition has one reader, so a lane is one replica's."""

    def __init__(self, ordered: Collection[str] = ()) -> None:
        """``ordered``: the topics whose messages are handled one after another."""
        self._ordered = ordered
        self._lanes: dict[tuple[str, int], Slots] = {}

    def lane(self, topic: str, partition: int) -> Slots:
        found = self._lanes.get((topic, partition))
        if found is None:
            found = Slots(1 if topic in self._ordered else AT_ONCE)
            self._lanes[topic, partition] = found
        return found


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
