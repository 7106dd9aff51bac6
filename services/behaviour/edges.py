"""An edge at work: calls become attempts.

Rules:

- A call's own ``timeout`` bounds each attempt, not all of them together; what is left of the
  request's deadline bounds everything. The smaller of the two goes downstream.
- A timer is set only for an edge's own timeout: the deadline has one in the handler already.
- A failed attempt is repeated while the policy, its budget and the deadline allow. Every attempt
  asks the balancer anew.
- A hedge's second attempt goes to another replica. The first good answer wins and the other
  attempt is cancelled; a bad answer does not win while the other attempt is under way.
- An edge's limits hold an attempt back before it begins: its span, its timeout, its place in
  the balancer's counts. The deadline of the request goes on.
- Sequential calls create no task. A hedge creates one when its time has come.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from services.behaviour.amounts import Bytes
from services.behaviour.balance import Balancer, Only, another
from services.behaviour.calls import Calls
from services.behaviour.hedging import Hedge, Latencies
from services.behaviour.items import Carried
from services.behaviour.replica import Alarm, DeadlinePassed, Frame, Replica, StepFailed
from services.scenario.chance import item_key, uniform
from services.scenario.steps.calls import Talk
from services.telemetry.port import Fanout
from services.wire.ports import Outgoing, Reply, Status, TraceContext
from services.wire.ticket import Item

CANCELLED: Final = Reply(Status.CANCELLED, 0, "cancelled")
TIMED_OUT: Final = Reply(Status.TIMEOUT, 0, "deadline passed")

_OK: Final = Status.OK


@dataclass(slots=True)
class Sent:
    """One logical call: what all its attempts have in common."""

    ticket: str
    items: int
    request_bytes: int
    response_bytes: int
    key: str | None
    chance: int
    """The key of the first item; 0 where nothing draws under it."""
    trace: TraceContext
    fanout: bool


class EdgeRunner(Calls):
    """A call or publish step of one replica."""

    __slots__ = (
        "_balancer",
        "_calls",
        "_clock",
        "_distinct",
        "_draws",
        "_hedge_after_ns",
        "_latencies",
        "_limits",
        "_now",
        "_replicas",
        "_request",
        "_response",
        "_retries",
        "_retry",
        "_send",
        "_simple",
        "_timeout_ns",
        "_try",
        "_wire",
    )

    def __init__(self, replica: Replica, step: Talk) -> None:
        edge = step.edge
        super().__init__(replica, edge)
        wire = replica.wire_of(step)
        transport = replica.transports[edge.protocol]
        self._wire = wire
        self._send: Callable[[Outgoing], Awaitable[Reply]] = (
            transport.publish if edge.mode == "publish" else transport.call
        )
        self._clock = replica.clock
        self._now = replica.clock.now_ns
        # Kafka's partitions decide who gets a message; there is nothing to balance or to hedge.
        brokered = edge.protocol == "kafka"
        self._balancer: Balancer = Only() if brokered else replica.balancer(edge.target.service)
        self._replicas = 1 if brokered else replica.scenario.services[edge.target.service].replicas
        self._request = Bytes(edge.request_bytes, "request")
        self._response = Bytes(edge.response_bytes, "response")
        self._distinct = edge.key_distinct
        self._timeout_ns = edge.timeout_ns
        self._retry = edge.retry
        hedged = edge.hedge is not None and self._replicas > 1
        self._latencies = Latencies() if hedged else None
        self._hedge_after_ns = edge.hedge.after_ns if edge.hedge is not None else None
        # What the common call does without: everything but one attempt at one replica.
        self._simple = edge.timeout_ns is None and edge.retry is None and not hedged
        self._draws = self._balancer.draws or not self._simple
        self._calls = 0
        self._limits = [replica.limit(limit) for limit in edge.limits]
        self._try = self._limited if self._limits else self._attempt
        self._retries = 0

    async def _call(
        self, frame: Frame, keys: list[int], call: Carried, fanout: Fanout | None
    ) -> bool:
        scope = frame.scope
        scope.calls += 1
        if fanout is None:
            trace = scope.trace
        else:
            fanout.calls += 1
            trace = fanout.trace
        parent = keys[0]
        items = call.items
        sent = Sent(
            f"{parent:016x};{call.suffix}",
            len(items),
            self._request.total(parent, items),
            self._response.total(parent, items),
            # A batch has no key: that of one of its items would hide the others.
            None if self._distinct is None or len(items) > 1 else self._key_of(parent, items[0]),
            item_key(parent, *items[0]) if self._draws else 0,
            trace,
            fanout is not None,
        )
        if self._simple:
            reply = await self._try(frame, sent, 0, self._balancer.pick(sent.chance, 0))
        else:
            reply = await self._persist(frame, sent)
        if reply.status is _OK:
            return True
        if fanout is not None:
            fanout.failures += 1
        await self._failed(frame, keys, call, fanout, reply)
        return False

    def _key_of(self, parent: int, item: Item) -> str:
        assert self._distinct is not None
        return str(int(uniform(item_key(parent, item.step, item.number), "key") * self._distinct))

    async def _failed(
        self,
        frame: Frame,
        keys: list[int],
        call: Carried,
        fanout: Fanout | None,
        reply: Reply,
    ) -> None:
        if frame.deadline_ns is not None and self._now() >= frame.deadline_ns:
            raise DeadlinePassed
        if await self._make_do(frame, keys, call, fanout):
            return
        wire = self._wire
        detail = f": {reply.detail}" if reply.detail else ""
        raise StepFailed(f"{wire.callee}.{wire.operation} {reply.status.name.lower()}{detail}")

    async def _limited(self, frame: Frame, sent: Sent, attempt: int, replica: int) -> Reply:
        async with AsyncExitStack() as places:
            for limit in self._limits:
                await places.enter_async_context(limit)
            return await self._attempt(frame, sent, attempt, replica)

    async def _attempt(self, frame: Frame, sent: Sent, attempt: int, replica: int) -> Reply:
        """One attempt, as long as the deadline or the edge's own timeout lets it."""
        timeout_ns = self._timeout_ns
        alarmed = timeout_ns is not None
        if frame.deadline_ns is not None:
            left = frame.deadline_ns - self._now()
            if left <= 0:
                raise DeadlinePassed
            if timeout_ns is None or left <= timeout_ns:
                timeout_ns = left
                alarmed = False
        opened = self._telemetry.attempt_begin(self._wire, sent.trace, fanout=sent.fanout)
        out = Outgoing(
            self._wire,
            replica,
            sent.ticket,
            sent.key,
            sent.request_bytes,
            sent.response_bytes,
            timeout_ns,
            attempt,
            opened.trace,
        )
        alarm = Alarm(self._clock, timeout_ns) if alarmed and timeout_ns is not None else None
        self._balancer.start(replica)
        reply = CANCELLED
        try:
            reply = await self._send(out)
        except CancelledError:
            if frame.expired or (alarm is not None and alarm.fired):
                reply = TIMED_OUT
            if alarm is None:
                raise
            mine, alarm = alarm.close(), None
            if not mine:
                raise
        finally:
            if alarm is not None:
                alarm.close()
            self._balancer.end(replica)
            self._telemetry.attempt_end(opened, out, sent.items, reply)
            if reply.status is not _OK:
                self._count(reply.status)
        return reply

    def _count(self, status: Status) -> None:
        if status is Status.TIMEOUT:
            self._counters.timeouts += 1
        elif status is not Status.CANCELLED:
            self._counters.errors += 1

    async def _persist(self, frame: Frame, sent: Sent) -> Reply:
        """Attempts until one succeeds or no more may be made."""
        self._calls += 1
        attempt = repeats = 0
        while True:
            replica = self._balancer.pick(sent.chance, attempt)
            if self._latencies is None:
                reply = await self._try(frame, sent, attempt, replica)
                attempt += 1
            else:
                reply, made = await self._hedged(frame, sent, attempt, replica)
                attempt += made
            if reply.status is _OK or reply.status is Status.CANCELLED:
                return reply
            wait_ns = self._backoff_ns(repeats, sent.chance, attempt)
            if wait_ns is None or (
                frame.deadline_ns is not None and self._now() + wait_ns >= frame.deadline_ns
            ):
                return reply
            repeats += 1
            self._retries += 1
            self._counters.retries += 1
            await self._clock.sleep(wait_ns)

    def _backoff_ns(self, repeats: int, key: int, attempt: int) -> int | None:
        """How long to wait before the next attempt; None where there must be none."""
        retry = self._retry
        if retry is None or repeats >= retry.max:
            return None
        if retry.budget is not None and self._retries + 1 > retry.budget * self._calls:
            return None
        wait = retry.backoff_ns << repeats
        if retry.jitter:
            return round(wait * (1 - retry.jitter * uniform(key, "jitter", attempt)))
        return wait

    async def _hedged(
        self, frame: Frame, sent: Sent, attempt: int, replica: int
    ) -> tuple[Reply, int]:
        """The answer, and how many attempts were made for it (1 or 2)."""
        latencies = self._latencies
        assert latencies is not None
        after_ns = self._hedge_after_ns
        if after_ns is None and latencies.p95_ns is not None:
            # Slower than the P95, not as slow: many calls may take exactly that long.
            after_ns = latencies.p95_ns + 1
        started_ns = self._now()
        if after_ns is None:
            reply = await self._try(frame, sent, attempt, replica)
            latencies.add(self._now() - started_ns)
            return reply, 1

        def second_attempt() -> Coroutine[Any, Any, Reply]:
            other = another(replica, self._replicas, uniform(sent.chance, "hedge", attempt))
            return self._try(frame, sent, attempt + 1, other)

        hedge = Hedge(second_attempt)
        timer = self._clock.call_later(after_ns, hedge.launch)
        try:
            try:
                first = await self._try(frame, sent, attempt, replica)
            except CancelledError:
                if not hedge.has_won():
                    raise
                first = CANCELLED
            latencies.add(self._now() - started_ns)
            if first.status is _OK or hedge.second is None:
                return first, 1 if hedge.second is None else 2
            hedge.closed = True
            second = await hedge.second
            return (second if second.status is _OK or first is CANCELLED else first), 2
        finally:
            timer.cancel()
            await hedge.end()
