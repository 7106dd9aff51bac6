"""The arrival schedule, as properties of loads and seeds."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, kstwo

from loadgen.schedule import (
    MEASURED,
    NO_KEY,
    WARMUP,
    Arrivals,
    Schedule,
    arrivals,
    fits,
    follows,
    kolmogorov_p,
    offsets,
    share,
    spent,
    taken,
)
from services.scenario.chance import request_key, round_seed, uniform
from services.scenario.distributions import Constant, Exponential, LogNormal, Uniform
from services.scenario.model import Load
from services.scenario.pace import Closed, Open, Replay, Stage
from tests.loadgen.rig import SECOND, entry, load

calm = settings(deadline=None, max_examples=40)
"""Time is not judged: the first example of a test pays for imports."""
seeds = st.integers(0, 2**64 - 1)
kinds = st.sampled_from(["poisson", "uniform"])
weights = st.floats(0.1, 10.0)
entries = st.builds(
    entry,
    weight=weights,
    keys=st.none() | st.integers(1, 100),
    request=st.just(LogNormal(median=200.0, sigma=1.0)),
    response=st.just(Uniform(0.0, 500.0)),
)
loads = st.builds(
    lambda entries, kind, rate, seconds, warmup: load(
        *entries, arrivals=kind, rate=rate, seconds=seconds, warmup=warmup
    ),
    st.lists(entries, min_size=1, max_size=4),
    kinds,
    st.floats(0.5, 400.0),
    st.floats(0.1, 1.0),
    st.floats(0.0, 0.5),
)


def columns(schedule: Schedule) -> dict[str, list[object]]:
    return {field.name: getattr(schedule, field.name).tolist() for field in fields(Schedule)}


@calm
@given(loads, seeds)
def test_one_seed_gives_one_schedule_arrival_by_arrival(given: Load, seed: int) -> None:
    assert columns(arrivals(given, seed)) == columns(arrivals(given, seed))


@calm
@given(loads, seeds, st.integers(1, 5))
def test_the_shares_of_all_workers_are_the_whole_schedule(
    given: Load, seed: int, workers: int
) -> None:
    whole = arrivals(given, seed)
    shares = [share(given, whole, k, workers) for k in range(workers)]
    for k, part in enumerate(shares):
        assert (part.number % workers == k).all()
    order = np.argsort(np.concatenate([part.number for part in shares]))
    for name, column in columns(whole).items():
        together = np.concatenate([getattr(part, name) for part in shares])
        assert together[order].tolist() == column


@calm
@given(loads, seeds)
def test_arrivals_rise_within_warm_up_and_duration(given: Load, seed: int) -> None:
    schedule = arrivals(given, seed)
    due = schedule.offset_ns
    assert (np.diff(due) >= 0).all()
    assert ((due >= 0) & (due < given.warmup_ns + given.duration_ns)).all()
    assert (schedule.phase == np.where(due < given.warmup_ns, WARMUP, MEASURED)).all()
    assert (schedule.trace_lo > 0).all()


@calm
@given(loads, seeds, st.floats(0.0, 1.0))
def test_every_choice_is_a_draw_of_the_requests_own_key(
    given: Load, seed: int, ratio: float
) -> None:
    schedule = arrivals(given, seed, trace_ratio=ratio)
    for row in range(len(schedule)):
        key = request_key(seed, row)
        assert schedule.chance[row] == key
        assert schedule.sampled[row] == (uniform(key, "sampled") < ratio)
        picked = given.entries[schedule.entry[row]]
        assert schedule.request_bytes[row] == round(
            picked.request_bytes.at(uniform(key, "request"))
        )
        assert schedule.response_bytes[row] == round(
            picked.response_bytes.at(uniform(key, "response"))
        )
        distinct = picked.key_distinct
        expected = NO_KEY if distinct is None else int(uniform(key, "key") * distinct)
        assert schedule.key[row] == expected


@calm
@given(kinds, st.floats(1.0, 500.0), seeds)
def test_a_longer_schedule_begins_with_the_shorter(kind: Arrivals, rate: float, seed: int) -> None:
    short = offsets(kind, rate, SECOND, seed)
    long = offsets(kind, rate, 2 * SECOND, seed)
    assert long[: len(short)].tolist() == short.tolist()


@calm
@given(loads, seeds)
def test_a_salt_changes_trace_ids_and_nothing_else(given: Load, seed: int) -> None:
    one, other = (columns(arrivals(given, seed, trace_salt=salt)) for salt in (1, 2))
    for name in ("trace_hi", "trace_lo"):
        assert set(one[name]).isdisjoint(other.pop(name))
        one.pop(name)
    assert one == other


def test_seeds_give_schedules_of_their_own() -> None:
    first, second = (offsets("poisson", 200.0, SECOND, round_seed(1, pair)) for pair in (0, 1))
    assert set(first.tolist()).isdisjoint(second.tolist())


def test_a_uniform_schedule_has_one_arrival_every_gap_from_zero() -> None:
    assert offsets("uniform", 4.0, SECOND, seed=1).tolist() == [
        0,
        250_000_000,
        500_000_000,
        750_000_000,
    ]


@pytest.mark.parametrize("rate", [20.0, 500.0])
def test_poisson_counts_have_the_mean_and_variance_of_their_rate(rate: float) -> None:
    counts = [len(offsets("poisson", rate, SECOND, round_seed(3, pair))) for pair in range(1000)]
    assert np.mean(counts) == pytest.approx(rate, rel=5 / np.sqrt(rate * 1000))
    assert np.var(counts) == pytest.approx(rate, rel=0.25)


def test_entries_are_drawn_by_weight_and_requests_sampled_by_ratio() -> None:
    mixed = load(entry(weight=1), entry(weight=3), rate=20_000, seconds=1, warmup=0)
    schedule = arrivals(mixed, 5, trace_ratio=0.25)
    sigma = np.sqrt(0.25 * 0.75 / len(schedule))
    assert schedule.entry.mean() == pytest.approx(0.75, abs=5 * sigma)
    assert schedule.sampled.mean() == pytest.approx(0.25, abs=5 * sigma)


def test_trace_ids_do_not_repeat() -> None:
    schedule = arrivals(load(rate=20_000, seconds=1), 5)
    ids = zip(schedule.trace_hi.tolist(), schedule.trace_lo.tolist(), strict=True)
    assert len(set(ids)) == len(schedule)


def test_a_schedule_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        arrivals(load(), 5).offset_ns[0] = 1


@calm
@given(seeds)
def test_what_was_scheduled_fits_its_model(seed: int) -> None:
    poisson = offsets("poisson", 300.0, 3 * SECOND, seed)
    assert fits(poisson + 12345, "poisson", 300.0, level=1e-9).holds
    even = offsets("uniform", 300.0, 3 * SECOND, seed)
    assert fits(even + 12345, "uniform", 300.0).holds


@pytest.mark.parametrize(
    ("kind", "rate", "model", "claimed"),
    [
        ("uniform", 300.0, "poisson", 300.0),
        ("poisson", 300.0, "uniform", 300.0),
        ("poisson", 300.0, "poisson", 400.0),
        ("uniform", 300.0, "uniform", 301.0),
    ],
)
def test_what_was_not_asked_for_does_not_fit(
    kind: Arrivals, rate: float, model: Arrivals, claimed: float
) -> None:
    due = offsets(kind, rate, 5 * SECOND, 9)
    assert not fits(due, model, claimed).holds


def ramped(kind: Arrivals, *stages: Stage, rate: float = 100.0, seconds: float = 6.0) -> Load:
    return replace(load(seconds=seconds, warmup=1.0), pace=Open(kind, rate, stages))


UP = Stage(300.0, 2 * SECOND)
DOWN = Stage(0.0, 2 * SECOND)
BACK = Stage(50.0, SECOND)


@pytest.mark.parametrize("kind", ["poisson", "uniform"])
def test_a_ramp_has_the_arrivals_that_lie_under_its_line(kind: Arrivals) -> None:
    """1 s at 100/s, up to 300/s in 2 s, to nothing in 2 s, up to 50/s in 1 s, and 1 s of that."""
    of = ramped(kind, UP, DOWN, BACK)
    counts = np.zeros(7)
    for seed in range(200):
        counts += np.histogram(arrivals(of, seed).offset_ns / SECOND, bins=range(8))[0]
    mean = np.array([100, 150, 250, 225, 75, 25, 50])
    assert counts / 200 == pytest.approx(mean, abs=5 * np.sqrt(mean.max() / 200) + 1)


@calm
@given(kinds, seeds, st.lists(st.builds(Stage, st.floats(0, 400), st.just(SECOND)), max_size=6))
def test_what_is_due_on_a_ramp_follows_it_and_no_other(
    kind: Arrivals, seed: int, stages: list[Stage]
) -> None:
    of = ramped(kind, *stages)
    due = arrivals(of, seed).offset_ns
    assert (np.diff(due) >= 0).all()
    fit = follows(of, due, level=1e-9)
    assert fit is not None
    assert fit.holds


def test_a_ramp_is_not_taken_for_a_steady_rate_of_the_same_mean() -> None:
    of = ramped("poisson", UP, DOWN)
    steady = replace(of, pace=Open("poisson", of.pace.requests(SECOND, 6 * SECOND) / 7))
    for asked, other in ((of, steady), (steady, of)):
        fit = follows(other, arrivals(asked, 3).offset_ns)
        assert fit is not None
        assert not fit.holds


def test_a_replay_is_due_when_it_was_recorded_and_cut_where_the_round_ends() -> None:
    at = (0, 1, 1, SECOND - 1, SECOND, 3 * SECOND)
    of = replace(load(seconds=0.9, warmup=0.1), pace=Replay(at))
    schedule = arrivals(of, 5)
    assert schedule.offset_ns.tolist() == [0, 1, 1, SECOND - 1]
    assert schedule.phase.tolist() == [WARMUP] * 3 + [MEASURED]
    assert follows(of, schedule.offset_ns) is None


def test_users_of_a_closed_load_take_the_requests_of_their_worker_in_order() -> None:
    of = replace(load(seconds=0.9, warmup=0.1), pace=Closed(3, Constant(0.01 * SECOND)))
    whole = arrivals(of, 5)
    assert len(whole) > 300
    # Users 0 and 2 are the first worker's, 1 the second's: so are requests 1, 4, 7.
    assert share(of, whole, 1, 2).number[:3].tolist() == [1, 4, 7]
    part = taken(of, whole, np.array([0, 1, 3, 5]), workers=2)
    assert part.number.tolist() == [0, 1, 2, 3, 5]
    assert taken(of, whole, np.array([1, 7]), workers=2).number.tolist() == [1, 4, 7]
    assert len(taken(of, whole, np.array([], dtype=np.int64), workers=2)) == 0
    assert not spent(of, whole.number[:-3], workers=2)
    assert spent(of, whole.number, workers=2)


@pytest.mark.parametrize("workers", [1, 3, 7])
def test_users_begin_as_if_they_had_been_at_it_for_long(workers: int) -> None:
    """The rest of a thought: of an even one half of it on average, of an exponential one all."""
    for think, mean in ((Constant(SECOND), 0.5), (Exponential(SECOND), 1.0)):
        pace = Closed(300, think)
        begins = [at for k in range(workers) for at in pace.begins_ns(k, workers)]
        assert len(begins) == 300
        assert np.mean(begins) == pytest.approx(mean * SECOND, rel=0.05)
    assert Closed(3, Constant(0)).begins_ns(0, 2) == [0, 0]
    assert Closed(1, Constant(SECOND)).begins_ns(2, 3) == []


@pytest.mark.parametrize("n", [20, 100, 5000])
@pytest.mark.parametrize("chance", [0.9, 0.5, 0.1, 1e-2, 1e-4])
def test_the_chance_of_a_distance_is_scipys_for_twenty_gaps_or_more(n: int, chance: float) -> None:
    assert kolmogorov_p(float(kstwo.isf(chance, n)), n) == pytest.approx(chance, rel=0.2)


@pytest.mark.parametrize("n", range(1, 20))
def test_of_fewer_gaps_the_chance_is_larger_than_scipys(n: int) -> None:
    assert kolmogorov_p(float(kstwo.isf(1e-4, n)), n) > 1e-4


@pytest.mark.parametrize("distance", [0.0, 1e-6, 1e-4])
def test_gaps_closer_to_their_distribution_than_chance_are_certain(distance: float) -> None:
    assert kolmogorov_p(distance, 1000) == 1.0


@calm
@given(seed=seeds, n=st.integers(2, 500), skew=st.floats(0.5, 2.0))
def test_the_distance_is_scipys(seed: int, n: int, skew: float) -> None:
    gaps = np.random.default_rng(seed).gamma(skew, 1e7, n)
    due = np.concatenate(([0], np.cumsum(np.round(gaps)))).astype(np.int64)
    expected = kstest(np.diff(due), "expon", args=(0, 1e7)).statistic
    assert fits(due, "poisson", 100.0).statistic == pytest.approx(float(expected), abs=1e-12)


def test_nothing_can_be_said_of_a_single_gap() -> None:
    assert fits(np.array([0, 5], dtype=np.int64), "poisson", 1.0).holds


def test_a_load_of_no_length_has_no_arrivals() -> None:
    nothing = replace(load(), duration_ns=0, warmup_ns=0)
    assert len(arrivals(nothing, 5)) == 0
