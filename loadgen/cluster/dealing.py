"""A round dealt to several workers: whose arrivals are whose, and what is said about them.

Pure. Master and workers speak over Locust's own connection, in custom messages; a message's data is
an object with ``round``, by which those of an earlier round are told apart:

| message | from | data beside ``round`` |
|---|---|---|
| ``hopbench.hello`` | worker | ``number`` or null, ``host``, ``pid``; no ``round`` |
| ``hopbench.plan`` | master | ``plan`` (hopbench.plan/1), ``streamed``: send the samples back |
| ``hopbench.opened`` | worker | every connection is open |
| ``hopbench.ready`` | worker | its Locust user waits for the start |
| ``hopbench.start`` | master | ``at_ns``, ``unix`` (loadgen.messages.Start) |
| ``hopbench.progress`` | worker | ``sent``, ``ended``; twice a second, from ``opened`` on |
| ``hopbench.samples`` | worker | ``spool``: a file's name, ``data``: its next bytes |
| ``hopbench.stop`` | master | end the round early |
| ``hopbench.broken`` | worker | ``why`` |
| ``hopbench.finished`` | worker | ``counts`` (loadgen.counts.Counts) |
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from loadgen.plan import Plan

HELLO: Final = "hopbench.hello"
PLAN: Final = "hopbench.plan"
OPENED: Final = "hopbench.opened"
READY: Final = "hopbench.ready"
START: Final = "hopbench.start"
PROGRESS: Final = "hopbench.progress"
SAMPLES: Final = "hopbench.samples"
STOP: Final = "hopbench.stop"
BROKEN: Final = "hopbench.broken"
FINISHED: Final = "hopbench.finished"
FROM_WORKERS: Final = (OPENED, READY, PROGRESS, SAMPLES, BROKEN, FINISHED)

TELL_S: Final = 0.5
"""So often a worker tells how far it is."""
SILENT_S: Final = 3.0
"""A worker that says nothing for so long is gone."""
MASTER_PORT: Final = 5557
"""Locust's own default."""


def dealt(plan: Plan, workers: int) -> tuple[Plan, ...]:
    """The plan of each worker: its share of the arrivals, and a spool of its own."""
    return tuple(
        replace(plan, worker=number, workers=workers, samples=spool_of(plan, number))
        for number in range(workers)
    )


def spool_of(plan: Plan, worker: int) -> Path:
    """``samples-K.spool`` beside the plan's own."""
    samples = plan.samples
    return samples.with_name(f"{samples.stem}-{worker}{samples.suffix}")
