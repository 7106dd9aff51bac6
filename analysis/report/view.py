"""What every form of the report shows, in the order it is shown.

Terminal, HTML and Markdown render the same view, so that they cannot disagree. Whoever has measured
makes it, out of rows and findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Final

from analysis.figures import UNKNOWN, bounds, count, ms, plural, share, span
from analysis.findings.advice import in_code
from analysis.findings.finding import Evidence, Finding, Where, saves_at
from analysis.report.calls import EdgeView, ServiceView, SlowOne
from analysis.report.overtime import Second
from analysis.rows.paths import PathRow
from services.codec import UNSET
from services.scenario.refactors import BASELINE

LOWEST = (
    "lowest, and lower than the baseline's, among variants with valid rounds and no larger share "
    "of failures; chance is not ruled out"
)
"""What it means that a figure is marked."""


@dataclass(frozen=True, slots=True)
class DoubtView:
    code: str
    text: str
    where: str
    """The rounds it was raised in, for people: ``baseline round 1, batched round 2``."""
    voids: bool
    mend: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class FindingView:
    kind: str
    place: str
    identity: tuple[str, ...]
    """Kind and place without the protocol: the same finding in another variant is equal here."""
    text: str
    cost: str
    per_request: str
    saving: str
    """Empty where it is not known, or nothing."""
    saves: str
    """The same with its verb: what is promised, or could be."""
    confidence: str
    advice: str
    """The refactor as a variant would write it, one line of YAML, or in words where no scenario
    could take it; empty where there is none."""
    evidence: tuple[Evidence, ...]
    hops: tuple[str, ...]
    """The hops of a chain, a line each."""


@dataclass(frozen=True, slots=True)
class ExpectationView:
    kind: str
    where: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class EntryView:
    """The requests of one entry; times in ms.

    ``share`` of all requests, 0..1: of the sampled ones where there are any, which edges count.
    """

    entry: str
    share: float
    p50: float | None
    against_baseline: str
    p95: float | None
    p99: float | None
    p99_pooled: float | None
    lowest: frozenset[str] = frozenset()
    """Which of these quantiles no other variant has as low: :func:`marked`."""


@dataclass(frozen=True, slots=True)
class PathView:
    """An operation's part of a critical path, over the rounds: means of what each measured."""

    root: str
    name: str
    """``service.operation``."""
    share: float
    self_p50: float | None


@dataclass(frozen=True, slots=True)
class VariantView:
    name: str
    description: str
    refactors: tuple[str, ...]
    rounds: int
    void_rounds: int
    unmeasured: str
    """Why that nothing was found says nothing: no valid round, no trace; empty where it does."""
    p50: float | None
    p95: float | None
    p99: float | None
    p99_pooled: float | None
    """Of the requests of all valid rounds together, where none shows a P99."""
    against_baseline: str
    """P50 as a ratio to the baseline's; a dash for the baseline itself."""
    promised: str
    """At P50, by those findings in the baseline whose refactors it applies, in requests that show
    them; empty where none."""
    saved: float | None
    """At the P50 of all requests, against the baseline, ms; None for the baseline itself."""
    entries: tuple[EntryView, ...]
    calls_per_request: float | None
    direct_tax: float | None
    findings: tuple[FindingView, ...]
    minor: tuple[FindingView, ...]
    gone: tuple[FindingView, ...]
    """What the baseline has and this variant has not, not even as a minor one."""
    kept: frozenset[tuple[str, ...]]
    """Identities of findings that the baseline has, too."""
    expectations: tuple[ExpectationView, ...]
    unexpected: tuple[str, ...]
    edges: tuple[EdgeView, ...]
    services: tuple[ServiceView, ...]
    critical_path: tuple[PathView, ...]
    """What requests wait for comes before the roots that are messages."""
    sent: int
    failed: int
    dropped: int
    achieved_rps: float | None
    timeline: tuple[Second, ...]
    """Of its first round."""
    samples: tuple[Path, ...]
    """samples.parquet of its rounds, where they have one."""
    spans: tuple[Path, ...]
    """spans.parquet likewise."""
    lowest: frozenset[str] = frozenset()
    """As of an entry, of all its requests."""

    @property
    def valid(self) -> int:
        """Rounds that were not void."""
        return self.rounds - self.void_rounds

    @property
    def failing(self) -> float:
        """The share of its requests that failed, 0..1."""
        return self.failed / self.sent if self.sent else 0.0

    @property
    def found(self) -> str:
        """How many findings there are, for a table."""
        return UNKNOWN if self.unmeasured and not self.findings else str(len(self.findings))

    @property
    def nothing(self) -> str:
        """What it means that there is no finding."""
        if self.unmeasured:
            return f"not measured: {self.unmeasured}"
        return "nothing was found above the thresholds"


CLOSED: Final = (
    "a closed load: users wait for their answers, so what is slow is asked less, and no figure is "
    "comparable with one of an open load"
)


@dataclass(frozen=True, slots=True)
class View:
    title: str
    facts: tuple[tuple[str, str], ...]
    headline: str
    variants: tuple[VariantView, ...]
    doubts: tuple[DoubtView, ...]
    environment: tuple[tuple[str, str], ...]
    closed: bool
    """Whether the load was."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the times must know of them, as sentences."""
        said = (self.pooled, CLOSED if self.closed else "")
        return tuple(f"{text[0].upper()}{text[1:]}." for text in said if text)

    @property
    def base(self) -> VariantView | None:
        """What the others are held against; None where no round was measured."""
        named = next((v for v in self.variants if v.name == BASELINE), None)
        return named or (self.variants[0] if self.variants else None)

    @property
    def marked(self) -> bool:
        """Whether any figure is the lowest."""
        return any(v.lowest or any(row.lowest for row in v.entries) for v in self.variants)

    @property
    def rounds(self) -> str:
        """On how many rounds the figures rest, for people."""
        variants = self.variants
        if len({(v.rounds, v.void_rounds) for v in variants}) > 1:
            least = min(v.valid for v in variants)
            most = max(v.valid for v in variants)
            return (
                f"{least} to {most} valid rounds a variant"
                if most != least
                else (f"{plural(most, 'valid round')} a variant")
            )
        words = f"{plural(variants[0].rounds, 'round')} a variant"
        if void := variants[0].void_rounds:
            words += f", {'' if void == 1 == variants[0].rounds else f'{void} of them '}void"
        return words

    @property
    def pooled(self) -> str:
        """What ``pooled`` beside a figure means; empty where it is beside none."""
        figures = (
            p for v in self.variants for p in (v.p99_pooled, *(e.p99_pooled for e in v.entries))
        )
        if all(figure is None for figure in figures):
            return ""
        return "pooled: of all valid rounds' requests together, since no round shows it"

    @property
    def lead(self) -> tuple[str, ...]:
        """The answer in a few sentences, most important first."""
        base = self.base
        if base is None:
            return ("No round was measured.",)
        lines = []
        if base.findings:
            worst = base.findings[0]
            more = len(base.findings) - 1
            lines.append(
                f"{base.name}: {plural(len(base.findings), 'finding')}. Costliest: {worst.kind} at "
                f"{worst.place}, {worst.cost} of the critical path"
                + (f", and {more:,} more." if more else ".")
            )
        else:
            lines.append(f"{base.name}: {base.nothing}.")
        for variant in self.variants:
            if variant is base:
                continue
            if variant.unmeasured and variant.p50 is None:
                lines.append(f"{variant.name}: {variant.nothing}.")
                continue
            against = variant.against_baseline
            if against == UNKNOWN:
                against = "not comparable"
            if not variant.valid:
                against += ", no valid round"
            lines.append(
                f"{variant.name}: P50 {ms(base.p50)} → {ms(variant.p50)} "
                f"({against}), calls per request "
                f"{count(base.calls_per_request)} → {count(variant.calls_per_request)}, "
                f"findings {base.found} → {variant.found}."
            )
        if len(self.variants) > 1:
            lines.append(f"{self.rounds}: figures, not a verdict.")
        return tuple(lines)


def marked(variants: Sequence[VariantView]) -> tuple[VariantView, ...]:
    """With the lowest P50, P95 and P99 marked, where they are lower than the baseline's, as shown.

    Only figures that may be held against the baseline's are looked at: both have valid rounds and
    one kind of load, and no larger share of the variant's requests failed, since what fails at once
    is no part of its times. A pooled P99 is no median of rounds, and is not looked at either.
    """
    base = next((v for v in variants if v.name == BASELINE and v.valid), None)
    if base is None:
        return tuple(variants)
    rivals = [
        v
        for v in variants
        if v.valid and v.failing <= base.failing and v.against_baseline != UNKNOWN
    ]
    known = {v.name: _known(v) for v in (base, *rivals)}
    before = known[base.name]
    least = {at: min(of[at] for of in known.values() if at in of) for at in before}

    def low(variant: str, entry: str) -> frozenset[str]:
        mine = known.get(variant, {})
        return frozenset(
            quantile
            for of, quantile in mine.keys() & before.keys()
            if of == entry
            and ms(mine[of, quantile]) == ms(least[of, quantile]) != ms(before[of, quantile])
        )

    return tuple(
        replace(
            v,
            lowest=low(v.name, ""),
            entries=tuple(replace(row, lowest=low(v.name, row.entry)) for row in v.entries),
        )
        for v in variants
    )


def times(row: VariantView | EntryView, mark: str) -> tuple[str, str, str]:
    """Its P50, P95 and P99, ``mark`` before those that are lowest."""
    shown = {"p50": ms(row.p50), "p95": ms(row.p95), "p99": p99(row)}
    first, second, third = (
        (mark if name in row.lowest else "") + said for name, said in shown.items()
    )
    return first, second, third


def _known(of: VariantView) -> dict[tuple[str, str], float]:
    """What is known, by entry (empty: of all requests) and quantile."""
    rows: list[tuple[str, VariantView | EntryView]] = [("", of)]
    rows.extend((row.entry, row) for row in of.entries)
    return {
        (entry, quantile): value
        for entry, row in rows
        for quantile, value in (("p50", row.p50), ("p95", row.p95), ("p99", row.p99))
        if value is not None
    }


def p99(of: VariantView | EntryView) -> str:
    return ms(of.p99) if of.p99_pooled is None else f"{ms(of.p99_pooled)} pooled"


def one_line(value: Any) -> str:
    """A value in YAML's flow form, for short advice: ``{op: batch, edge: "a->b.c", size: 20}``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {one_line(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(one_line(item) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def place(where: Where) -> str:
    """A finding's ``where`` as a person writes it."""
    if where.instance:
        return where.instance
    caller = where.caller or ""
    if where.caller_operation:
        caller += f".{where.caller_operation}"
    callee = where.callee or ""
    if callee and where.operation:
        callee += f".{where.operation}"
    text = f"{caller} → {callee}" if caller and callee else callee or caller
    return f"{text} ({where.protocol})" if where.protocol else text


def finding_view(finding: Finding, *, scenario: bool = True) -> FindingView:
    """Without a scenario the advice is about code, and savings are bounds."""
    low, high = finding.saving_ms
    saving = span(low, high) if scenario else bounds(low, high)
    if saving and scenario and finding.refactor and saves_at(finding.refactor["op"]) != 50:
        saving += f" at P{saves_at(finding.refactor['op'])}"
    return FindingView(
        kind=finding.kind,
        place=place(finding.where),
        identity=(finding.kind, *map(str, astuple(replace(finding.where, protocol=None)))),
        text=finding.text,
        cost=ms(finding.cost_ms.p50),
        per_request=count(finding.count_per_request.p50),
        saving=saving,
        saves=f"{'saves' if scenario else 'could save'} {saving}" if saving else "",
        confidence=finding.confidence,
        advice=in_code(finding)
        if not scenario
        else one_line(finding.refactor)
        if finding.refactor
        else "",
        evidence=finding.evidence,
        hops=tuple(
            f"{hop.service}.{hop.operation}: {ms(hop.duration_ms)}, own {ms(hop.self_ms)}, "
            f"transport {ms(hop.tax_ms)}"
            for hop in (() if finding.hops is UNSET else finding.hops)
        ),
    )


def path_views(
    rounds: Sequence[Iterable[PathRow]], entries: frozenset[str]
) -> tuple[PathView, ...]:
    """The critical paths of these rounds, joined; those of ``entries`` first, dearest first."""
    joined: dict[tuple[str, str], list[PathRow]] = {}
    for rows in rounds:
        for row in rows:
            joined.setdefault((row.root, f"{row.service}.{row.operation}"), []).append(row)
    found = []
    for (root, name), alike in joined.items():
        known = [row.self_ms.p50 for row in alike if row.self_ms.p50 is not None]
        mean = sum(row.share for row in alike) / len(rounds)
        found.append(PathView(root, name, mean, sum(known) / len(known) if known else None))
    return tuple(sorted(found, key=lambda p: (p.root not in entries, p.root, -p.share, p.name)))


def errors(edge: EdgeView) -> str:
    return UNKNOWN if edge.calls == 0 else f"{edge.errors:,} ({share(edge.errors / edge.calls)})"


def slow_replica(slow: SlowOne | None) -> str:
    """A clause about an edge; empty where no replica stands out."""
    if slow is None:
        return ""
    return f"{slow.instance} is the slow one: P50 {ms(slow.p50)}, the others {ms(slow.others)}"
