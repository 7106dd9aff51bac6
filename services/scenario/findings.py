"""The kinds of findings, by the names that a scenario expects them by: a literal table.

To add one: a module with an analyzer, and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FINDINGS: Final[Mapping[str, str]] = {
    "chatty.sequential": "analysis.findings.analyzers.chatty:chatty",
    "chatty.parallel": "analysis.findings.analyzers.chatty:chatty",
    "chatty.redundant": "analysis.findings.analyzers.chatty:chatty",
    "chain": "analysis.findings.analyzers.chain:chains",
    "fanout.sequential": "analysis.findings.analyzers.fanout:fanouts",
    "fanout.storm": "analysis.findings.analyzers.fanout:fanouts",
    "fanout.straggler": "analysis.findings.analyzers.straggler:stragglers",
    "retry.storm": "analysis.findings.analyzers.retry:retry_storms",
    "queue.backlog": "analysis.findings.analyzers.queue:backlogs",
    "protocol.tax": "analysis.findings.analyzers.protocol_tax:protocol_tax",
    "payload.oversize": "analysis.findings.analyzers.payload:oversize",
}
"""Kind → analyzer (:data:`analysis.findings.analyzers.Analyzer`), imported when first used."""
