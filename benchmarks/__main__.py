"""Every benchmark, one after another, each in a process of its own.

Run ``make bench``, or ``python -m benchmarks [NAME…]`` for some of them. Each prints its figures
beside their targets; all of them are ratios or rates taken side by side within one run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

BENCHMARKS: Final[dict[str, tuple[str, ...]]] = {
    "hop": (),
    "tail": (),
    "load": (),
    "transports": (),
    "analysis": (),
    "virtual": (),
    "startup": (),
    "cli": (),
    "packed": (),
    "run": (),
    "jaeger": (),
    "compose": (),
}
"""Name of the module → its arguments."""


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    failed = []
    for name in names or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{name}", *BENCHMARKS[name]]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"-- {name}: {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print(f"\nended with an error: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
