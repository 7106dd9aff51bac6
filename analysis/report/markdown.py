"""The report as Markdown, for a pull request or a wiki page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analysis.figures import count, ms, share, size
from analysis.report.columns import finding_rows, path_rows
from analysis.report.view import LOWEST, VariantView, View, errors, slow_replica, times
from services.codec import UNSET


def _words(text: str) -> str:
    """``text`` as text: Markdown lets HTML through, and a backtick begins code or ends it."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("`", "&#96;")
    return text.replace("\n", " ")


def _code(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"


def _cell(text: str) -> str:
    return _words(text).replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines.extend("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows)
    return [*lines, ""]


def markdown(of: View) -> str:
    lines = [f"# {_words(of.title)}", ""]
    lines.extend(f"{_words(sentence)}  " for sentence in of.lead)
    lines.append("")
    lines.extend(_table([name for name, _ in of.facts], [[value for _, value in of.facts]]))
    if of.variants:
        lines.extend(["## Variants side by side", ""])
        rows = []
        for v in of.variants:
            void = f" ({v.void_rounds} void)" if v.void_rounds else ""
            p50, p95, p99 = times(v, "lowest ")
            rows.append(
                [v.name, f"{v.rounds}{void}", p50, v.against_baseline, v.promised, ms(v.saved),
                 p95, p99, count(v.calls_per_request), ms(v.direct_tax), v.found]
            )  # fmt: skip
        lines.extend(
            _table(
                ["variant", "rounds", "P50", "against baseline", "promised", "saved", "P95",
                 "P99", "calls/request", "tracing tax", "findings"],
                rows,
            )
        )  # fmt: skip
        if any(len(v.entries) > 1 for v in of.variants):
            rows = []
            for v in of.variants:
                for row in v.entries:
                    p50, p95, p99 = times(row, "lowest ")
                    rows.append(
                        [v.name, row.entry, share(row.share), p50, row.against_baseline, p95, p99]
                    )
            lines.extend(
                _table(
                    ["variant", "entry", "of requests", "P50", "against baseline", "P95", "P99"],
                    rows,
                )
            )
        for note in of.notes:
            lines.extend([note, ""])
        if of.marked:
            lines.extend([f"Marked: {LOWEST}.", ""])
    names = [v.name for v in of.variants]
    if len(names) > 1 and (findings := finding_rows(of.variants)):
        lines.extend(["## Findings side by side", ""])
        lines.extend(
            _table(
                ["finding, P50 on the critical path", *names],
                (
                    [f"{row.finding.kind} {row.finding.place}", *(cell.text for cell in row.cells)]
                    for row in findings
                ),
            )
        )
    if paths := path_rows(of.variants):
        lines.extend(["## Critical path", ""])
        lines.extend(
            _table(
                ["of", "operation", *names],
                (
                    [row.root, row.name,
                     *(f"{share(p.share)}, {ms(p.self_p50)}" if p else "" for p in row.cells)]
                    for row in paths
                ),
            )
        )  # fmt: skip
    for v in of.variants:
        lines.extend(_variant(v))
    lines.extend(["## Doubts", ""])
    if not of.doubts:
        lines.append("None was raised.")
    for doubt in of.doubts:
        void = "**void** " if doubt.voids else ""
        said = f"{_words(doubt.text)} ({doubt.where}): {doubt.mend}"
        lines.append(f"- {void}{_code(doubt.code)} {said}")
    return "\n".join(lines) + "\n"


def _variant(v: VariantView) -> list[str]:
    lines = [f"## {v.name}", ""]
    if v.refactors:
        lines.extend([f"{_code(refactor)}  " for refactor in v.refactors] + [""])
    if not v.findings:
        lines.extend([f"{v.nothing.capitalize()}.", ""])
    for f in (f for f in v.findings if f.identity not in v.kept):
        said = _words(f"{f.place}, {f.cost} on the critical path. {f.text}")
        lines.append(f"- **{f.kind}** {said}")
        if f.advice:
            saves = f": {f.saves}" if f.saves else ""
            lines.append(f"  Try {_code(f.advice)}{saves}.")
        links = [
            f"[{cited.trace_id}]({cited.url})" for cited in f.evidence if cited.url is not UNSET
        ]
        if links:
            lines.append(f"  Traces: {', '.join(links)}.")
    lines.append("")
    for expectation in v.expectations:
        word = {True: "met", False: "**not met**", None: "not judged"}[expectation.met]
        lines.append(f"- expectation {expectation.kind} {_code(expectation.where)}: {word}")
    lines.append("")
    lines.extend(
        _table(
            ["edge", "protocol", "calls/request", "errors", "retries", "hedges", "client P50",
             "client P99", "server P50", "transport tax P50", "queued P50", "request",
             "response"],
            (
                [row.name, row.carrier,
                 count(row.calls_per_request), errors(row), f"{row.retries:,}", f"{row.hedges:,}",
                 ms(row.client_p50), ms(row.client_p99), ms(row.server_p50), ms(row.tax_p50),
                 ms(row.queue_p50), size(row.request_p50), size(row.response_p50)]
                for row in v.edges
            ),
        )
    )  # fmt: skip
    for row in (row for row in v.edges if row.slow):
        lines.extend([f"{_words(f'{row.name}: {slow_replica(row.slow)}')}.", ""])
    if v.services:
        lines.extend(
            _table(
                ["service", "requests", "errors", "queued P50", "queued P95", "handled in P50",
                 "handled in P95"],
                (
                    [row.service, f"{row.requests:,}", f"{row.errors:,}", ms(row.queue_p50),
                     ms(row.queue_p95), ms(row.server_p50), ms(row.server_p95)]
                    for row in v.services
                ),
            )
        )  # fmt: skip
    return lines
