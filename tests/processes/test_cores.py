"""Which core each part of a round is kept to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from subprocess import PIPE, Popen

import pytest

from hopbench.host.cores import ENOUGH, Cores, place
from services.system.cores import usable_cores

USABLE = sorted(usable_cores())

pytestmark = pytest.mark.skipif(len(USABLE) < 2, reason="one core: nothing to keep apart")


@pytest.fixture
def cores() -> Iterator[Cores]:
    apart = Cores(frozenset(USABLE[:1]), frozenset(USABLE[1:2]), frozenset(USABLE))
    yield apart
    apart.release_bench()


@pytest.fixture
def child() -> Iterator[int]:
    with Popen([sys.executable, "-c", "input()"], stdin=PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


def test_the_bench_keeps_to_the_harness_core_until_it_is_released(cores: Cores) -> None:
    cores.pin_bench()
    assert usable_cores() == cores.harness
    cores.release_bench()
    assert usable_cores() == frozenset(USABLE)


def test_pinning_the_bench_leaves_what_it_has_started(cores: Cores, child: int) -> None:
    cores.pin_bench()
    assert os.sched_getaffinity(child) == set(USABLE)


def test_a_generator_has_a_core_of_its_own(cores: Cores, child: int) -> None:
    cores.pin_generator([child])
    assert os.sched_getaffinity(child) == cores.generator


def test_cores_are_kept_apart_where_there_are_enough() -> None:
    placed = place()
    if len(USABLE) < ENOUGH:
        assert placed is None
    else:
        assert placed is not None
        assert sorted(placed.generator | placed.harness | placed.services) == USABLE
