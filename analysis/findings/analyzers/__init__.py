"""The analyzers: each looks at the same observations and returns candidates for findings.

To add one: a new file with a function of this type, and a line in ``ANALYZERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from analysis.findings.analyzers.chain import chains
from analysis.findings.analyzers.chatty import chatty
from analysis.findings.analyzers.fanout import fanouts
from analysis.findings.analyzers.payload import oversize
from analysis.findings.analyzers.protocol_tax import protocol_tax
from analysis.findings.analyzers.retry import retry_storms
from analysis.findings.observed import Candidate, Observed

Analyzer = Callable[[Observed], Iterator[Candidate]]

ANALYZERS: Final[tuple[Analyzer, ...]] = (
    chatty,
    chains,
    fanouts,
    retry_storms,
    protocol_tax,
    oversize,
)
