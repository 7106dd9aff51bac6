"""What equals have shown here before: the null pairs of earlier comparisons, in one small Parquet.

It lies beside the runs, as ``runs/ledger.parquet``; a run that lies elsewhere is not in it. From it
is told, before load starts, what so many pairs can tell here, and whether rounds of one variant
are called different more often than the level allows: that would be a fault of the procedure,
whatever the machine does (docs/measurement.md, "Verdicts: is the level kept").
"""

from __future__ import annotations

import fcntl
import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import polars as pl

from analysis.figures import least
from hopbench import disk
from hopbench.comparison.metrics import METRICS, family
from hopbench.engines.port import EMBEDDED
from hopbench.host.machine import cpu_model
from hopbench.runs.directory import RUNS, RunDir
from hopbench.runs.environment import versions
from hopbench.runs.plan import RunPlan
from hopbench.statistics import Floats, binomial, blocks
from hopbench.statistics.blocks import PAIRS
from hopbench.statistics.power import foresee
from hopbench.statistics.signed_rank import needed, signed_rank
from services.errors import BadInput
from services.scenario.file.writer import to_yaml
from services.system.cores import usable_cores

FILE: Final = "ledger.parquet"
TOLD: Final = ("response_p50", "response_p95", "response_p99")
"""Metrics that are written down, beside the primary one."""
ALPHA: Final = 0.05
"""Where no comparison says another."""
TOO_OFTEN: Final = 2.0
"""Times what the level allows; a rate surely above it is a doubt."""
_COLUMNS: Final = pl.Schema(
    {
        "key": pl.String(),
        "run": pl.String(),
        "scenario": pl.String(),
        "engine": pl.String(),
        "load": pl.String(),
        "metric": pl.String(),
        "null": pl.List(pl.Float64()),
    }
)


@dataclass(frozen=True, slots=True)
class Rate:
    """Of comparisons like this one, this one among them: how often equals were called different."""

    comparisons: int
    pairs: int
    called: int
    rate: float
    interval: tuple[float, float]
    """Clopper and Pearson's, at the level."""

    def too_often(self, alpha: float) -> bool:
        return self.interval[0] > TOO_OFTEN * alpha


def beside(run: RunDir) -> Path | None:
    """The ledger that a run belongs into; None of one that lies by itself."""
    parent = run.path.absolute().parent
    return parent / FILE if parent.name == RUNS else None


def key(planned: RunPlan) -> str:
    """Equal where what equals show may be put together: machine and libraries, scenario, arms,
    design, load."""
    settings, load = planned.settings, planned.scenario.load
    assert planned.design is not None
    like = {
        "cpu": cpu_model(),
        "cores": sorted(usable_cores()),
        "system": [platform.release(), platform.python_version()],
        "libraries": versions(),
        "engine": settings.engine,
        "broker": settings.broker if settings.broker == EMBEDDED else "kafka",
        "tracing": [settings.tracing, settings.trace_ratio, settings.instrumentation],
        "workers": settings.workers,
        "scenario": planned.sha256,
        "others": [to_yaml(replace(each, seed=0)) for each in planned.others.values()],
        # Whose null pairs are put together.
        "arms": planned.design.arms[:2],
        "design": planned.design.kind,
        "load": [str(load.pace), load.warmup_ns, load.duration_ns],
    }
    return blake2b(orjson.dumps(like), digest_size=12).hexdigest()


def read(path: Path) -> pl.DataFrame:
    """Empty where there is none. Raises BadInput for what is no ledger."""
    if not path.is_file():
        return pl.DataFrame(schema=_COLUMNS)
    try:
        return pl.read_parquet(path, glob=False).select(_COLUMNS.names()).cast(_COLUMNS)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadInput(
            f"is no ledger of hopbench: {str(error).splitlines()[0]}",
            file=str(path),
            hint="move it away: a new one begins",
        ) from error


def record(planned: RunPlan, run: RunDir, nulls: Mapping[str, Floats]) -> None:
    """``nulls``: log ratios of the null pairs by metric, (blocks, 2). A run that is resumed
    replaces what it said before; one that lies elsewhere has no ledger."""
    path, load = beside(run), planned.scenario.load
    if path is None or not nulls:
        return
    new = pl.DataFrame(
        [
            {
                "key": key(planned),
                "run": run.path.name,
                "scenario": planned.scenario.name,
                "engine": planned.settings.engine,
                "load": f"{load.pace}, {load.duration_ns / 1e9:g} s",
                "metric": metric,
                "null": found.ravel().tolist(),
            }
            for metric, found in nulls.items()
        ],
        schema=_COLUMNS,
    )
    with _alone(path.parent):
        others = read(path).filter(pl.col("run") != run.path.name)
        with disk.whole(path) as file:
            pl.concat([others, new]).write_parquet(file)


def known(path: Path, planned: RunPlan, metric: str, but: str = "") -> tuple[Floats, ...]:
    """The null pairs of comparisons like this one, (blocks, 2); not of the run named ``but``."""
    like = (pl.col("key") == key(planned)) & (pl.col("metric") == metric)
    found = read(path).filter(like & (pl.col("run") != but))
    return tuple(map(_pairs, found["null"]))


def rate(run: RunDir, planned: RunPlan, null: Floats | None) -> Rate | None:
    """By the primary metric, with what this run says of it: ``null``. None where nothing is known,
    and of a run that lies elsewhere."""
    assert planned.design is not None
    path, metric, alpha = beside(run), planned.design.metric, planned.design.alpha
    if path is None:
        return None
    try:
        others = known(path, planned, metric, but=run.path.name)
    except BadInput:
        # Told where it is written to: the verdict stands without.
        others = ()
    return _rate(others if null is None else (*others, null), alpha)


def whole(path: Path) -> Rate | None:
    """Of all comparisons that are written down, by the P50 and at ALPHA."""
    rows = read(path).filter(pl.col("metric") == TOLD[0])
    return _rate(tuple(map(_pairs, rows["null"])), ALPHA)


def _rate(found: Sequence[Floats], alpha: float) -> Rate | None:
    able = [each for each in found if blocks.unit_count(len(each)) >= needed(alpha)]
    if not able:
        return None
    called = sum(signed_rank(blocks.units(each)).p() <= alpha for each in able)
    return Rate(
        comparisons=len(able),
        pairs=sum(each.size for each in able),
        called=called,
        rate=called / len(able),
        interval=binomial.interval(called, len(able), alpha),
    )


def _pairs(null: object) -> Floats:
    return np.asarray(null, np.float64).reshape(-1, PAIRS)


def foresight(path: Path, planned: RunPlan) -> str:
    """What the pairs of the plan can tell here, as far as earlier comparisons know."""
    assert planned.design is not None
    design, entries = planned.design, len(planned.scenario.load.entries)
    told, silent = [], []
    for metric in dict.fromkeys((design.metric, *TOLD)):
        # As Holm would at worst: one of the arms, or one of the other figures.
        others = len(design.arms) - 1 if metric == design.metric else family(entries, design.arms)
        found, text = known(path, planned, metric), METRICS[metric].text
        if not found:
            silent.append(text)
            continue
        effect = foresee(np.concatenate(found), design.pairs, design.alpha / others).detectable
        if math.isfinite(effect):
            told.append(f"{least(effect)} at {text}")
        else:
            silent.append(text)
    if not told:
        return f"what {design.pairs} pairs can tell is not known here yet"
    rest = f"; {', '.join(silent)} cannot be told" if silent else ""
    return f"{design.pairs} pairs here can tell {', '.join(told)}{rest}"


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody else writes the ledger meanwhile."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
