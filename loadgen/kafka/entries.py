"""The process that sends to Kafka entries (loadgen/kafka/child.py), as its parent sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from time import monotonic_ns
from typing import Any, Final

import gevent
from gevent import subprocess
from gevent.event import AsyncResult

from loadgen.counts import Counts
from loadgen.kafka.messages import Said, Told
from loadgen.messages import Broken, Finished, Ready, Start, Stop
from loadgen.plan import Plan
from loadgen.sending.dispatcher import Observe
from services import codec
from services.errors import CannotStart
from services.system import children

_READY_S: Final = 30.0
_SILENT_S: Final = 5.0
"""It tells ten times a second how far it is."""
_LEAVE_S: Final = 5.0
_NANO: Final = 1e9


class KafkaEntries:
    """Made once for a round. ``broken`` is called once, with the reason, when the process dies or
    cannot go on."""

    def __init__(self, plan: Plan, observe: Observe, broken: Callable[[str], None]) -> None:
        self.sent = 0
        self.ended = 0
        self._plan = plan
        self._observe = observe
        self._broken = broken
        self._process: Any = None
        self._reader: gevent.Greenlet | None = None
        self._watcher: gevent.Greenlet | None = None
        self._ready: AsyncResult = AsyncResult()
        self._finished: AsyncResult = AsyncResult()
        self._heard_ns = 0
        self._closing = False

    def begin(self) -> None:
        """Start the process; it connects while the caller does something else."""
        self._process = subprocess.Popen(
            children.command("loadgen.kafka.child", f"--parent={os.getpid()}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=children.environment(os.environ),
            start_new_session=True,
        )
        self._reader = gevent.spawn(self._read)
        self._say(self._plan.document())

    def open(self) -> None:
        """Wait until it is connected. Raises CannotStart."""
        why = f"was not ready in {_READY_S:g} s"
        with gevent.Timeout(_READY_S, False):
            why = self._ready.get()
        if why:
            self.close()
            raise CannotStart("generator", f"the process for Kafka entries: {why}")

    def start(self, start_ns: int) -> None:
        self._heard_ns = max(start_ns, monotonic_ns())
        self._say(Start(start_ns))
        self._watcher = gevent.spawn(self._watch)

    def join(self) -> Counts | None:
        """Wait for its end; what it counted, None where it broke."""
        counts: Counts | None = self._finished.get()
        return counts

    def stop(self) -> None:
        """End its part of the round early."""
        self._say(Stop())

    def close(self) -> None:
        self._closing = True
        if self._watcher is not None:
            self._watcher.kill()
        process = self._process
        if process is None:
            return
        with suppress(OSError):
            process.stdin.close()
        if process.poll() is None:
            with gevent.Timeout(_LEAVE_S, False):
                process.wait()
        if process.poll() is None:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join()
        process.stdout.close()

    def _say(self, message: object) -> None:
        try:
            self._process.stdin.write(codec.encode(message) + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return  # its end is told by the reader

    def _read(self) -> None:
        why: str | None = None
        with suppress(OSError, codec.Unfit):
            for line in self._process.stdout:
                if not line.endswith(b"\n"):
                    break
                self._heard_ns = max(self._heard_ns, monotonic_ns())
                said: Said = codec.decode(Said, line)
                match said:
                    case Told():
                        self.sent, self.ended = said.sent, said.done
                        for ended in said.ended:
                            self._observe(*ended)
                    case Ready():
                        self._ready.set("")
                    case Broken():
                        why = said.why
                    case Finished():
                        self._finished.set(said.counts)
        self._gone(why or f"died ({children.ending(self._process.wait())})")

    def _gone(self, why: str) -> None:
        if not self._ready.ready():
            self._ready.set(why)
            return
        if not self._finished.ready():
            self._finished.set(None)
            if not self._closing:
                self._broken(f"the process for Kafka entries: {why}")

    def _watch(self) -> None:
        while not self._finished.ready():
            gevent.sleep(0.5)
            if monotonic_ns() - self._heard_ns > _SILENT_S * _NANO:
                self._process.kill()
                self._gone(f"has said nothing for {_SILENT_S:g} s")
