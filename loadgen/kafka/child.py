"""The Kafka entries' share of one round, in a process of its own: aiokafka needs asyncio, and the
generator is gevent's.

Started by loadgen/kafka/entries.py, it follows the same schedule under the same rules as
loadgen/sending/dispatcher.py: a request is sent when it is due, at most so many are in flight, and
what comes above is dropped. It has the caller's side of the services' own transport, as the service
``generator/K``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic_ns
from typing import Final

import numpy as np
import uvloop

from loadgen.counts import BEAT_NS, Counts, core_wait_ns, spread
from loadgen.kafka.messages import Ended, Said, Told
from loadgen.messages import Broken, Finished, Ordered, Ready, Start, Stop
from loadgen.plan import Plan, in_flight_parts, over_kafka
from loadgen.samples import DROPPED, ERROR, NOT_REACHED, OF_STATUS, OK, STATUSES, TIMEOUT
from loadgen.schedule import Schedule, select
from loadgen.sending.asks import Asks
from loadgen.spool.recorder import Ended as Recorded
from loadgen.spool.recorder import Recorder, recorded
from services import codec
from services.clocks.wall import WallClock
from services.errors import BadInput, CannotStart
from services.report import SenderReport
from services.scenario.pace import Closed
from services.system.death import ORPHANED, die_with
from services.system.promptness import be_prompt
from services.system.title import set_title
from services.transports.kafka.transport import KafkaTransport
from services.transports.site import Counters, Site
from services.wire.ports import Outgoing, Reply, Status
from services.wire.statuses import codes
from services.wire.topology import GENERATOR, entrance

BROKEN: Final = 5
_TELL_S: Final = 0.1
_FLUSH_TELLS: Final = 2
_BURST: Final = 16
"""So many late arrivals are sent before the loop may look at what has come."""
_LATE_REPLY_S: Final = 1.0
"""The callee answers at the deadline, too: what was given up is waited for, to be counted."""
_LINE_BYTES: Final = 1 << 24
_NANO: Final = 1e9


class Requests:
    """The rows of the schedule that are the companion's, sent once."""

    def __init__(self, plan: Plan) -> None:
        whole, mine = plan.schedule(), over_kafka(plan.load)
        self.rows: list[int] = np.flatnonzero(np.isin(whole.entry, mine)).tolist()
        self.schedule: Schedule = select(whole, np.array(self.rows, dtype=np.int64))
        self.sent = 0
        self.ended: list[Ended] = []
        """What was not told yet."""
        self.by_status = [0] * len(STATUSES)
        self.lag_ns = array("q")
        self.recorder: Recorder | None = None
        self._plan = plan
        self._asks = Asks(self.schedule, plan)
        self._entry: list[int] = self.schedule.entry.tolist()
        self._bound = in_flight_parts(plan.load, plan.max_in_flight)[1]
        self._clock = WallClock()
        self._counters = Counters()
        topology = entrance(plan.load.entries)
        self._wires = {wire.index: wire for wire in topology.wires}
        self._transport = KafkaTransport(
            Site(
                service=GENERATOR,
                replica=plan.worker,
                replicas=plan.workers,
                topology=topology,
                counters=self._counters,
                broker=plan.broker,
                round=plan.round,
            )
        )
        self._sends = {"call": self._transport.call, "publish": self._transport.publish}
        self._live: dict[int, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Raises CannotStart."""
        await self._clock.start()
        await self._transport.connect({})
        gc.collect()
        gc.freeze()
        be_prompt()

    async def close(self) -> None:
        await self._transport.close()
        await self._clock.close()

    def report(self) -> SenderReport:
        messages = self._counters.messages(time.time_ns() - monotonic_ns())
        doubts = tuple(self._counters.doubts)
        return SenderReport(GENERATOR, self._plan.worker, os.getpid(), messages, doubts)

    async def run(self, start_ns: int) -> None:
        """Send everything, and wait until nothing is in flight. Cancelling it ends that early;
        what is in flight is then recorded as an error without code."""
        try:
            await self._send_all(start_ns)
            while self._live:
                await asyncio.wait(self._live.values())
        finally:
            for task in self._live.values():
                task.cancel()
            await asyncio.gather(*self._live.values(), return_exceptions=True)
        if self.by_status[TIMEOUT]:
            await self._late_replies()

    async def _send_all(self, start_ns: int) -> None:
        plan = self._plan
        self._counters.origin_ns = start_ns + plan.load.warmup_ns
        if isinstance(pace := plan.load.pace, Closed):
            rows = enumerate(map(pace.thinks_ns, self.schedule.chance.tolist()))
            async with asyncio.TaskGroup() as group:
                for begins in pace.begins_ns(plan.worker, plan.workers):
                    over = start_ns + plan.length_ns
                    group.create_task(self._user(start_ns + begins, over, rows))
            return
        live, late = self._live, 0
        for row, offset in enumerate(self.schedule.offset_ns.tolist()):
            out = self._prepare(row)
            due = start_ns + offset
            left = due - monotonic_ns()
            if left > 0:
                late = 0
                await self._clock.sleep(left)
            else:
                late += 1
                if late % _BURST == 0:
                    await asyncio.sleep(0)
            if len(live) >= self._bound:
                self._end((row, NOT_REACHED, NOT_REACHED, DROPPED, -1, 0), NOT_REACHED)
            else:
                live[row] = asyncio.create_task(self._request(row, due, out))

    async def _user(self, ready: int, over: int, rows: Iterator[tuple[int, int]]) -> None:
        """Of a closed load: takes the rows that nobody has taken, until the time is over."""
        while ready < over:
            if (left := ready - monotonic_ns()) > 0:
                await self._clock.sleep(left)
            if (taken := next(rows, None)) is None:
                return
            row, think = taken
            self._live[row] = task = asyncio.create_task(
                self._request(row, None, self._prepare(row))
            )
            await asyncio.wait({task})
            ready = monotonic_ns() + think

    def _prepare(self, row: int) -> Outgoing:
        ask = self._asks[row]
        return Outgoing(
            wire=self._wires[self._entry[row]],
            replica=0,
            ticket=ask.ticket,
            key=ask.key,
            request_bytes=ask.request_bytes,
            response_bytes=ask.response_bytes,
            timeout_ns=ask.timeout_ns,
            attempt=0,
            trace=ask.trace,
        )

    async def _request(self, row: int, due: int | None, out: Outgoing) -> None:
        """``due`` None: it is due when it is sent."""
        self.sent += 1
        sent = monotonic_ns()
        reply: Reply | None = None
        given_up = False
        try:
            assert out.timeout_ns is not None
            async with asyncio.timeout(out.timeout_ns / _NANO):
                reply = await self._sends[out.wire.mode](out)
        except TimeoutError:
            given_up = True
        finally:
            now = monotonic_ns()
            if due is None:
                due = sent
            else:
                self.lag_ns.append(sent - due)
            # The transport's own findings and the callee's answers are told apart by the code.
            answered = reply is not None and reply.status is not Status.UNAVAILABLE
            status, code, size = ERROR, -1, 0
            if given_up:
                status = TIMEOUT
            elif reply is not None and answered:
                status = OF_STATUS[reply.status]
                code, size = codes("kafka")[reply.status], reply.response_bytes
            done = now if answered else NOT_REACHED
            self._end((row, sent, done, status, code, size), now - due)
            del self._live[row]

    def _end(self, ended: Recorded, response_ns: int) -> None:
        assert self.recorder is not None
        row, _, _, status, _, size = ended
        self.recorder.add(ended)
        self.by_status[status] += 1
        self.ended.append((self.rows[row], status, response_ns, size))

    async def _late_replies(self) -> None:
        until = monotonic_ns() + int(_LATE_REPLY_S * _NANO)
        topics = [wire.topic for wire in self._wires.values() if wire.mode == "call"]
        counters = self._counters
        # Replies are counted as they come; nothing tells of one that does not.
        while monotonic_ns() < until:
            if sum(counters.consumed.values()) >= sum(counters.produced[t] for t in topics):
                return
            await asyncio.sleep(0.02)


class Lines:
    """The two pipes to the parent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls) -> Lines:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LINE_BYTES)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sys.stdout
        )
        return cls(reader, asyncio.StreamWriter(transport, protocol, None, loop))

    async def hear(self) -> bytes:
        """The next message. A parent that is gone ends this process."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            os._exit(ORPHANED)
        return line

    async def order(self) -> Ordered:
        found: Ordered = codec.decode(Ordered, await self.hear())
        return found

    async def say(self, said: Said) -> None:
        self._writer.write(codec.encode(said) + b"\n")
        with suppress(ConnectionError):
            await self._writer.drain()


async def _live() -> int:
    lines = await Lines.open()
    try:
        plan = Plan.of(json.loads(await lines.hear()))
        requests = Requests(plan)
        await requests.open()
    except (BadInput, CannotStart) as error:
        await lines.say(Broken(str(error)))
        return BROKEN
    await lines.say(Ready())
    if isinstance(order := await lines.order(), Start):
        try:
            await _round(requests, plan, order.monotonic_ns(), lines)
        except OSError as error:
            why = f"cannot write samples to {plan.kafka_samples}: {error.strerror}"
            await lines.say(Broken(why))
            return BROKEN
    await requests.close()
    return 0


async def _round(requests: Requests, plan: Plan, start_ns: int, lines: Lines) -> None:
    schedule = requests.schedule
    recorder = requests.recorder = recorded(plan.kafka_samples, schedule, plan, start_ns)
    beats = array("q")
    cpu, waited = time.process_time_ns(), core_wait_ns()
    running = asyncio.create_task(requests.run(start_ns))
    stopped = asyncio.create_task(_stopped(lines, running))
    beating = asyncio.create_task(_beat(max(start_ns, monotonic_ns()), beats))
    loop = asyncio.get_running_loop()
    try:
        tells = 0
        while not running.done():
            await asyncio.wait({running}, timeout=_TELL_S)
            await _tell(requests, lines)
            tells += 1
            if tells % _FLUSH_TELLS == 0:
                await loop.run_in_executor(None, recorder.flush)
        complete = not running.cancelled()
        if complete:
            running.result()
        elapsed, cpu = monotonic_ns() - start_ns, time.process_time_ns() - cpu
        waited = None if waited is None else (core_wait_ns() or 0) - waited
    finally:
        beating.cancel()
        stopped.cancel()
        recorder.flush()
        recorder.close()
    # Nothing more comes over Kafka: the counts of messages are final.
    await requests.close()
    await _tell(requests, lines)
    counts = Counts(
        scheduled=len(schedule),
        sent=requests.sent,
        ok=requests.by_status[OK],
        error=requests.by_status[ERROR],
        timeout=requests.by_status[TIMEOUT],
        dropped=requests.by_status[DROPPED],
        complete=complete,
        broken=None,
        start_ns=start_ns,
        elapsed_ns=elapsed,
        cpu_ns=cpu,
        core_share=cpu / elapsed if elapsed > 0 else None,
        core_wait_ns=waited,
        lag_ns=spread(requests.lag_ns),
        hub_lag_ns=spread(beats),
        senders=(requests.report(),),
    )
    await lines.say(Finished(counts))


async def _stopped(lines: Lines, running: asyncio.Task[None]) -> None:
    while not isinstance(await lines.order(), Stop):
        pass
    running.cancel()


async def _tell(requests: Requests, lines: Lines) -> None:
    ended, requests.ended = requests.ended, []
    done = sum(requests.by_status)
    await lines.say(Told(requests.sent, done, ended))


async def _beat(start_ns: int, lags: array[int]) -> None:
    clock = WallClock()
    await clock.start()
    due = start_ns
    try:
        while True:
            due += BEAT_NS
            if (left := due - monotonic_ns()) > 0:
                await clock.sleep(left)
            else:
                await asyncio.sleep(0)
            now = monotonic_ns()
            lags.append(now - due)
            # After a stall the beats it swallowed are not made up for: the stall counts once.
            due = max(due, now - BEAT_NS)
    finally:
        await clock.close()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    die_with(parser.parse_args().parent)
    # Ctrl-C reaches the whole terminal; ending a round is the parent's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_title("locust: kafka entries")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live())


if __name__ == "__main__":
    sys.exit(main())
