"""The analyzers: each looks at the same observations and returns candidates for findings.

To add one: a new file with a function of this type, and a line in
:data:`services.scenario.findings.FINDINGS` for each kind that it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pkgutil import resolve_name

from analysis.findings.observed import Candidate, Observed
from services.scenario.findings import FINDINGS

Analyzer = Callable[[Observed], Iterator[Candidate]]


def analyzers() -> tuple[Analyzer, ...]:
    """Those that the table names, in its order."""
    return tuple(resolve_name(path) for path in dict.fromkeys(FINDINGS.values()))
