"""The plan: everything one generator process needs for one round, in one JSON file.

Schema ``hopbench.plan/1``. Written by the bench (or by ``hopbench up``), read by the locustfile.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from loadgen.schedule import Schedule, arrivals, share
from loadgen.slices import Slices, placed
from services import codec
from services.errors import BadInput
from services.scenario.file.load import load_of, write_load
from services.scenario.model import Entry, Load, Scenario
from services.scenario.pace import Closed
from services.transports.site import Broker
from services.wire.ports import Address, Directory

SCHEMA: Final = "hopbench.plan/1"
PLAN_VARIABLE: Final = "HOPBENCH_PLAN"
CONTROL_VARIABLE: Final = "HOPBENCH_CONTROL_FD"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """``addresses[i]`` are the replicas of entry i of the load, by replica number; none where it
    goes over Kafka."""

    seed: int
    """The round's (services.scenario.chance.round_seed)."""
    addresses: tuple[tuple[Address, ...], ...]
    trace_ratio: float
    tracing: bool
    trace_salt: int
    samples: Path
    """The spool to write (loadgen/samples.py)."""
    worker: int = 0
    workers: int = 1
    broker: Broker | None = None
    """Where entries over Kafka go; None where there are none."""
    round: str = ""
    """Names the round on the broker, as the services' job does."""
    slices: Slices | None = None
    """Of a sitting that is shared: when the arm has its turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written(_Terms):
    schema: Literal["hopbench.plan/1"] = SCHEMA
    load: dict[str, Any]
    """As a scenario file writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(_Terms):
    """What one generator sends in one round."""

    load: Load

    @classmethod
    def from_scenario(
        cls,
        scenario: Scenario,
        seed: int,
        directory: Directory,
        *,
        samples: Path,
        trace_ratio: float = 0.5,
        tracing: bool = True,
        trace_salt: int = 0,
        worker: int = 0,
        workers: int = 1,
        broker: Broker | None = None,
        round_name: str = "",
        slices: Slices | None = None,
    ) -> Plan:
        """Raises BadInput where an entry's service has no address for the entry's protocol,
        or there is no broker for it."""
        return cls(
            seed=seed,
            load=scenario.load,
            addresses=tuple(_replicas(entry, directory, broker) for entry in scenario.load.entries),
            trace_ratio=trace_ratio,
            tracing=tracing,
            trace_salt=trace_salt,
            samples=samples,
            worker=worker,
            workers=workers,
            broker=broker,
            round=round_name,
            slices=slices,
        )

    @property
    def kafka_samples(self) -> Path:
        """The spool of the process that sends to Kafka entries, beside the worker's own."""
        return self.samples.with_name(f"{self.samples.stem}.kafka{self.samples.suffix}")

    @property
    def max_in_flight(self) -> int:
        """This worker's part of the bound; the parts of all workers add up to it."""
        whole, rest = divmod(self.load.max_in_flight, self.workers)
        return max(1, whole + (self.worker < rest))

    @property
    def users(self) -> int:
        """This worker's users of a closed load; there may be fewer users than workers."""
        assert isinstance(self.load.pace, Closed)
        return len(range(self.worker, self.load.pace.users, self.workers))

    @property
    def length_ns(self) -> int:
        """From the schedule's zero until nobody sends any more."""
        return self.load.length_ns if self.slices is None else self.slices.ends_ns

    def schedule(self) -> Schedule:
        """What this worker sends."""
        everything = arrivals(
            self.load,
            self.seed,
            trace_ratio=self.trace_ratio if self.tracing else 0.0,
            trace_salt=self.trace_salt,
        )
        return share(self.load, placed(everything, self.slices), self.worker, self.workers)

    def document(self) -> dict[str, Any]:
        terms = {field.name: getattr(self, field.name) for field in fields(_Terms)}
        document: dict[str, Any] = codec.plain(_Written(load=write_load(self.load), **terms))
        return document

    @classmethod
    def of(cls, document: object) -> Plan:
        """Back from :meth:`document`. Raises BadInput for another one."""
        try:
            written = codec.typed(_Written, document)
        except codec.Unfit as error:
            raise BadInput(f"this is no plan: {error}") from error
        terms = {field.name: getattr(written, field.name) for field in fields(_Terms)}
        return cls(load=load_of(written.load), **terms)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.document(), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Raises BadInput for a file that is missing or no plan."""
        try:
            return cls.of(json.loads(path.read_bytes()))
        except OSError as error:
            raise BadInput(f"cannot read the plan: {error.strerror}", file=str(path)) from error
        except ValueError as error:
            raise BadInput(f"this is not JSON: {error}", file=str(path)) from error
        except BadInput as error:
            raise BadInput(error.text, file=str(path), hint=error.hint) from error


def up_file() -> Path:
    """Where ``hopbench up`` leaves the plan of the scenario that it keeps running."""
    return Path(tempfile.gettempdir()) / f"hopbench-{os.getuid()}" / "up.json"


def announce(plan: Plan) -> Path:
    """Leave ``plan`` where a locustfile started by hand finds it; remove the file at the end.

    Raises BadInput where the place belongs to somebody else.
    """
    path = up_file()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    _must_be_ours(path.parent)
    # Renamed, so that nobody reads half of it.
    fresh = path.with_suffix(f".{os.getpid()}")
    plan.write(fresh)
    fresh.replace(path)
    return path


def located(environment: Mapping[str, str]) -> Path:
    """The plan that a locustfile started with ``environment`` should follow.

    Raises BadInput, saying what to do, where there is none.
    """
    given = environment.get(PLAN_VARIABLE)
    if given:
        return Path(given)
    path = up_file()
    if not path.exists():
        raise BadInput(
            "no scenario is running",
            hint="start one with `hopbench up SCENARIO` and keep it running, "
            f"or name a plan in {PLAN_VARIABLE}",
        )
    _must_be_ours(path.parent)
    return path


def _must_be_ours(directory: Path) -> None:
    # The temporary directory is everybody's, and a plan says where load is sent.
    if directory.stat().st_uid != os.getuid():
        raise BadInput("this directory belongs to another user", file=str(directory))


def over_kafka(load: Load) -> tuple[int, ...]:
    """Numbers of the entries that a process beside the generator sends (loadgen/kafka)."""
    return tuple(i for i, entry in enumerate(load.entries) if entry.protocol == "kafka")


def in_flight_parts(load: Load, bound: int) -> tuple[int, int]:
    """How many of ``bound`` requests in flight may be over HTTP and gRPC, and how many over Kafka.

    Two processes send them, so each has its part, by the weights of its entries; 0 without any.
    """
    theirs = over_kafka(load)
    if len(theirs) == len(load.entries):
        return 0, bound
    if not theirs:
        return bound, 0
    weights = [entry.weight for entry in load.entries]
    part = round(bound * sum(weights[i] for i in theirs) / sum(weights))
    part = min(max(1, part), max(1, bound - 1))
    return max(1, bound - part), part


def _replicas(entry: Entry, directory: Directory, broker: Broker | None) -> tuple[Address, ...]:
    if entry.protocol == "kafka":
        if broker is None:
            raise BadInput(f"entry {entry.target}: no address for {entry.protocol}, no broker")
        return ()
    found = directory.get(entry.target.service, ())
    if not found or any(entry.protocol not in address.ports for address in found):
        raise BadInput(f"entry {entry.target}: no address for {entry.protocol}")
    return tuple(found)
