"""``hopbench doctor``: whether this machine can measure."""

from __future__ import annotations

from hopbench import options
from hopbench.doctor import doctor, document, healthy
from hopbench.exits import Exit
from hopbench.output import Output


def command(*, json: options.Json = None) -> Exit:
    """Look at cores, timers, memory, ports, Docker, Kafka and Jaeger: ok, or what to do.

    Exit 1 where something that measuring needs is not well.
    """
    output = Output(json)
    with output.working("looking"):
        checks = doctor()
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = "ok " if check.ok else "-- " if not check.needed else "!! "
        output.show(f"{mark} {check.name:{width}}  {check.found}")
        if not check.ok and check.advice:
            output.show(f"    {'':{width}}  → {check.advice}")
    output.document(document(checks))
    return Exit.DONE if healthy(checks) else Exit.FAILED
