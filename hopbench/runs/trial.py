"""A trial: what one round left in its directory, read back, and what it says by itself.

Basis (docs/measurement.md, "What the figures cover"): times and rates are of requests due in the
measured phase; edges and the critical path of those among them that were sampled and whose trace is
complete. Samples and spans are joined by trace id, because their clocks differ.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.reading.inputs import read_spools
from analysis.spans.parquet import read_parquet, write_parquet
from analysis.spans.table import SpanTable, empty
from hopbench import disk
from hopbench.engines import is_virtual
from hopbench.engines.port import Evidence, RoundPlan, Settings
from hopbench.runs import evidence, metrics
from hopbench.runs.directory import RunDir, TrialDir
from hopbench.runs.environment import Environment
from hopbench.runs.metrics import Point
from hopbench.runs.plan import RunPlan, Turn
from loadgen.schedule import Schedule, arrivals, taken
from loadgen.slices import Slices, sliced
from loadgen.spool import reader as spools
from services.errors import BadInput


@dataclass(frozen=True, slots=True)
class Trial:
    """One round, read back. Rounds that broke off have what their spools held."""

    turn: Turn
    plan: RoundPlan
    settings: Settings
    directory: TrialDir
    evidence: Evidence | None
    """None where the round did not end."""
    repeats: int
    environment: Environment | None
    """None where it did not begin."""
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


@dataclass(frozen=True, slots=True)
class Tables:
    """What one round recorded: the columns of samples.parquet, spans.parquet and
    metrics.parquet."""

    samples: pl.DataFrame
    spans: SpanTable
    points: tuple[Point, ...]


def settle(place: TrialDir, variant: str, slices: Slices | None = None) -> Tables | None:
    """Turn the spools of a round that is over into Parquet; None where there are none left.

    The spools go when every table stands, so that whatever ends this in between loses nothing: the
    next one begins anew, or goes on removing them. Those of a round that did not end stay: what a
    killed bench has left may be writing still. Whoever calls it has claimed the run. ``slices`` are
    those of the round's plan.
    """
    tables = None
    if place.spools and not place.settled.exists():
        tables = _made(place, variant, slices)
        if not place.evidence.is_file():
            return tables
        place.settled.touch()
    for spool in place.spools:
        spool.unlink()
    return tables


def _made(place: TrialDir, variant: str, slices: Slices | None) -> Tables:
    begun = [spool for spool in place.samples_spools if spools.begun(spool)]
    samples = spools.samples(begun) if begun else spools.COLUMNS.empty_table()
    if begun and slices is not None:
        samples = _by_own_time(samples, slices, spools.read(begun[0]).start_ns)
    with disk.whole(place.samples) as file:
        pq.write_table(samples, file)
    frame = _frame(samples)
    traces = [path for path in (place.traces_spool, place.jaeger_spool) if path.is_file()]
    spans = read_spools(traces) if traces else empty()
    phases = dict(frame.select("trace_id", "phase").drop_nulls().iter_rows())
    spans = spans.named(variant=variant, phase=[phases.get(trace, "") for trace in spans.trace_ids])
    with disk.whole(place.spans) as file:
        write_parquet(spans, file)
    points = (
        tuple(metrics.read_points(place.metrics_spool)) if place.metrics_spool.is_file() else ()
    )
    with disk.whole(place.metrics) as file:
        metrics.write_parquet(points, file)
    return Tables(frame, spans, points)


def _by_own_time(samples: pa.Table, slices: Slices, zero_ns: int) -> pa.Table:
    """As if the round had had its sitting to itself (loadgen/slices.py): everything that reads
    samples knows one schedule's time."""
    due = samples["intended_ns"].to_numpy() - zero_ns
    for name in ("intended_ns", "sent_ns", "done_ns"):
        column = samples[name]
        at = column.fill_null(0).to_numpy() - zero_ns
        own = slices.own(due, at) + zero_ns
        moved = pa.array(own, column.type, mask=column.is_null().to_numpy())
        number = samples.schema.get_field_index(name)
        samples = samples.set_column(number, samples.schema.field(number), moved)
    return samples


def _kept(place: TrialDir) -> Tables:
    """What an earlier :func:`settle` has made; a round that recorded nothing has none.

    Raises BadInput for a table that is damaged.
    """
    try:
        return Tables(
            pl.read_parquet(place.samples, glob=False)
            if place.samples.is_file()
            else _frame(spools.COLUMNS.empty_table()),
            read_parquet(place.spans) if place.spans.is_file() else empty(),
            tuple(metrics.read_parquet(place.metrics)) if place.metrics.is_file() else (),
        )
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise BadInput(
            f"has a table that nobody can read: {str(error).splitlines()[0]}",
            file=str(place.path),
            hint="remove this directory, and run the round again: --resume",
        ) from error


def _frame(table: pa.Table) -> pl.DataFrame:
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


def _asked(plan: RoundPlan, settings: Settings, samples: pl.DataFrame) -> Schedule:
    """What the round was to send; of a closed load, what its users took."""
    load = plan.scenario.load
    schedule = arrivals(
        load,
        plan.seed,
        trace_ratio=settings.trace_ratio if settings.tracing else 0.0,
        trace_salt=plan.trace_salt,
    )
    schedule = sliced(schedule, plan.slices)
    if load.pace.model == "closed":
        return taken(load, schedule, samples["seq"].to_numpy(), settings.workers)
    return schedule


def read(run: RunDir, plan: RunPlan, turn: Turn) -> Trial | None:
    """The trial of one round of the plan; None where it was never begun. Whoever calls it has
    claimed the run."""
    place = run.trial(turn.round, turn.variant)
    if not place.path.is_dir():
        return None
    round_plan = plan.round_plan(turn)
    settings = round_plan.settings(plan.settings)
    slices = None if is_virtual(settings) else round_plan.slices
    tables = settle(place, turn.variant, slices) or _kept(place)
    ended = evidence.written(place)
    return Trial(
        turn=turn,
        plan=round_plan,
        settings=settings,
        directory=place,
        evidence=None if ended is None else ended.evidence,
        repeats=0 if ended is None else ended.repeats,
        environment=evidence.read_file(Environment, place.environment),
        schedule=_asked(round_plan, settings, tables.samples),
        samples=tables.samples,
        spans=tables.spans,
        points=tables.points,
    )
