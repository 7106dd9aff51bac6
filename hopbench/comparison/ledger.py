"""What equals have shown here before: the null pairs of earlier comparisons, in one small Parquet.

It lies beside the runs, as ``runs/ledger.parquet``; a run elsewhere (``--out``) is not in it. From
it is told, before load starts, what so many pairs can tell here, and whether rounds of one variant
are called different more often than the level allows: that would be a fault of the procedure,
whatever the machine does (docs/measurement.md, "Verdicts: is the level kept").
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import polars as pl

from hopbench import disk
from hopbench.comparison.metrics import METRICS
from hopbench.engines.port import EMBEDDED
from hopbench.host.machine import cpu_model
from hopbench.runs.directory import RUNS, RunDir
from hopbench.runs.plan import RunPlan
from hopbench.statistics import Floats, binomial, blocks
from hopbench.statistics.blocks import PAIRS
from hopbench.statistics.power import foresee
from hopbench.statistics.signed_rank import signed_rank
from services.errors import BadInput
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
    """Equal where what equals show may be put together: machine, scenario, design, load."""
    settings, load = planned.settings, planned.scenario.load
    assert planned.design is not None
    like = {
        "cpu": cpu_model(),
        "cores": sorted(usable_cores()),
        "engine": settings.engine,
        "broker": settings.broker if settings.broker == EMBEDDED else "kafka",
        "tracing": [settings.tracing, settings.trace_ratio, settings.instrumentation],
        "workers": settings.workers,
        "scenario": planned.sha256,
        "variant": planned.design.arms[0],
        "design": "rounds",
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


def record(path: Path, planned: RunPlan, run: RunDir, nulls: Mapping[str, Floats]) -> None:
    """``nulls``: log ratios of the null pairs by metric, (blocks, 2). A run that is told again
    replaces what it said before."""
    load = planned.scenario.load
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


def known(path: Path, planned: RunPlan, metric: str) -> tuple[Floats, ...]:
    """The null pairs of each comparison like this one, (blocks, 2)."""
    found = read(path).filter((pl.col("key") == key(planned)) & (pl.col("metric") == metric))
    return tuple(map(_pairs, found["null"]))


def rate(path: Path, planned: RunPlan) -> Rate | None:
    """By the primary metric; None where nothing is known."""
    assert planned.design is not None
    alpha = planned.design.alpha
    return _rate(known(path, planned, planned.design.metric), alpha)


def whole(path: Path) -> Rate | None:
    """Of all comparisons that are written down, by the P50 and at ALPHA."""
    rows = read(path).filter(pl.col("metric") == TOLD[0])
    return _rate(tuple(map(_pairs, rows["null"])), ALPHA)


def _rate(found: Sequence[Floats], alpha: float) -> Rate | None:
    if not found:
        return None
    called = sum(signed_rank(blocks.units(each)).p() <= alpha for each in found)
    return Rate(
        comparisons=len(found),
        pairs=sum(each.size for each in found),
        called=called,
        rate=called / len(found),
        interval=binomial.interval(called, len(found), alpha),
    )


def _pairs(null: object) -> Floats:
    return np.asarray(null, np.float64).reshape(-1, PAIRS)


def foresight(path: Path, planned: RunPlan) -> str:
    """What the pairs of the plan can tell here, as far as earlier comparisons know."""
    assert planned.design is not None
    design = planned.design
    told: list[str] = []
    for metric in dict.fromkeys((design.metric, *TOLD)):
        found = known(path, planned, metric)
        if found:
            effect = foresee(np.concatenate(found), design.pairs, design.alpha).detectable
            told.append(f"{100 * effect:.2g} % at {METRICS[metric].text}")
    if not told:
        return f"what {design.pairs} pairs can tell is not known here yet"
    return f"{design.pairs} pairs here can tell {', '.join(told)}"


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody else writes the ledger meanwhile."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
