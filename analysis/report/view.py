"""What every form of the report shows, in the order it is shown: one view of a summary.

Terminal, HTML and Markdown render the same view, so that they cannot disagree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from analysis.report.calls import EdgeRow, edge_rows
from analysis.report.figures import UNKNOWN, count, ms, plural, ratio, share

Json = Mapping[str, Any]

BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Doubt:
    code: str
    text: str
    where: str
    """The rounds it was raised in, for people: ``baseline round 1, batched round 2``."""
    voids: bool


class Cited(NamedTuple):
    """A trace that shows a finding."""

    trace_id: str
    span_ids: tuple[str, ...]
    url: str | None
    """Where it can be looked at; None where nowhere but in this report."""


@dataclass(frozen=True, slots=True)
class FindingRow:
    kind: str
    place: str
    identity: tuple[str, ...]
    """Kind and place without the protocol: the same finding in another variant is equal here."""
    text: str
    cost: str
    per_request: str
    saving: str
    confidence: str
    advice: str
    """The refactor as a variant would write it, one line of YAML; empty where there is none."""
    evidence: tuple[Cited, ...]
    hops: tuple[str, ...]
    """The hops of a chain, a line each."""


@dataclass(frozen=True, slots=True)
class ExpectationRow:
    kind: str
    where: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class EntryRow:
    """The requests of one entry; times in ms.

    ``share`` of all requests, 0..1: of the sampled ones where there are any, which edges count.
    """

    entry: str
    share: float
    p50: float | None
    against_baseline: str
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class VariantView:
    name: str
    description: str
    refactors: tuple[str, ...]
    rounds: int
    void_rounds: int
    p50: float | None
    p95: float | None
    p99: float | None
    against_baseline: str
    """P50 as a ratio to the baseline's; a dash for the baseline itself."""
    entries: tuple[EntryRow, ...]
    calls_per_request: float | None
    direct_tax: float | None
    findings: tuple[FindingRow, ...]
    minor: tuple[FindingRow, ...]
    gone: tuple[FindingRow, ...]
    """What the baseline has and this variant has not, not even as a minor one."""
    kept: frozenset[tuple[str, ...]]
    """Identities of findings that the baseline has, too."""
    expectations: tuple[ExpectationRow, ...]
    unexpected: tuple[str, ...]
    edges: tuple[EdgeRow, ...]
    critical_path: tuple[tuple[str, str, float, float | None], ...]
    """root, ``service.operation``, share 0..1, self P50 ms; what requests wait for comes before the
    roots that are messages."""
    sent: int
    failed: int
    dropped: int
    offered_rps: float | None
    achieved_rps: float | None


@dataclass(frozen=True, slots=True)
class View:
    title: str
    facts: tuple[tuple[str, str], ...]
    headline: str
    lead: tuple[str, ...]
    """The answer in a few sentences, most important first."""
    variants: tuple[VariantView, ...]
    doubts: tuple[Doubt, ...]

    @property
    def base(self) -> VariantView | None:
        """What the others are held against; None where no round was measured."""
        return _base(self.variants)


def _base(variants: Sequence[VariantView]) -> VariantView | None:
    named = next((v for v in variants if v.name == BASELINE), None)
    return named or (variants[0] if variants else None)


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


def place(where: Json) -> str:
    """A finding's ``where`` as a person writes it."""
    if where.get("instance"):
        return str(where["instance"])
    caller = str(where.get("caller") or "")
    if where.get("caller_operation"):
        caller += f".{where['caller_operation']}"
    callee = str(where.get("callee") or "")
    if callee and where.get("operation"):
        callee += f".{where['operation']}"
    text = f"{caller} → {callee}" if callee else caller
    return f"{text} ({where['protocol']})" if where.get("protocol") else text


def _middle(of: Json | float | None) -> float | None:
    if of is None or isinstance(of, int | float):
        return of
    value = of.get("p50")
    return float(value) if value is not None else None


def finding_row(finding: Json) -> FindingRow:
    low, high = finding.get("saving_ms") or (None, None)
    if low is None and high is None:
        saving = UNKNOWN
    elif low == high:
        saving = ms(high)
    elif low == 0:
        saving = f"up to {ms(high)}"
    else:
        saving = f"{ms(low)} to {ms(high)}"
    return FindingRow(
        kind=finding["kind"],
        place=place(finding["where"]),
        identity=(
            finding["kind"],
            *(str(value) for key, value in finding["where"].items() if key != "protocol"),
        ),
        text=finding.get("text") or "",
        cost=ms(_middle(finding.get("cost_ms"))),
        per_request=count(_middle(finding.get("count_per_request"))),
        saving=saving,
        confidence=str(finding.get("confidence") or ""),
        advice=one_line(finding["refactor"]) if finding.get("refactor") else "",
        evidence=tuple(
            Cited(item["trace_id"], tuple(item["span_ids"]), item.get("url"))
            for item in finding.get("evidence") or ()
        ),
        hops=tuple(
            f"{hop['service']}.{hop['operation']}: {ms(_middle(hop['duration_ms']))}, "
            f"own {ms(_middle(hop['self_ms']))}, transport {ms(_middle(hop['tax_ms']))}"
            for hop in finding.get("hops") or ()
        ),
    )


def _variant(
    variant: Json,
    trials: Sequence[Json],
    baseline: Json | None,
    *,
    planned: bool,
    broker: str | None,
) -> VariantView:
    """``planned``: the scenario says what it expects, so that what it does not is news."""
    mine = [trial for trial in trials if trial["variant"] == variant["name"]]
    counted = [trial for trial in mine if not trial["void"]] or mine
    critical: dict[tuple[str, str], list[tuple[float, float | None]]] = {}
    for trial in counted:
        for row in trial["critical_path"]:
            identity = (row["root"], f"{row['service']}.{row['operation']}")
            critical.setdefault(identity, []).append((row["share"], _middle(row["self_ms"])))
    path = []
    for (root, name), values in critical.items():
        known = [middle for _, middle in values if middle is not None]
        mean_share = sum(value for value, _ in values) / len(counted)
        path.append((root, name, mean_share, sum(known) / len(known) if known else None))
    entries = {row["entry"] for row in variant["entries"]}
    path.sort(key=lambda item: (item[0] not in entries, item[0], -item[2], item[1]))
    p50 = variant["response_p50_ms"]
    baseline_p50 = baseline["response_p50_ms"] if baseline else None
    findings = tuple(finding_row(finding) for finding in variant["findings"])
    minor = tuple(finding_row(finding) for finding in variant["minor"])
    there = {finding.identity for finding in (*findings, *minor)}
    before = [finding_row(finding) for finding in baseline["findings"]] if baseline else []
    loads = [trial["load"] for trial in counted]

    def mean(name: str) -> float | None:
        values = [load[name] for load in loads if load[name] is not None]
        return sum(values) / len(values) if values else None

    return VariantView(
        name=variant["name"],
        description=variant.get("description") or "",
        refactors=tuple(one_line(refactor) for refactor in variant["refactors"]),
        rounds=variant["rounds"],
        void_rounds=variant["void_rounds"],
        p50=p50,
        p95=variant["response_p95_ms"],
        p99=variant["response_p99_ms"],
        against_baseline=UNKNOWN if variant["name"] == BASELINE else ratio(p50, baseline_p50),
        entries=_entries(variant, baseline, counted),
        calls_per_request=variant["calls_per_request"],
        direct_tax=variant["direct_tax_ms"],
        findings=findings,
        minor=minor,
        gone=tuple(finding for finding in before if finding.identity not in there),
        kept=frozenset(f.identity for f in before) if variant is not baseline else frozenset(),
        expectations=tuple(
            ExpectationRow(item["kind"], one_line(item["where"]), item["met"])
            for item in variant["expectations"]
        ),
        unexpected=tuple(
            f"{finding['kind']} at {place(finding['where'])}"
            for finding in (variant.get("unexpected") or () if planned else ())
        ),
        edges=edge_rows(counted, broker),
        critical_path=tuple(path),
        sent=sum(load["sent"] for load in loads),
        failed=sum(load["failed"] for load in loads),
        dropped=sum(load["dropped"] for load in loads),
        offered_rps=mean("offered_rps"),
        achieved_rps=mean("achieved_rps"),
    )


def _entries(variant: Json, baseline: Json | None, trials: Sequence[Json]) -> tuple[EntryRow, ...]:
    before = {row["entry"]: row["response_p50_ms"] for row in (baseline or {}).get("entries", ())}
    rows = [row for trial in trials for row in trial["entries"]]
    by = "sampled" if any(row["sampled"] for row in rows) else "sent"
    counted: dict[str, int] = defaultdict(int)
    for row in rows:
        counted[row["entry"]] += row[by]
    total = sum(counted.values())
    return tuple(
        EntryRow(
            entry=row["entry"],
            share=counted[row["entry"]] / total if total else 0.0,
            p50=row["response_p50_ms"],
            against_baseline=UNKNOWN
            if variant is baseline
            else ratio(row["response_p50_ms"], before.get(row["entry"])),
            p95=row["response_p95_ms"],
            p99=row["response_p99_ms"],
        )
        for row in variant["entries"]
    )


def _doubts(summary: Json) -> tuple[Doubt, ...]:
    places: dict[tuple[str, str], list[str]] = {}
    voiding: set[tuple[str, str]] = set()
    for trial in summary["trials"]:
        for doubt in trial["doubts"]:
            identity = (doubt["code"], doubt["text"])
            places.setdefault(identity, []).append(f"{trial['variant']} round {trial['round'] + 1}")
            if doubt.get("voids"):
                voiding.add(identity)
    for doubt in summary.get("doubts") or ():
        places.setdefault((doubt["code"], doubt["text"]), []).append("the run")
    total = len(summary["trials"])
    rows = []
    for (code, text), where in places.items():
        spread = "every round" if len(where) == total > 1 else ", ".join(where)
        rows.append(Doubt(code, text, spread, (code, text) in voiding))
    rows.sort(key=lambda doubt: (not doubt.voids, doubt.code, doubt.text))
    return tuple(rows)


def _lead(summary: Json, variants: Sequence[VariantView]) -> tuple[str, ...]:
    base = _base(variants)
    if base is None:
        return ("No round was measured.",)
    lines = []
    if base.findings:
        worst = base.findings[0]
        more = len(base.findings) - 1
        lines.append(
            f"{base.name}: {plural(len(base.findings), 'finding')}. Costliest: {worst.kind} at "
            f"{worst.place}, {worst.cost} of the critical path"
            + (f", and {plural(more, 'more')[:-1] if more > 1 else '1 more'}." if more else ".")
        )
    else:
        lines.append(f"{base.name}: nothing was found above the thresholds.")
    for variant in variants:
        if variant is base:
            continue
        lines.append(
            f"{variant.name}: P50 {ms(base.p50)} → {ms(variant.p50)} "
            f"({ratio(variant.p50, base.p50)}), calls per request "
            f"{count(base.calls_per_request)} → {count(variant.calls_per_request)}, "
            f"findings {len(base.findings)} → {len(variant.findings)}."
        )
    if len(variants) > 1:
        fewest = min(v.rounds for v in variants)
        lines.append(f"{plural(fewest, 'round')} behind each figure: a measurement, not a verdict.")
    return tuple(lines)


def _packed(processes: int, trials: Sequence[Json]) -> str:
    """What it took, at worst, to have them all; an interrupted round may not know it."""
    text = f"services in {plural(processes, 'process', 'processes')}"
    if ready := [trial["start_s"] for trial in trials if trial.get("start_s") is not None]:
        text += f", ready in {max(ready):.1f} s"
    if memory := [trial["memory_mb"] for trial in trials if trial.get("memory_mb") is not None]:
        text += f", resident {max(memory):,.0f} MB"
    return text


def view(summary: Json) -> View:
    """The view of a ``hopbench.summary/1`` document."""
    trials = summary["trials"]
    base = next((v for v in summary["variants"] if v["name"] == BASELINE), None)
    planned = any(v["expectations"] for v in summary["variants"])
    variants = tuple(
        _variant(v, trials, base, planned=planned, broker=summary["broker"])
        for v in summary["variants"]
    )
    facts = [
        ("engine", f"{summary['engine']} ({summary['clock']} clock)"),
        ("instrumentation", summary["instrumentation"]),
        ("traces", summary["trace_store"]),
        ("seed", str(summary["seed"])),
        ("run", str(summary["run_dir"])),
    ]
    if (processes := summary.get("processes")) is not None:
        facts.insert(1, ("packed", _packed(processes, trials)))
    if summary["broker"]:
        facts.insert(1, ("broker", summary["broker"]))
    return View(
        title=summary["scenario"],
        facts=tuple(facts),
        headline=summary["headline"],
        lead=_lead(summary, variants),
        variants=variants,
        doubts=_doubts(summary),
    )


def errors(row: EdgeRow) -> str:
    return UNKNOWN if row.calls == 0 else f"{row.errors:,} ({share(row.errors / row.calls)})"
