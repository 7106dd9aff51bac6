"""What may be wrong with a verdict: with its rounds, with how many there are, with the run."""

from __future__ import annotations

from collections.abc import Iterator

from hopbench.comparison.document import RaisedDoubt
from hopbench.comparison.ledger import Rate
from hopbench.comparison.metrics import METRICS
from hopbench.results.summary import Summary
from hopbench.runs.design import Design
from hopbench.statistics.blocks import BY_BLOCK, PAIRS
from hopbench.statistics.effect import fewest_pairs
from services.doubts import Code


def doubts_of(
    design: Design,
    summary: Summary,
    valid: int,
    missing: int,
    rate: Rate | None,
    *,
    tells: bool,
) -> tuple[RaisedDoubt, ...]:
    """``valid`` pairs are left, ``missing`` rounds did not run; those that void come first."""
    found = [
        *_of_pairs(design, summary, valid, missing, tells=tells),
        *_of_ledger(design, rate),
        *(RaisedDoubt(d.code.value, d.text, None, d.code.voids) for d in summary.doubts),
        *_of_rounds(summary),
    ]
    return tuple(sorted(found, key=lambda doubt: not doubt.voids))


def _of_pairs(
    design: Design, summary: Summary, valid: int, missing: int, *, tells: bool
) -> Iterator[RaisedDoubt]:
    fewest = fewest_pairs(design.alpha, len(design.arms) - 1)
    if missing:
        yield _whole(
            Code.UNFINISHED,
            f"{missing} of {2 * len(design.arms) * design.blocks} rounds did not run: "
            f"hopbench compare --resume {summary.run_dir}",
        )
    if valid < fewest:
        yield _whole(
            Code.FEW_PAIRS,
            f"{valid} of {design.pairs} pairs are of blocks without a void round; {fewest} are "
            "the fewest that can call anything",
        )
    elif valid < PAIRS * BY_BLOCK:
        yield _whole(
            Code.PAIRS_AS_UNITS,
            f"{valid} pairs: fewer than {PAIRS * BY_BLOCK} are taken as independent one by one",
        )
    if valid and not tells:
        yield _whole(
            Code.NOT_IDENTIFIABLE,
            f"not every round tells {METRICS[design.metric].text}: a longer --duration, or a "
            "lower quantile",
        )


def _of_ledger(design: Design, rate: Rate | None) -> Iterator[RaisedDoubt]:
    if rate is not None and rate.too_often(design.alpha):
        yield _whole(
            Code.NULL_OFF,
            f"{rate.called} of {rate.comparisons} comparisons like this one called equals "
            f"different; the level allows {100 * design.alpha:.2g} %",
        )


def _of_rounds(summary: Summary) -> Iterator[RaisedDoubt]:
    """Each code once, with what its first round said."""
    texts: dict[Code, str] = {}
    counts: dict[Code, int] = {}
    for trial in summary.trials:
        for doubt in trial.doubts:
            texts.setdefault(doubt.code, doubt.text)
            counts[doubt.code] = counts.get(doubt.code, 0) + 1
    for code, text in texts.items():
        # A void round is left out with its block: it voids no comparison by itself.
        yield RaisedDoubt(code.value, text, counts[code], voids=False)


def _whole(code: Code, text: str) -> RaisedDoubt:
    return RaisedDoubt(code.value, text, None, code.voids)
