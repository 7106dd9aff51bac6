"""Whether a refactor helps by what was measured of it, and as a rung of the ladder."""

from __future__ import annotations

import math

from analysis.findings.finding import Finding, saves_at
from hopbench.comparison.document import Interval, MetricRow, Verdict
from hopbench.comparison.sentence import change, changed, ends, interval, named
from hopbench.proving.candidates import Candidate
from hopbench.proving.document import Found, Step
from hopbench.statistics.effect import Outcome


def row_of(of: Candidate, verdict: Verdict) -> MetricRow | None:
    """By which a refactor is judged: the primary metric; of a hedge, which helps the slowest
    requests, P95 where every round tells it. None of what has no verdict."""
    if late(of):
        rows = [row for row in verdict.metrics if row.metric == f"response_p{at(of)}"]
        whole = [row for row in rows if row.entry is None] or rows
        if whole:
            return whole[0]
    return verdict.first


def ratio_of(of: Candidate, verdict: Verdict) -> float:
    row = row_of(of, verdict)
    return 1.0 if row is None or row.ratio is None else row.ratio


def at(of: Candidate) -> int:
    return saves_at(str(of.written["op"]))


def late(of: Candidate) -> bool:
    """Whether it shows at the slowest requests."""
    return at(of) != saves_at("")


def helps(of: Candidate, verdict: Verdict, alpha: float) -> bool:
    row = row_of(of, verdict)
    return row is not None and row.ratio is not None and row.ratio < 1 and row.p <= alpha


def faster(of: Candidate, verdict: Verdict, alpha: float, family: int) -> bool:
    """By the family of the refactors that are confirmed together. The primaries are that already;
    another metric is by its own p and Bonferroni: among all the secondary ones it could never be
    called."""
    if late(of):
        return helps(of, verdict, alpha / family)
    return verdict.verdict is Outcome.FASTER


def figure(of: Candidate, verdict: Verdict) -> str:
    row = row_of(of, verdict)
    if row is None:
        return "; ".join(doubt.text for doubt in verdict.doubts if doubt.voids)
    everywhere = " of all entries" if row.entry is None else ""
    what = f"{named(row.metric, row.entry)}{everywhere} {changed(row)}"
    if row.primary:
        return f"{what} {ends(row)}, {row.verdict.value}"
    # Judged by itself, and not among all metrics.
    return f"{what} {interval(row.interval)}, p {row.p:.2g}"


def price(verdict: Verdict) -> str:
    worse = ", ".join(
        f"{named(g.metric, g.entry)} {change(g)}" for g in verdict.guardrails if g.worse
    )
    return f", but {worse}" if worse else ""


def _most_changed(of: Candidate, verdict: Verdict) -> MetricRow | None:
    """The entry's row in which it shows most, at the quantile that is the refactor's."""
    metric = f"response_p{at(of)}"
    rows = [row for row in verdict.metrics if row.metric == metric and row.entry and row.ratio]
    return max(rows, key=lambda row: abs(math.log(row.ratio or 1.0)), default=None)


def _saved(row: MetricRow) -> tuple[float, Interval]:
    """ms: the estimate, and what the interval says, as if the row were alone."""
    assert row.ratio is not None
    low, high = (None if end is None else row.a * (1 - end) for end in row.interval)
    return row.a * (1 - row.ratio), (high, low)


def step_of(
    depth: int,
    of: Candidate,
    why: str,
    verdict: Verdict | None = None,
    *,
    confirmed: bool = False,
    held: bool = False,
) -> Step:
    row = None if verdict is None else _most_changed(of, verdict)
    estimate, saved = (None, None) if row is None else _saved(row)
    low, high = of.finding.saving_ms
    return Step(
        depth=depth,
        name=of.name,
        refactor=of.written,
        finding=_of(of.finding),
        predicted_ms=None if low is None or high is None else (low, high),
        entry=None if row is None else row.entry,
        quantile=at(of),
        estimate_ms=estimate,
        saved_ms=saved,
        verdict=verdict,
        confirmed=confirmed,
        held=held,
        why=why,
    )


def _of(finding: Finding) -> Found:
    return Found(
        finding.kind, finding.fingerprint, finding.where, finding.text, finding.cost_ms.p50
    )
