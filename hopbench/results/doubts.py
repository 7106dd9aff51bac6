"""Doubts: what may be wrong with a number, as values. Rendering them is elsewhere.

Every code is listed here with its meaning and whether it voids the round it is raised in. A doubt
about the platform or the quick settings leaves a round valid; a doubt about whether the round
measured what it says voids it (MEASUREMENT.md, step 10).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Meaning:
    text: str
    voids: bool


CODES: Final[Mapping[str, Meaning]] = {
    # The generator
    "lag": Meaning("requests left late: the generator did not keep its schedule", True),
    "generator_cpu": Meaning("the generator, or one of its workers, used most of its core", True),
    "rate": Meaning("the achieved rate is off the scheduled one", True),
    "arrivals": Meaning("the inter-arrival times do not fit the distribution asked for", True),
    "drops": Meaning("requests were dropped because too many were in flight", False),
    "drops_unexplained": Meaning(
        "drops that the bound on requests in flight does not explain", True
    ),
    "sampling": Meaning("the share of sampled requests is not the one asked for", False),
    # The host
    "steal": Meaning("the hypervisor took CPU time away", True),
    "foreign_cpu": Meaning("processes that are not ours used the CPU", True),
    "cores_shared": Meaning("generator, services and broker share cores", False),
    "platform": Meaning("not the measuring platform (Linux)", False),
    "clock_step": Meaning("the wall clock was stepped during the round", False),
    "clocks_apart": Meaning("services ran on several hosts, whose clocks may disagree", False),
    # The services
    "loop_blocked": Meaning("an event loop was blocked for long", False),
    "hub_lag": Meaning("the generator's hub was blocked for long", False),
    "sleep_bias": Meaning("simulated waits took longer than asked", False),
    "cpu_bias": Meaning("simulated CPU work took longer than asked", False),
    "timer": Meaning("a service's timers were late when its clock began", False),
    "export": Meaning("a service could not hand over its telemetry in time", False),
    "kafka_consumer": Meaning("a consumer met an error", False),
    "malformed_message": Meaning("a message that hopbench did not send", True),
    "idle_replica": Meaning("a replica has no partition to read from", False),
    "reply_lost": Meaning("a reply over Kafka could not be sent", False),
    "failures": Meaning("requests failed that no fault of the scenario explains", False),
    "unmeasured": Meaning("the platform does not tell what a self-check needs", False),
    # The evidence
    "spans_lost": Meaning("spans that ended did not arrive", True),
    "spans_mismatch": Meaning("spans received are not those that the scenario implies", False),
    "metrics_mismatch": Meaning("metrics and samples disagree", False),
    "samples_mismatch": Meaning("requests scheduled and requests recorded disagree", True),
    "incomplete_traces": Meaning("sampled requests whose trace is not complete", False),
    "undrained": Meaning("the drain did not end within its bound", True),
    "consumed_produced": Meaning("messages consumed are not those produced", True),
    "broker_gap": Meaning("the broker was away for a while", True),
    "redelivered": Meaning("messages came more than once", False),
    "messages_lost": Meaning("messages that asked for no acknowledgement did not arrive", False),
    "broken": Meaning("a part died in the round", True),
    "interrupted": Meaning("the round was interrupted", True),
    "no_samples": Meaning("the round left no request of the measured phase", True),
    # What the numbers mean
    "short_round": Meaning("the measured phase is short", False),
    "short_warmup": Meaning("the warm-up is short", False),
    "few_traces": Meaning("too few complete traces to judge expectations", False),
    "tracing_off": Meaning("no traces: edges, paths and findings are unknown", False),
    "no_control": Meaning(
        "all requests, or none, are sampled: what tracing costs is unknown", False
    ),
    "not_identifiable": Meaning("the sample is too small for this quantile", False),
    "no_valid_round": Meaning("no valid round: the figures are over void ones", False),
    "embedded_broker": Meaning(
        "Kafka figures come from the embedded broker, which is no Kafka", False
    ),
    "broker_cannot": Meaning("the scenario asks what the broker cannot do", False),
    "library_truth": Meaning("protocols are compared through their Python libraries", False),
    "packed": Meaning("services shared processes, so an interpreter and an event loop", False),
    "virtual_clock": Meaning("figures come from a simulation, not from a machine", False),
    "replay": Meaning("expected spans cannot be replayed from the scenario", False),
}


@dataclass(frozen=True, slots=True, order=True)
class Doubt:
    """``code`` is a key of :data:`CODES`; a part may raise one of its own, which voids nothing."""

    code: str
    text: str

    @property
    def voids(self) -> bool:
        meaning = CODES.get(self.code)
        return meaning is not None and meaning.voids

    def document(self) -> dict[str, str]:
        return {"code": self.code, "text": self.text}


def void(doubts: Iterable[Doubt]) -> bool:
    return any(doubt.voids for doubt in doubts)
