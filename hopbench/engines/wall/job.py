"""The job that nodes are given for a round, and where its processes then listen."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hopbench.engines.port import Settings
from hopbench.parts.part import Part
from services.scenario.model import Scenario
from services.scenario.packing import packs
from services.wire.ports import Address


def job(
    scenario: Scenario,
    source: str,
    variant: str,
    *,
    settings: Settings,
    seed: int,
    unix_offset_ns: int,
    logs: Path,
    collector: Part,
    broker: Mapping[str, str] | None,
    listen_all: bool = False,
) -> dict[str, Any]:
    """What ``POST /start`` takes: every replica of ``scenario``, which is ``variant`` of
    ``source``. ``listen_all`` opens HTTP and gRPC on each, whether an edge comes that way or not.
    """
    of = packs(scenario)
    return {
        "source": source,
        "variant": variant,
        "processes": list(of),
        # A node that has a part of them names its processes all the same by these.
        "packs": {
            "{}/{}".format(*group[0]): number for number, group in enumerate(of) if len(group) > 1
        },
        "settings": {
            "seed": seed,
            # Kafka's topics outlive a round, and a real broker's outlive a run.
            "round": secrets.token_hex(6),
            "instrumentation": settings.instrumentation,
            "tracing": settings.tracing,
            "unix_offset_ns": unix_offset_ns,
            "host": "127.0.0.1",
            "listen_all": listen_all,
            "logs": str(logs.resolve()),
        },
        "endpoints": {
            "traces": f"127.0.0.1:{collector.ready['grpc_port']}",
            "metrics": f"127.0.0.1:{collector.ready['grpc_port']}",
            "broker": broker,
        },
    }


def directory_of(processes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Address, ...]]:
    """Where every replica listens, from what the node said when they had started."""
    found: dict[str, list[tuple[int, Address]]] = {}
    for process in processes:
        address = Address(process["host"], process["http_port"], process["grpc_port"])
        found.setdefault(process["service"], []).append((process["replica"], address))
    return {
        service: tuple(address for _, address in sorted(replicas, key=lambda pair: pair[0]))
        for service, replicas in found.items()
    }
