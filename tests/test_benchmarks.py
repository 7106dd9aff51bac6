from __future__ import annotations

from pathlib import Path

from benchmarks.__main__ import BENCHMARKS, main

HERE = Path(__file__).parent.parent / "benchmarks"
NO_BENCHMARK = {"__main__", "sink", "null_truth", "real_rounds"}
"""The list itself, the receiver that others start, what `make null-truth` simulates, and what takes
hours."""


def test_make_bench_runs_every_benchmark_there_is() -> None:
    runnable = {
        path.stem for path in HERE.glob("*.py") if 'if __name__ == "__main__"' in path.read_text()
    }
    assert runnable - NO_BENCHMARK == set(BENCHMARKS)


def test_a_benchmark_that_is_not_there_is_refused() -> None:
    assert main(["hop", "speed"]) == 2
