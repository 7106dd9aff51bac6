"""``--until``: after each block, whether the interval is as narrow as declared by now.

The rule (hopbench/statistics/stopping.py) looks at null pairs alone, and so does this: whether
rounds are void is found out later, and their blocks are measured once more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from hopbench.comparison.measured import SAMPLES, Entries, entries, whole
from hopbench.comparison.metrics import METRICS
from hopbench.results import latency
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan, Turn
from hopbench.runs.repeats import complete
from hopbench.statistics import blocks, stopping


@dataclass(slots=True)
class Looks:
    """At a run that goes on."""

    planned: RunPlan
    run: RunDir
    _seen: dict[tuple[int, int], float | None] = field(default_factory=dict)
    """The primary metric, by round and the time its samples were written."""

    def needed(self) -> int:
        """How many blocks: those that there are where they are enough, else the most."""
        design = self.planned.design
        assert design is not None
        done = complete(self.planned, self.run)
        return done if self._enough(done) else design.blocks

    def enough(self) -> bool:
        return self._enough(complete(self.planned, self.run))

    def _enough(self, done: int) -> bool:
        design, seed = self.planned.design, self.planned.scenario.seed
        assert design is not None
        if design.until is None or done < stopping.FIRST:
            return False
        values = [[self._value(turn) for turn in block] for block in self.planned.blocks[:done]]
        if any(value is None for block in values for value in block):
            return False
        logs = np.log(np.array(values, np.float64))
        drawn = design.orders(seed)[:done]
        each = [blocks.null(logs, drawn, arm, seed) for arm in range(len(design.arms))]
        # The least part of the level that Holm leaves to one of the arms.
        alpha = design.alpha / (len(design.arms) - 1)
        return stopping.enough(np.stack(each, axis=1), design.until, alpha)

    def _value(self, turn: Turn) -> float | None:
        place = self.run.trial(turn.round, turn.variant).samples
        if not place.is_file():
            # It was stopped between its end and its tables.
            return None
        at = turn.round, place.stat().st_mtime_ns
        if at not in self._seen:
            of = entries(self.planned.scenario, self.planned.scenarios[turn.variant])
            self._seen[at] = self._read(pl.read_parquet(place, columns=SAMPLES, glob=False), of)
        return self._seen[at]

    def _read(self, samples: pl.DataFrame, of: Entries) -> float | None:
        design, settings = self.planned.design, self.planned.settings
        assert design is not None
        kind = latency.headline(settings.tracing, settings.trace_ratio)
        value = whole(METRICS[design.metric], samples, of, kind)
        return value if value is not None and 0 < value < math.inf else None
