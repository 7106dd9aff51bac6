"""Items, origins and batches as arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.behaviour.items import batches, carried, items_of
from services.scenario.chance import item_key
from services.scenario.model import Origin
from services.wire import ticket

counts = st.integers(1, 12)
origins = st.lists(counts, min_size=1, max_size=4).map(
    lambda ns: tuple(Origin(f"a.go/{i}", n) for i, n in enumerate(ns, 1))
)


@given(origins, counts, st.integers(0, 50))
def test_batches_carry_every_item_once_in_order(
    edge: tuple[Origin, ...], size: int, shift: int
) -> None:
    items = items_of(edge, shift)
    runs = list(batches(items, size))
    assert [item for run in runs for item in run] == items
    assert len(runs) == -(-sum(origin.count for origin in edge) // size)
    assert all(len(run) == size for run in runs[:-1])
    assert 1 <= len(runs[-1]) <= size


@given(origins, counts)
def test_iterations_number_items_without_gaps_or_repeats(
    edge: tuple[Origin, ...], times: int
) -> None:
    items = [item for shift in range(times) for item in items_of(edge, shift)]
    for origin in edge:
        numbers = [item.number for item in items if item.step == origin.step]
        assert numbers == list(range(times * origin.count))


@given(counts, counts, counts)
def test_a_repeated_call_and_one_call_with_the_count_name_the_same_items(
    outer: int, inner: int, count: int
) -> None:
    repeated = [
        item
        for shift in range(outer * inner)
        for item in items_of((Origin("a.go/1", count),), shift)
    ]
    assert repeated == items_of((Origin("a.go/1", outer * inner * count),), 0)


@given(origins, counts, st.integers(0, 50), st.integers(0, 2**64 - 1))
def test_the_callee_reads_the_keys_of_exactly_the_items_sent(
    edge: tuple[Origin, ...], size: int, shift: int, parent: int
) -> None:
    for call in carried(items_of(edge, shift), size):
        assert ticket.item_keys(f"{parent:016x};{call.suffix}") == [
            item_key(parent, item.step, item.number) for item in call.items
        ]
