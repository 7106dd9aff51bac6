"""A trial: what one round left in its directory, read back, and what it says by itself.

Basis (OUTPUT.md): times and rates are of requests due in the measured phase; edges and the critical
path of those among them that were sampled and whose trace is complete. Samples and spans are
joined by trace id, because their clocks differ.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from analysis.reading.inputs import read_spools
from analysis.spans.parquet import read_parquet, write_parquet
from analysis.spans.table import SpanTable, empty
from hopbench.engines.port import Evidence, RoundPlan, Settings
from hopbench.runs import evidence, metrics
from hopbench.runs.directory import RunDir, TrialDir
from hopbench.runs.metrics import Point
from hopbench.runs.plan import RunPlan, Turn
from loadgen.schedule import Schedule, arrivals
from loadgen.spool import reader as spools


@dataclass(frozen=True, slots=True)
class Trial:
    """One round, read back. Rounds that broke off have what their spools held."""

    turn: Turn
    plan: RoundPlan
    settings: Settings
    directory: TrialDir
    evidence: Evidence | None
    """None where the round did not end."""
    schedule: Schedule
    samples: pl.DataFrame
    """The columns of samples.parquet, all phases, in order of ``seq``."""
    spans: SpanTable
    """Everything that arrived."""
    points: tuple[Point, ...]

    @property
    def asked(self) -> pl.DataFrame:
        """Sampled requests of the measured phase that were sent."""
        return self.samples.filter(
            (pl.col("phase") == "measured") & pl.col("sampled") & pl.col("sent_ns").is_not_null()
        )

    def measured_spans(self) -> SpanTable:
        """The traces of :attr:`asked`, complete or not."""
        wanted = self.spans.trace_ids.is_in(self.asked["trace_id"].to_list())
        return self.spans.select(wanted.to_numpy())


def clear(place: TrialDir) -> None:
    """An empty directory, whatever an earlier attempt at this round left."""
    shutil.rmtree(place.path, ignore_errors=True)
    place.path.mkdir(parents=True)


def settle(place: TrialDir, variant: str) -> None:
    """Turn the spools of a round that ended, or broke off, into Parquet.

    The spools of a round that ended go when their tables are written. Those of one that did not
    stay: it may be running still. Without spools nothing happens.
    """
    ended = place.evidence.is_file()
    found = place.samples_spools
    if begun := [spool for spool in found if spools.begun(spool)]:
        spools.write_parquet(begun, place.samples)
    for spool in found:
        _done(spool, ended)
    traces = [path for path in (place.traces_spool, place.jaeger_spool) if path.is_file()]
    if traces:
        spans = read_spools(traces)
        phases = dict(_samples(place).select("trace_id", "phase").drop_nulls().iter_rows())
        write_parquet(
            spans.named(
                variant=variant,
                phase=[phases.get(trace, "") for trace in spans.trace_ids],
            ),
            place.spans,
        )
        for path in traces:
            _done(path, ended)
    if place.metrics_spool.is_file():
        metrics.write_parquet(list(metrics.read_points(place.metrics_spool)), place.metrics)
        _done(place.metrics_spool, ended)


def _done(spool: Path, ended: bool) -> None:
    if ended:
        spool.unlink()


def read(run: RunDir, plan: RunPlan, turn: Turn) -> Trial | None:
    """The trial of one round of the plan; None where it was never begun."""
    place = run.trial(turn.round, turn.variant)
    if not place.path.is_dir():
        return None
    settle(place, turn.variant)
    round_plan = plan.round_plan(turn)
    settings = plan.settings
    return Trial(
        turn=turn,
        plan=round_plan,
        settings=settings,
        directory=place,
        evidence=evidence.read(place, round_plan),
        schedule=arrivals(
            round_plan.scenario.load,
            turn.seed,
            trace_ratio=settings.trace_ratio if settings.tracing else 0.0,
            trace_salt=round_plan.trace_salt,
        ),
        samples=_samples(place),
        spans=read_parquet(place.spans) if place.spans.is_file() else empty(),
        points=tuple(metrics.read_parquet(place.metrics)) if place.metrics.is_file() else (),
    )


def _samples(place: TrialDir) -> pl.DataFrame:
    if place.samples.is_file():
        return pl.read_parquet(place.samples, glob=False)
    found = pl.from_arrow(spools.COLUMNS.empty_table())
    assert isinstance(found, pl.DataFrame)
    return found
