"""Doubts: what may be wrong with a number, as values. Rendering them is elsewhere.

Every code is listed here, with its meaning and whether it voids the round that it is raised in; no
other can be raised. A doubt about the platform or the quick settings leaves a round valid; one
about whether the round measured what it says voids it (docs/measurement.md).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

VOIDS: Final = True


class Code(enum.Enum):
    """What is doubted. The value is what documents call it."""

    meaning: str
    voids: bool

    def __new__(cls, value: str, meaning: str = "", voids: bool = False) -> Self:
        code = object.__new__(cls)
        code._value_ = value
        code.meaning = meaning
        code.voids = voids
        return code

    # The generator
    LAG = "lag", "requests left late: the generator did not keep its schedule", VOIDS
    GENERATOR_CPU = (
        "generator_cpu",
        "the generator, or one of its workers, used most of its core",
        VOIDS,
    )
    RATE = "rate", "the achieved rate is off the scheduled one", VOIDS
    ARRIVALS = "arrivals", "the inter-arrival times do not fit the distribution asked for", VOIDS
    DROPS = "drops", "requests were dropped because too many were in flight"
    DROPS_UNEXPLAINED = (
        "drops_unexplained",
        "drops that the bound on requests in flight does not explain",
        VOIDS,
    )
    SAMPLING = "sampling", "the share of sampled requests is not the one asked for"

    # The host
    STEAL = "steal", "the hypervisor took CPU time away", VOIDS
    FOREIGN_CPU = "foreign_cpu", "processes that are not ours used the CPU", VOIDS
    CORES_SHARED = "cores_shared", "generator, services and broker share cores"
    PLATFORM = "platform", "not the measuring platform (Linux)"
    CLOCK_STEP = "clock_step", "the wall clock was stepped during the round"
    ENVIRONMENT = "environment", "the machine, a library or the code changed during the run"
    CLOCKS_APART = "clocks_apart", "services ran on several hosts, whose clocks may disagree"

    # The services
    LOOP_BLOCKED = "loop_blocked", "an event loop was blocked for long"
    HUB_LAG = "hub_lag", "the generator's hub was blocked for long"
    SLEEP_BIAS = "sleep_bias", "simulated waits took longer than asked"
    CPU_BIAS = "cpu_bias", "simulated CPU work took longer than asked"
    TIMER = "timer", "a service's timers were late when its clock began"
    EXPORT = "export", "a service could not hand over its telemetry in time"
    KAFKA_CONSUMER = "kafka_consumer", "a consumer met an error"
    MALFORMED_MESSAGE = "malformed_message", "a message that hopbench did not send", VOIDS
    IDLE_REPLICA = "idle_replica", "a replica has no partition to read from"
    REPLY_LOST = "reply_lost", "a reply over Kafka could not be sent"
    FAILURES = "failures", "requests failed that no fault of the scenario explains"
    UNMEASURED = "unmeasured", "the platform does not tell what a self-check needs"

    # The evidence
    SPANS_LOST = "spans_lost", "spans that ended did not arrive", VOIDS
    SPANS_MISMATCH = "spans_mismatch", "spans received are not those that the scenario implies"
    METRICS_MISMATCH = "metrics_mismatch", "metrics and samples disagree"
    SAMPLES_MISMATCH = (
        "samples_mismatch",
        "requests scheduled and requests recorded disagree",
        VOIDS,
    )
    INCOMPLETE_TRACES = "incomplete_traces", "sampled requests whose trace is not complete"
    UNDRAINED = "undrained", "the drain did not end within its bound", VOIDS
    CONSUMED_PRODUCED = "consumed_produced", "messages consumed are not those produced", VOIDS
    BROKER_GAP = "broker_gap", "the broker was away for a while", VOIDS
    REDELIVERED = "redelivered", "messages came more than once"
    MESSAGES_LOST = "messages_lost", "messages that asked for no acknowledgement did not arrive"
    BROKEN = "broken", "a part died in the round", VOIDS
    INTERRUPTED = "interrupted", "the round was interrupted", VOIDS
    NO_SAMPLES = "no_samples", "the round left no request of the measured phase", VOIDS

    # What the numbers mean
    SHORT_ROUND = "short_round", "the measured phase is short"
    SHORT_WARMUP = "short_warmup", "the warm-up is short"
    FEW_TRACES = "few_traces", "too few complete traces to judge expectations"
    TRACING_OFF = "tracing_off", "no traces: edges, paths and findings are unknown"
    NO_CONTROL = "no_control", "all requests, or none, are sampled: what tracing costs is unknown"
    NOT_IDENTIFIABLE = "not_identifiable", "the sample is too small for this quantile"
    NO_VALID_ROUND = "no_valid_round", "no valid round: the figures are over void ones"
    EMBEDDED_BROKER = (
        "embedded_broker",
        "Kafka figures come from the embedded broker, which is no Kafka",
    )
    BROKER_CANNOT = "broker_cannot", "the scenario asks what the broker cannot do"
    LIBRARY_TRUTH = "library_truth", "protocols are compared through their Python libraries"
    PACKED = "packed", "services shared processes, so an interpreter and an event loop"
    VIRTUAL_CLOCK = "virtual_clock", "figures come from a simulation, not from a machine"
    REPLAY = "replay", "expected spans cannot be replayed from the scenario"


@dataclass(frozen=True, slots=True)
class Doubt:
    """``text`` is about this round or this run, for people."""

    code: Code
    text: str

    @property
    def voids(self) -> bool:
        return self.code.voids

    def document(self) -> dict[str, str]:
        return {"code": self.code.value, "text": self.text}


def void(doubts: Iterable[Doubt]) -> bool:
    """Whether any of them voids its round."""
    return any(doubt.voids for doubt in doubts)
