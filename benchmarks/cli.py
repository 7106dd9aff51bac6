"""What the command line costs before it does anything.

    python benchmarks/cli.py

Targets: `hopbench --help` and `hopbench validate chatty` ≤ 0.4 s of CPU, and no more than five
times what Python and the library of the command line take by themselves. Bytecode is there already,
as it is where a package was installed.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from statistics import median

SECONDS = 0.4
TIMES = 5.0
RUNS = 15
FLOOR = ("-c", "import typer")
COMMANDS = (("--help",), ("validate", "chatty"))


def cpu_s(arguments: tuple[str, ...], environment: Mapping[str, str]) -> float:
    """User and system time of one run of Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    starts = {
        " ".join(("hopbench", *command)): ("-m", "hopbench", *command) for command in COMMANDS
    }
    with tempfile.TemporaryDirectory(prefix="hopbench-cli-") as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for arguments in (FLOOR, *starts.values()):
            cpu_s(arguments, environment)
        # In turn, so that a busy moment is everybody's.
        took = [
            {name: cpu_s(of, environment) for name, of in {"": FLOOR, **starts}.items()}
            for _ in range(RUNS)
        ]
    floor = median(run[""] for run in took)
    print(f"CPU seconds, median of {RUNS}; Python and typer alone: {floor:.3f} s")
    fits = True
    for name in starts:
        seconds, times = median(run[name] for run in took), median(r[name] / r[""] for r in took)
        fits &= seconds <= SECONDS and times <= TIMES
        print(
            f"  {name:24} {seconds:.3f} s  target ≤ {SECONDS:g}, "
            f"{times:.1f} times that  target ≤ {TIMES:g}"
        )
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
