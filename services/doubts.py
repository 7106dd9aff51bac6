"""Doubts: what may be wrong with a number, as values. Rendering them is elsewhere.

Every code is listed here, with its meaning, what to do, and whether it voids its round; no
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
    mend: str
    """What to do about it."""
    voids: bool

    def __new__(cls, value: str, meaning: str = "", mend: str = "", voids: bool = False) -> Self:
        code = object.__new__(cls)
        code._value_ = value
        code.meaning = meaning
        code.mend = mend
        code.voids = voids
        return code

    # The generator
    LAG = (
        "lag",
        "requests left late: the generator did not keep its schedule",
        "free cores, or lower the rate",
        VOIDS,
    )
    GENERATOR_CPU = (
        "generator_cpu",
        "the generator, or one of its workers, used most of its core",
        "lower the rate, or share it: `--workers 2`",
        VOIDS,
    )
    RATE = (
        "rate",
        "the achieved rate is off the scheduled one",
        "lower the rate; close what runs beside",
        VOIDS,
    )
    ARRIVALS = (
        "arrivals",
        "the inter-arrival times do not fit the distribution asked for",
        "run again; if it stays, it is a bug of ours",
        VOIDS,
    )
    SPENT = (
        "spent",
        "users of a closed load had sent every request that was made ready for them",
        "fewer users, or more think time",
        VOIDS,
    )
    DROPS = (
        "drops",
        "requests were dropped because too many were in flight",
        "lower the rate, or raise `max_in_flight`",
    )
    DROPS_UNEXPLAINED = (
        "drops_unexplained",
        "drops that the bound on requests in flight does not explain",
        "a bug of ours: report it with the run directory",
        VOIDS,
    )
    SAMPLING = (
        "sampling",
        "the share of sampled requests is not the one asked for",
        "run longer",
    )

    # The host
    STEAL = (
        "steal",
        "the hypervisor took CPU time away",
        "another machine, or another hour",
        VOIDS,
    )
    FOREIGN_CPU = (
        "foreign_cpu",
        "processes that are not ours used the CPU",
        "close what runs beside",
        VOIDS,
    )
    CORES_SHARED = (
        "cores_shared",
        "generator, services and broker share cores",
        "four cores or more get cores of their own",
    )
    PLATFORM = (
        "platform",
        "not the measuring platform (Linux)",
        "compare only with figures of the same machine",
    )
    CLOCK_STEP = (
        "clock_step",
        "the wall clock was stepped during the round",
        "nothing: intervals are monotonic. Stop time synchronisation for a clean record",
    )
    ENVIRONMENT = (
        "environment",
        "the machine, a library or the code changed during the run",
        "compare no figure of such rounds with one of the others: run all of it again",
    )
    CLOCKS_APART = (
        "clocks_apart",
        "services ran on several hosts, whose clocks may disagree",
        "tax and end-to-end times between hosts are as good as clocks agree: compare "
        "variants, or synchronise by PTP",
    )

    # The services
    LOOP_BLOCKED = (
        "loop_blocked",
        "an event loop was blocked for long",
        "`where: thread` or `process` for long `work`; free cores",
    )
    HUB_LAG = (
        "hub_lag",
        "the generator's hub was blocked for long",
        "lower the rate; free cores",
    )
    SLEEP_BIAS = (
        "sleep_bias",
        "simulated waits took longer than asked",
        "free cores; read times as at least this much too long",
    )
    CPU_BIAS = (
        "cpu_bias",
        "simulated CPU work took longer than asked",
        "free cores; lower the rate",
    )
    TIMER = (
        "timer",
        "a service's timers were late when its clock began",
        "run `hopbench doctor`; free cores",
    )
    EXPORT = (
        "export",
        "a service could not hand over its telemetry in time",
        "lower `--trace-ratio` or the rate",
    )
    KAFKA_CONSUMER = (
        "kafka_consumer",
        "a consumer met an error",
        "read the service's log in the run directory",
    )
    MALFORMED_MESSAGE = (
        "malformed_message",
        "a message that hopbench did not send",
        "take a broker, or topics, of its own",
        VOIDS,
    )
    IDLE_REPLICA = (
        "idle_replica",
        "a replica has no partition to read from",
        "`partitions` on the edge, at least as many as replicas",
    )
    REPLY_LOST = (
        "reply_lost",
        "a reply over Kafka could not be sent",
        "read the service's log; see the broker",
    )
    FAILURES = (
        "failures",
        "requests failed that no fault of the scenario explains",
        "read the error counts by edge; lower the rate",
    )
    OVERLOAD = (
        "overload",
        "something is asked for more than it can do: requests pile up, and the longer a round, "
        "the longer they take",
        "lower the rate, or give it more",
    )
    UNMEASURED = (
        "unmeasured",
        "the platform does not tell what a self-check needs",
        "run on Linux; whose CPU time it was, no container sees",
    )

    # The evidence
    SPANS_LOST = (
        "spans_lost",
        "spans that ended did not arrive",
        "lower `--trace-ratio` or the rate",
        VOIDS,
    )
    SPANS_MISMATCH = (
        "spans_mismatch",
        "spans received are not those that the scenario implies",
        "look at retries and timeouts; else report it",
    )
    METRICS_MISMATCH = (
        "metrics_mismatch",
        "metrics and samples disagree",
        "look at timeouts; else report it",
    )
    SAMPLES_MISMATCH = (
        "samples_mismatch",
        "requests scheduled and requests recorded disagree",
        "a bug of ours: report it with the run directory",
        VOIDS,
    )
    INCOMPLETE_TRACES = (
        "incomplete_traces",
        "sampled requests whose trace is not complete",
        "lower the rate, or run longer; see `spans_lost`",
    )
    SLICES_OVERLAP = (
        "slices_overlap",
        "requests of one slice were still under way when the other arm's began",
        "`--design rounds`, or a lower rate: the arms were loaded at once",
        VOIDS,
    )
    UNDRAINED = (
        "undrained",
        "the drain did not end within its bound",
        "lower the rate: work was still going on when the time was up",
        VOIDS,
    )
    CONSUMED_PRODUCED = (
        "consumed_produced",
        "messages consumed are not those produced",
        "lower the rate of messages; the embedded broker drops what it cannot hold",
        VOIDS,
    )
    BROKER_GAP = (
        "broker_gap",
        "the broker was away for a while",
        "nothing is lost, but the figures measure the outage: run again",
        VOIDS,
    )
    REDELIVERED = (
        "redelivered",
        "messages came more than once",
        "nothing where each was handled once; `acks: all` lets Kafka drop what is sent twice",
    )
    MESSAGES_LOST = (
        "messages_lost",
        "messages that asked for no acknowledgement did not arrive",
        "`acks: 1` or `all`",
    )
    BROKEN = (
        "broken",
        "a part died in the round",
        "read its log; memory is the usual reason",
        VOIDS,
    )
    INTERRUPTED = (
        "interrupted",
        "the round was interrupted",
        "`hopbench run --resume DIR`",
        VOIDS,
    )
    NO_SAMPLES = (
        "no_samples",
        "the round left no request of the measured phase",
        "a longer `--duration`, or a higher rate",
        VOIDS,
    )

    # What the numbers mean
    SHORT_ROUND = (
        "short_round",
        "the measured phase is short",
        "`--duration 10s`, or longer",
    )
    SHORT_WARMUP = (
        "short_warmup",
        "the warm-up is short",
        "`--warmup 5s`",
    )
    COLD = (
        "cold",
        "response times still changed at the end of the warm-up, and requests did not pile up",
        "a longer `--warmup`",
    )
    FEW_TRACES = (
        "few_traces",
        "too few complete traces to judge expectations",
        "longer, or a higher `--trace-ratio`",
    )
    TRACING_OFF = (
        "tracing_off",
        "no traces: edges, paths and findings are unknown",
        "`--tracing on`",
    )
    NO_CONTROL = (
        "no_control",
        "all requests, or none, are sampled: what tracing costs is unknown",
        "`--trace-ratio 0.5`",
    )
    NOT_IDENTIFIABLE = (
        "not_identifiable",
        "the sample is too small for this quantile",
        "what it names, or a lower quantile",
    )
    NO_VALID_ROUND = (
        "no_valid_round",
        "no valid round: the figures are over void ones",
        "repair what voids the rounds, and run again",
    )
    UNFINISHED = (
        "unfinished",
        "a comparison stopped before its last round: figures, no verdict",
        "`hopbench compare --resume DIR`",
        VOIDS,
    )
    FEW_PAIRS = (
        "few_pairs",
        "fewer valid pairs than the level can call anything with",
        "repair what voids the rounds; more `--pairs`, or a higher `--repeat-void`",
        VOIDS,
    )
    PAIRS_AS_UNITS = (
        "pairs_as_units",
        "so few pairs rely on noise that does not keep time with the blocks",
        "`--pairs 20`, or more",
    )
    VOIDS_DIFFER = (
        "voids_differ",
        "one arm's rounds are void more often, and what is repeated until it counts looks better",
        "repair what voids the rounds: it may be what the arms differ by",
    )
    NULL_OFF = (
        "null_off",
        "rounds of one variant are called different more often than the level allows",
        "a bug of ours: report it with `runs/ledger.parquet`",
    )
    EMBEDDED_BROKER = (
        "embedded_broker",
        "Kafka figures come from the embedded broker, which is no Kafka",
        "`--broker HOST:PORT`",
    )
    BROKER_CANNOT = (
        "broker_cannot",
        "the scenario asks what the broker cannot do",
        "`--broker HOST:PORT`",
    )
    LIBRARY_TRUTH = (
        "library_truth",
        "protocols are compared through their Python libraries",
        "read the transport tax beside the times",
    )
    PACKED = (
        "packed",
        "services shared processes, so an interpreter and an event loop",
        "`processes` in the scenario is below the number of replicas; for figures of a "
        "service by itself leave it out",
    )
    NOT_MODELLED = (
        "not_modelled",
        "the scenario asks for what virtual time leaves out",
        "`--engine local`",
    )
    VIRTUAL_CLOCK = (
        "virtual_clock",
        "figures come from a simulation, not from a machine",
        "`--engine local` to measure",
    )
    REPLAY = (
        "replay",
        "expected spans cannot be replayed from the scenario",
        "nothing: retries and hedges depend on time",
    )


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
