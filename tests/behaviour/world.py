"""A small world in virtual time, and the ordered log of what happened in it."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent, indent

from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario
from services.simulation.round import Arrival, Outcome, SimulationResult, simulate
from services.telemetry.port import Attempt, Fanout, Scope
from services.wire.ports import Clock, Incoming, Outgoing, Reply, TraceContext, Wire

SEED = 7


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt, as a transport got it."""

    at_ns: int
    out: Outgoing


@dataclass(slots=True)
class Log:
    """What all replicas of one world write to."""

    lines: list[str]
    sent: list[Sent]


class LogTelemetry:
    """Writes a line for each end of each hop, in the order of virtual time."""

    def __init__(self, log: Log, replica: int, clock: Clock) -> None:
        self._log = log
        self._replica = replica
        self._clock = clock
        self._spans = iter(range(1, 1 << 62))

    def _write(self, text: str) -> None:
        self._log.lines.append(f"{self._clock.now_ns() / 1e6:g} {text}")

    def server_begin(self, incoming: Incoming) -> Scope:
        self._write(f"[{incoming.operation}/{self._replica}")
        return Scope(TraceContext(1, next(self._spans), True), incoming, incoming.received_ns)

    def server_end(self, scope: Scope, reply: Reply) -> None:
        self._write(f"]{scope.incoming.operation}/{self._replica} {reply.status.name.lower()}")

    def fanout_begin(self, scope: Scope, parent: TraceContext) -> Fanout:
        self._write("{")
        return Fanout(parent, TraceContext(1, next(self._spans), True), 0)

    def fanout_end(self, scope: Scope, fanout: Fanout) -> None:
        self._write(f"}} {fanout.calls} calls, {fanout.failures} failed")

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> Attempt:
        return Attempt(
            wire, parent, TraceContext(1, next(self._spans), True), self._clock.now_ns(), fanout
        )

    def attempt_end(self, attempt: Attempt, out: Outgoing, items: int, reply: Reply) -> None:
        # One line for an attempt, when it ends: from when, to whom, with what, how it went.
        begun = f"{attempt.start_ns / 1e6:g}"
        again = f" attempt {out.attempt}" if out.attempt else ""
        many = f" x{items}" if items > 1 else ""
        mark = "*" if attempt.fanout else ""
        self._write(
            f"{mark}{out.wire.operation}/{out.replica}{many} since {begun}{again}"
            f" {reply.status.name.lower()}"
        )
        self._log.sent.append(Sent(attempt.start_ns, out))


def took_ns(outcome: Outcome) -> int:
    """From sending to answer, of a request that got one."""
    assert outcome.sent_ns is not None
    assert outcome.done_ns is not None
    return outcome.done_ns - outcome.sent_ns


@dataclass(frozen=True, slots=True)
class World:
    log: list[str]
    sent: list[Sent]
    result: SimulationResult[LogTelemetry]

    @property
    def outcome(self) -> Outcome:
        """Of the only request."""
        (outcome,) = self.result.outcomes
        return outcome

    @property
    def calls(self) -> list[str]:
        """Ended attempts and fan-outs, without the servers' lines."""
        return [line for line in self.log if line.partition(" ")[2][0] not in "[]"]

    def counted(self, name: str) -> int:
        return sum(getattr(replica.counters, name) for replica in self.result.replicas)


def scenario(services: str, *, steps: str = "", rest: str = "", entry: str = "") -> Scenario:
    """A scenario whose service ``a`` has the operation ``go``, with ``steps``.

    ``services`` are the others, as YAML below ``services:``; ``rest`` is further top-level YAML.
    """
    text = "version: 1\nname: world\nservices:\n"
    if steps:
        text += "  a:\n    operations:\n      go:\n" + indent(dedent(steps).strip("\n"), " " * 8)
        text += "\n"
    text += indent(dedent(services).strip("\n"), "  ") + "\n"
    text += "load:\n  rate: 10/s\n  entries:\n    - {call: a.go" + entry + "}\n"
    return parse_text(text + dedent(rest))


def run(
    world: Scenario,
    *,
    requests: int = 1,
    every_ms: float = 1000,
    measured_from_ms: float = 0,
    seed: int = SEED,
) -> World:
    log = Log([], [])
    result = simulate(
        world,
        seed,
        [Arrival(n, round(n * every_ms * 1e6), 0, True, n + 1) for n in range(requests)],
        round(measured_from_ms * 1e6),
        lambda service, replica, numbered, clock: LogTelemetry(log, replica, clock),
    )
    return World(log.lines, log.sent, result)


LEAF = """
b:
  operations:
    one: [sleep: 1ms]
    two: [sleep: 2ms]
    three: [sleep: 3ms]
    bad: [{sleep: 1ms}, {fail: 100%}]
"""
"""A callee with operations that take 1, 2 and 3 ms, and one that fails after 1 ms."""
