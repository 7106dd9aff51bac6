"""Consumer groups on a real broker: one for each service and round, a member for each replica.

While all replicas are members, replica r of R has the partitions p with p mod R = r, as everywhere
else. The partitions of one that has left are shared out among those that remain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.errors import KafkaError

from services.transports.kafka.partitions import share

SETTINGS: Final[Mapping[str, Any]] = {
    "session_timeout_ms": 10_000,
    "heartbeat_interval_ms": 1_000,
    "rebalance_timeout_ms": 10_000,
    "auto_commit_interval_ms": 1_000,
}
"""A member learns by its heartbeat that another has come or gone, so that a round waits about one
heartbeat for each service with several replicas. A member that vanishes is missed after a session.
"""
_VERSION: Final = 0


def group_name(round: str, service: str) -> str:
    return f"hopbench.{round}.{service}"


def shared_out(
    partitions: int, replicas: int, members: Mapping[str, int]
) -> Mapping[str, tuple[int, ...]]:
    """Who of the ``members`` (their replica numbers by id) takes which of one topic's partitions.

    What nobody is there for goes one by one to whoever has least, the smallest number first.
    """
    names = sorted(members, key=lambda name: (members[name], name))
    takes: dict[str, list[int]] = {name: [] for name in names}
    # A second member of one number is a process that stands in for one about to be missed.
    by_number = {members[name]: name for name in reversed(names)}
    spare: list[int] = []
    for replica in range(replicas):
        own = share(partitions, replica, replicas)
        if (name := by_number.get(replica)) is not None:
            takes[name].extend(own)
        else:
            spare.extend(own)
    for partition in sorted(spare):
        least = min(names, key=lambda name: len(takes[name]))
        takes[least].append(partition)
    return {name: tuple(sorted(own)) for name, own in takes.items()}


def assignor(replica: int, replicas: int) -> type[AbstractPartitionAssignor]:
    """The assignor of one member. aiokafka takes classes and calls them as such."""

    class ByReplica(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
        name = "hopbench"

        @classmethod
        def assign(
            cls,
            cluster: ClusterMetadata,
            members: Mapping[str, ConsumerProtocolMemberMetadata],
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            numbers = {name: int(member.user_data) for name, member in members.items()}
            takes: dict[str, list[tuple[str, list[int]]]] = {name: [] for name in members}
            for topic in sorted({t for member in members.values() for t in member.subscription}):
                there = len(cluster.partitions_for_topic(topic) or ())
                for name, own in shared_out(there, replicas, numbers).items():
                    takes[name].append((topic, list(own)))
            return {
                name: ConsumerProtocolMemberAssignment(_VERSION, own, b"")
                for name, own in takes.items()
            }

        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            return ConsumerProtocolMemberMetadata(_VERSION, list(topics), b"%d" % replica)

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            return

    return ByReplica


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Where a member of a group begins to read; ``failed`` is told what went wrong there.

    What has been read is committed by aiokafka: each second, and before partitions are given away.
    """

    def __init__(self, consumer: Any, failed: Callable[[KafkaError], None]) -> None:
        self._consumer = consumer
        self._failed = failed
        self.assigned = asyncio.Event()
        """Set once it knows what it reads, and from where."""

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        return

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Go on where the group has come to; a partition that it has not begun begins at its end,
        which is committed: whoever gets it next must not begin at a later end."""
        consumer, partitions = self._consumer, tuple(assigned)
        try:
            committed = await asyncio.gather(*map(consumer.committed, partitions))
            new = [tp for tp, at in zip(partitions, committed, strict=True) if at is None]
            if new:
                ends = await consumer.end_offsets(new)
                for partition, offset in ends.items():
                    consumer.seek(partition, offset)
                await consumer.commit(ends)
        except KafkaError as error:
            self._failed(error)
        self.assigned.set()
