"""A summary as its report shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from analysis.figures import plural, ratio, span
from analysis.findings.finding import saves_at
from analysis.report.calls import edge_views, service_views
from analysis.report.view import (
    DoubtView,
    EntryView,
    ExpectationView,
    VariantView,
    View,
    finding_view,
    marked,
    one_line,
    path_views,
    place,
)
from hopbench.results.round import Account, usable
from hopbench.results.summary import Summary
from hopbench.results.variant import VariantRow
from hopbench.runs.directory import RunDir
from services.doubts import Code
from services.scenario.refactors import BASELINE


def view(summary: Summary) -> View:
    load = summary.load
    facts = [
        *([("measured", _moment(summary.began))] if summary.began else []),
        (
            "load",
            f"{load.model}: {load.pace}, {load.duration_s:g} s after {load.warmup_s:g} s",
        ),
        ("engine", f"{summary.engine} ({summary.clock} clock)"),
        ("instrumentation", summary.instrumentation),
        ("traces", summary.trace_store),
        ("seed", str(summary.seed)),
        ("run", summary.run_dir),
    ]
    if summary.broker:
        facts.append(("broker", summary.broker))
    if repeats := sum(trial.repeats for trial in summary.trials):
        facts.append(("repeated", plural(repeats, "round")))
    if summary.processes is not None:
        facts.append(("packed", _packed(summary.processes, summary.trials)))
    if (around := summary.environment) and summary.clock == "wall":
        cores = f"{around['cores']} cores, {around['cpu_model'] or 'unknown CPU'}"
        facts += [("host", f"{around['host']}, {cores}"), ("code", around["code"])]
    baseline = next((v for v in summary.variants if v.name == BASELINE), None)
    return View(
        title=summary.scenario,
        facts=tuple(facts),
        headline=summary.headline,
        closed=load.model == "closed",
        variants=marked([_variant(summary, v, baseline) for v in summary.variants]),
        doubts=_doubts(summary),
        environment=tuple(_flat(summary.environment)),
    )


def _variant(summary: Summary, variant: VariantRow, baseline: VariantRow | None) -> VariantView:
    mine = summary.of(variant)
    counted = usable(mine)
    loads = [trial.load for trial in counted]
    findings = tuple(map(finding_view, variant.findings))
    minor = tuple(map(finding_view, variant.minor))
    there = {finding.identity for finding in (*findings, *minor)}
    before = () if baseline is None else tuple(map(finding_view, baseline.findings))
    # What a scenario that expects nothing does not expect is no news.
    planned = any(v.expectations for v in summary.variants)
    against = baseline if baseline and _comparable(summary, variant, baseline) else None
    run = RunDir(Path(summary.run_dir))
    places = [run.trial(trial.round, trial.variant) for trial in counted]
    return VariantView(
        name=variant.name,
        description=variant.description,
        refactors=tuple(map(one_line, variant.refactors)),
        rounds=variant.rounds,
        void_rounds=variant.void_rounds,
        unmeasured=_unmeasured(summary, variant),
        p50=variant.response_p50_ms,
        p95=variant.response_p95_ms,
        p99=variant.response_p99_ms,
        p99_pooled=variant.response_p99_pooled_ms,
        against_baseline=ratio(
            variant.response_p50_ms, None if against is None else against.response_p50_ms
        ),
        promised="" if baseline is None else _promised(variant, baseline),
        saved=_saved(variant, against),
        entries=_entries(variant, against, counted),
        calls_per_request=variant.calls_per_request,
        direct_tax=variant.direct_tax_ms,
        findings=findings,
        minor=minor,
        gone=()
        if _unmeasured(summary, variant)
        else tuple(finding for finding in before if finding.identity not in there),
        kept=frozenset(f.identity for f in before) if variant is not baseline else frozenset(),
        expectations=tuple(
            ExpectationView(e.kind, one_line(e.where), e.met) for e in variant.expectations
        ),
        unexpected=tuple(
            f"{f.kind} at {place(f.where)}" for f in (variant.unexpected if planned else ())
        ),
        edges=edge_views(
            (edge for trial in counted for edge in trial.edges),
            traced=sum(trial.requests.complete > 0 for trial in counted),
            broker=summary.broker,
        ),
        services=service_views(row for trial in counted for row in trial.services),
        critical_path=path_views(
            [trial.critical_path for trial in counted],
            frozenset(row.entry for row in variant.entries),
        ),
        sent=sum(load.sent for load in loads),
        failed=sum(load.failed for load in loads),
        dropped=sum(load.dropped for load in loads),
        achieved_rps=fmean(load.achieved_rps for load in loads) if loads else None,
        timeline=next((trial.timeline for trial in counted if trial.timeline), ()),
        samples=tuple(place.samples for place in places if place.samples.is_file()),
        spans=tuple(place.spans for place in places if place.spans.is_file()),
    )


def _moment(began: str) -> str:
    return f"{datetime.fromisoformat(began):%Y-%m-%d %H:%M} UTC"


def _promised(variant: VariantRow, baseline: VariantRow) -> str:
    """A finding's refactor counts where the variant applies it at the same place, to whatever
    extent; not one whose saving is of another percentile."""
    applied = {(r["op"], r.get("edge", r.get("at"))) for r in variant.refactors}
    low = high = 0.0
    for finding in baseline.findings:
        proposed = finding.refactor
        if proposed is None or (proposed["op"], proposed.get("edge", proposed.get("at"))) not in (
            applied
        ):
            continue
        if saves_at(proposed["op"]) != 50:
            continue
        least, most = finding.saving_ms
        low, high = low + (least or 0.0), high + (most or 0.0)
    return span(low, high)


def _comparable(summary: Summary, variant: VariantRow, baseline: VariantRow) -> bool:
    """A closed load waits for answers, an open one does not: their figures are of different
    things. So are those of void rounds and of valid ones."""
    models = {t.load.model for v in (variant, baseline) for t in usable(summary.of(v))}
    return variant is not baseline and variant.valid == baseline.valid and len(models) <= 1


def _saved(variant: VariantRow, against: VariantRow | None) -> float | None:
    if against is None:
        return None
    before, after = against.response_p50_ms, variant.response_p50_ms
    return None if before is None or after is None else before - after


def _unmeasured(summary: Summary, variant: VariantRow) -> str:
    if not variant.rounds:
        return "it has not run"
    if not variant.valid:
        return "no round is valid"
    if not summary.tracing:
        return "it ran without traces"
    return "" if variant.complete_traces else "no trace is complete"


def _entries(
    variant: VariantRow, against: VariantRow | None, trials: Sequence[Account]
) -> tuple[EntryView, ...]:
    rows = () if against is None else against.entries
    before = {(e.entry, e.protocol): e.response_p50_ms for e in rows}
    sampled: Counter[tuple[str, str]] = Counter()
    sent: Counter[tuple[str, str]] = Counter()
    for of in (of for trial in trials for of in trial.entries):
        sampled[of.entry, of.protocol] += of.sampled
        sent[of.entry, of.protocol] += of.sent
    requests = sampled if sampled.total() else sent
    ways = Counter(row.entry for row in variant.entries)
    return tuple(
        EntryView(
            entry=row.entry if ways[row.entry] == 1 else f"{row.entry} ({row.protocol})",
            share=requests[row.entry, row.protocol] / requests.total() if requests.total() else 0.0,
            p50=row.response_p50_ms,
            against_baseline=ratio(row.response_p50_ms, before.get((row.entry, row.protocol))),
            p95=row.response_p95_ms,
            p99=row.response_p99_ms,
            p99_pooled=row.response_p99_pooled_ms,
        )
        for row in variant.entries
    )


def _doubts(summary: Summary) -> tuple[DoubtView, ...]:
    """Each once, with all that raised it; what voids is first, then that nothing was measured."""
    places: dict[tuple[str, str], list[str]] = {}
    voiding: set[tuple[str, str]] = set()
    for trial in summary.trials:
        for doubt in trial.doubts:
            identity = (doubt.code.value, doubt.text)
            places.setdefault(identity, []).append(f"{trial.variant} round {trial.round}")
            if doubt.voids:
                voiding.add(identity)
    for of_run in summary.doubts:
        places.setdefault((of_run.code.value, of_run.text), []).append("the run")
    rows = [
        DoubtView(
            code=code,
            text=text,
            where="every round" if len(where) == len(summary.trials) > 1 else ", ".join(where),
            voids=(code, text) in voiding,
            mend=Code(code).mend,
        )
        for (code, text), where in places.items()
    ]

    def order(doubt: DoubtView) -> tuple[bool, bool, str, str]:
        return not doubt.voids, doubt.code != Code.VIRTUAL_CLOCK.value, doubt.code, doubt.text

    return tuple(sorted(rows, key=order))


def _packed(processes: int, trials: Sequence[Account]) -> str:
    """What it took, at worst, to have them all; an interrupted round may not know it."""
    text = f"services in {plural(processes, 'process', 'processes')}"
    if ready := [trial.start_s for trial in trials if trial.start_s is not None]:
        text += f", ready in {max(ready):.1f} s"
    if memory := [trial.memory_mb for trial in trials if trial.memory_mb is not None]:
        text += f", resident {max(memory):,.0f} MB"
    return text


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as dotted names, for a table."""
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            yield from _flat(item, f"{name}.")
        elif isinstance(item, list | tuple):
            yield name, ", ".join(str(one) for one in item)
        else:
            yield name, "" if item is None else str(item)
