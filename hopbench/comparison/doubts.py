"""What may be wrong with a verdict: with its rounds, with how many there are, with the run."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.figures import plural
from hopbench.comparison.document import RaisedDoubt, Voided
from hopbench.comparison.ledger import Rate
from hopbench.comparison.metrics import METRICS
from hopbench.comparison.side import Side
from hopbench.results.summary import Summary
from hopbench.runs.design import Design
from hopbench.statistics import binomial
from hopbench.statistics.blocks import BY_BLOCK, PAIRS
from hopbench.statistics.effect import fewest_pairs
from hopbench.statistics.stopping import FIRST
from services.doubts import Code


def doubts_of(
    side: Side, summary: Summary, missing: int, rate: Rate | None, voided: Voided
) -> tuple[RaisedDoubt, ...]:
    """``missing`` rounds did not run; doubts that void come first."""
    found = [
        *_of_pairs(side, summary, missing),
        *_of_metrics(side),
        *_of_repeats(side, voided),
        *_of_ledger(side.design, rate),
        *(RaisedDoubt(d.code.value, d.text, None, d.code.voids) for d in summary.doubts),
        *_of_rounds(summary),
    ]
    return tuple(sorted(found, key=lambda doubt: not doubt.voids))


def _of_pairs(side: Side, summary: Summary, missing: int) -> Iterator[RaisedDoubt]:
    design, valid = side.design, PAIRS * len(side.blocks)
    fewest = PAIRS * FIRST if design.until is not None else fewest_pairs(design.alpha, 1, valid)
    if missing:
        yield _whole(
            Code.UNFINISHED,
            f"{missing} of {PAIRS * design.lanes * design.blocks} rounds did not run: "
            f"hopbench compare --resume {summary.run_dir}",
        )
    if valid < fewest:
        yield _whole(
            Code.FEW_PAIRS,
            f"{plural(valid, 'pair')} of blocks that are whole and without a void round: "
            f"it takes {fewest} to call anything",
        )
    elif valid < PAIRS * BY_BLOCK and design.kind == "rounds":
        yield _whole(
            Code.PAIRS_AS_UNITS,
            f"{valid} pairs: fewer than {PAIRS * BY_BLOCK} are taken as independent one by one",
        )


def _of_metrics(side: Side) -> Iterator[RaisedDoubt]:
    endless = {key[0] for key in side.endless}
    if side.blocks and not side.tells:
        text = METRICS[side.design.metric].text
        yield RaisedDoubt(
            Code.NOT_IDENTIFIABLE.value,
            f"requests at the {text} of a round never ended: compare what failed"
            if side.design.metric in endless
            else f"not every round has requests enough to tell the {text}",
            None,
            voids=True,
        )
    lost = [m for m in endless if METRICS[m].guards and m != side.design.metric]
    for name in lost:
        yield RaisedDoubt(
            Code.NOT_IDENTIFIABLE.value,
            f"nobody watches the {METRICS[name].text}: in some round it is of requests that never "
            "ended",
            None,
            voids=False,
        )


def _of_repeats(side: Side, voided: Voided) -> Iterator[RaisedDoubt]:
    """Blocks that are drawn again until an arm behaves make it look better than it is. Told by the
    exact test of the sign: 6 against none at 5 %.
    """
    arms, count = side.design.arms, voided.a + voided.b
    p = 2 * binomial.at_least(max(voided.a, voided.b), count, 0.5)
    if count and p <= side.design.alpha:
        yield _whole(
            Code.VOIDS_DIFFER,
            f"{plural(voided.b, 'round')} of {arms[side.arm]} and {voided.a} of {arms[0]} were "
            "void, and their blocks measured once more",
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
            if doubt.code is Code.TRACING_OFF and not trial.traced:
                continue
            if doubt.code is Code.SHORT_ROUND:
                # One round says little; how little all of them say, the interval tells.
                continue
            texts.setdefault(doubt.code, doubt.text)
            counts[doubt.code] = counts.get(doubt.code, 0) + 1
    for code, text in texts.items():
        # A void round is left out with its block: it voids no comparison by itself.
        yield RaisedDoubt(code.value, text, counts[code], voids=False)


def _whole(code: Code, text: str) -> RaisedDoubt:
    return RaisedDoubt(code.value, text, None, code.voids)
