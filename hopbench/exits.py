"""Exit codes, and which one wins where several apply (docs/architecture.md, README)."""

from __future__ import annotations

import enum
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final


class Exit(enum.IntEnum):
    DONE = 0
    FAILED = 1
    """A gate failed, or an expectation of the scenario was not met."""
    BAD_INPUT = 2
    """Bad input or usage, a place that is not yours; nothing was started."""
    VOID = 3
    """A variant has no valid round left (``run`` only with ``--strict``)."""
    INCONCLUSIVE = 4
    """Inconclusive, or a gate's value is not identifiable."""
    BROKEN = 5
    """A part could not start, or died in a round, or a disk is full; what was measured is kept."""
    BUG = 70
    """A bug in hopbench (EX_SOFTWARE of sysexits.h)."""
    INTERRUPTED = 130
    TERMINATED = 143


PRECEDENCE: Final = (
    Exit.TERMINATED,
    Exit.INTERRUPTED,
    Exit.BUG,
    Exit.BAD_INPUT,
    Exit.BROKEN,
    Exit.VOID,
    Exit.FAILED,
    Exit.INCONCLUSIVE,
    Exit.DONE,
)


def worst(codes: Iterable[Exit]) -> Exit:
    """The code that a command returns when all of ``codes`` apply; DONE for none."""
    present = set(codes)
    return next((code for code in PRECEDENCE if code in present), Exit.DONE)


class Terminated(BaseException):
    """SIGTERM arrived outside the event loop.

    Not an Exception, and not a KeyboardInterrupt, which the command-line library turns into 130.
    """


@contextmanager
def undisturbed() -> Iterator[None]:
    """SIGINT and SIGTERM wait until the block has ended; for imports, and short.

    What a signal handler raises in the middle of an import is swallowed by one library (a bare
    ``except``) and ends another (a panic in polars' core).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
