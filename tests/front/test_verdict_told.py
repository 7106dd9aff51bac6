"""A verdict in words and in lines, from figures that no run gives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hopbench.comparison.document import GuardrailRow, MetricRow, Pair, WhyRow
from hopbench.comparison.sentence import arm_name, guarded, interval, sentence
from hopbench.comparison.shown.forest import Scale, scale
from hopbench.runs.design import Design, design
from hopbench.statistics.effect import Outcome

DESIGN = Design(("baseline", "batched"), 10, 0.95, 0.05, "response_p50", 6)
FASTER = MetricRow(
    metric="response_p50",
    entry="shop.buy",
    unit="ms",
    primary=True,
    a=50.0,
    b=30.0,
    ratio=0.594,
    difference=None,
    interval=(0.571, 0.622),
    p=0.002,
    interval_adjusted=(0.571, 0.622),
    p_adjusted=0.002,
    verdict=Outcome.FASTER,
    mde=0.04,
    pairs=(Pair(50.0, 30.0), Pair(52.0, 30.5)),
)
CPU = GuardrailRow(
    "cpu_us_per_request", None, 100, 140, 1.4, None, (1.3, 1.5), 0.002, worse=True, ruled_out=False
)
FAILED = GuardrailRow(
    "failed_share", None, 0.0, 0.012, None, 0.012, (0.002, 0.02), 0.01, worse=True, ruled_out=False
)
FINE = replace(CPU, ratio=1.0, interval=(0.99, 1.01), worse=False, ruled_out=True)
UNKNOWN = replace(CPU, ratio=1.2, interval=(0.8, 1.9), worse=False)


def told(row: MetricRow, *guardrails: GuardrailRow, of: Design = DESIGN) -> str:
    return sentence(arm_name(of, 1), row.verdict, row, guardrails)


def test_what_is_faster_at_a_price_is_told_as_such() -> None:
    assert told(FASTER, CPU) == (
        "batched: shop.buy P50 50.0 → 30.0 ms, 0.594× [0.571, 0.622], faster, "
        "but CPU per request +40 %."
    )
    assert told(FASTER, CPU, FAILED).endswith(
        "faster, but CPU per request +40 %, failed requests +1.2 points."
    )


def test_what_nobody_knows_of_is_named() -> None:
    assert told(FASTER, UNKNOWN).endswith("faster; not ruled out: worse CPU per request.")
    assert told(FASTER, FAILED, UNKNOWN).endswith(
        "faster, but failed requests +1.2 points; not ruled out: worse CPU per request."
    )


def part(edge: str, a_ms: float, b_ms: float, a_calls: float = 1, b_calls: float = 1) -> WhyRow:
    return WhyRow(edge, None, a_ms, b_ms, (b_ms - a_ms, b_ms - a_ms), a_calls, b_calls)


def caused(*why: WhyRow, rows: tuple[MetricRow, ...] = ()) -> str:
    text = sentence("batched", FASTER.verdict, FASTER, (), why=why, rows=rows)
    return text.partition("faster")[2]


def test_what_changed_most_is_named_and_what_changed_about_as_much() -> None:
    take, quote = part("a->b.take", 12, 3, 6, 1), part("a->c.quote", 9, 2, 6, 1)
    assert caused(take, quote, part("a->d.x", 5, 4)) == (
        " (a->b.take: 6 → 1 calls, -9.00 ms; a->c.quote: 6 → 1 calls, -7.00 ms)."
    )
    assert caused(take, part("a->d.x", 3, 9)) == " (a->b.take: 6 → 1 calls, -9.00 ms)."
    assert caused() == "."
    by_path = replace(take, edge=None, path="a > b.take")
    assert caused(take, by_path) == " (a->b.take: 6 → 1 calls, -9.00 ms)."


def test_a_part_that_left_the_critical_path_is_told_as_such() -> None:
    assert caused(part("a->b.take", 4, 0)) == " (a->b.take: no longer waited for, -4.00 ms)."


def test_of_several_entries_each_is_told() -> None:
    rows = tuple(replace(FASTER, entry=name, ratio=r) for name, r in (("a.x", 0.5), ("a.y", 1.0)))
    text = sentence("b", FASTER.verdict, replace(FASTER, entry=None), (), rows=rows)
    assert "P50 of all entries 50.0 → 30.0 ms, 0.594×" in text
    assert text.endswith("faster (a.x 0.5×, a.y 1×).")


def test_a_guardrail_says_what_is_known_of_it() -> None:
    assert guarded(CPU) == "CPU per request +40 % WORSE"
    assert guarded(FINE) == "CPU per request ±0 %"
    assert guarded(UNKNOWN) == "CPU per request +20 % (worse not ruled out)"


def test_twice_as_much_is_no_power_of_ten() -> None:
    assert "CPU per request +150 %" in told(FASTER, replace(CPU, ratio=2.5))


def test_where_nothing_got_worse_it_says_so() -> None:
    assert told(FASTER, FINE).endswith("[0.571, 0.622], faster; nothing got worse.")
    assert told(FASTER).endswith("[0.571, 0.622], faster.")


def test_what_cannot_be_told_says_what_could_have_been() -> None:
    row = replace(
        FASTER, ratio=0.98, interval_adjusted=(0.93, 1.03), verdict=Outcome.INCONCLUSIVE, mde=0.071
    )
    assert told(row, FINE) == (
        "batched: shop.buy P50 50.0 → 30.0 ms, 0.98× [0.93, 1.03], inconclusive "
        "(a change of 7.1 % is called in 4 of 5); nothing got worse."
    )


def test_of_what_is_no_time_there_is_less_or_more() -> None:
    row = replace(FASTER, metric="calls_per_request", entry=None)
    assert "calls per request 50.0 → 30.0, 0.594× [0.571, 0.622], less" in told(row)


def test_two_arms_of_one_variant_are_told_apart() -> None:
    of = replace(DESIGN, arms=("baseline", "baseline"))
    assert told(FASTER, of=of).startswith("baseline (2): ")


def test_an_interval_shows_as_many_digits_as_part_its_ends() -> None:
    assert interval((0.57, 0.62)) == "[0.57, 0.62]"
    assert interval((0.21291, 0.21349)) == "[0.2129, 0.2135]"
    assert interval((1.0, 1.0)) == "[1, 1]"
    assert interval((None, 1.2)) == "[0, 1.2]"
    assert interval((0.8, None)) == "[0.8, ∞]"


def test_the_forest_has_the_band_the_interval_and_a_dot_for_each_pair() -> None:
    on = scale((FASTER,), 40, 0.05)
    assert FASTER.ratio is not None
    bar = on.bar(FASTER.ratio, FASTER.interval_adjusted)
    assert bar.index("├") < bar.index("●") < bar.index("┤") < bar.index("░") < bar.index("│")
    dots = on.dots(pair.b / pair.a for pair in FASTER.pairs)
    assert dots.count(".") == 2
    assert max(map(len, (bar, dots, on.axis()))) <= 40


@pytest.mark.parametrize("ratio", [0.001, 0.5, 1.0, 2.0, 1000.0])
def test_whatever_lies_outside_is_at_the_edge(ratio: float) -> None:
    on = Scale(-1.0, 1.0, 30, 0.05)
    assert 0 <= on.at(ratio) < 30
    assert "●" in on.bar(ratio, (None, None))
    assert on.bar(1.0, (None, None))[0] == "◂"


def test_pairs_stand_in_the_plan_as_blocks_give_them() -> None:
    made = design(
        ("a", "b", "c"), pairs=8, level=0.95, delta=0.05, metric="response_p50", repeat_void=0
    )
    places = list(made.places(3))
    assert len(places) == 4 * 6
    for arm in (1, 2):
        for number in range(made.pairs):
            sides = {place.arm for place in places if place.pair == number}
            assert {0, arm} <= sides


def test_what_may_be_zero_is_told_as_a_difference() -> None:
    gone = replace(
        FASTER,
        metric="calls_per_request",
        entry=None,
        ratio=None,
        difference=-6.0,
        interval_adjusted=(-6.0, -6.0),
    )
    assert told(gone) == "batched: calls per request 50.0 → 30.0, -6.0 [-6.0, -6.0], less."


def test_what_cannot_be_told_for_all_that_failed_says_what_failed() -> None:
    said = sentence("batched", Outcome.VOID, None, (replace(FAILED, difference=0.94),))
    assert said == (
        "batched: void, since not every round tells the primary metric; failed requests +94 points."
    )


def test_what_is_slower_has_got_worse() -> None:
    slower = replace(FASTER, ratio=1.7, interval_adjusted=(1.6, 1.8), verdict=Outcome.SLOWER)
    assert told(slower, FINE).endswith("slower; nothing else got worse.")
