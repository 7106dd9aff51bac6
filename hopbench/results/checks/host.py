"""The machine: who else had its processor, and whether it is the same as before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hopbench.host.load import Taker
from hopbench.results.checks.observed import Observed
from hopbench.runs.limits import Limits
from services.doubts import Code, Doubt


def shares(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.clock == "virtual" or o.evidence is None:
        return
    host = o.evidence.host
    for code, share, limit, what in (
        (
            Code.GENERATOR_CPU,
            host.generator_cpu_share,
            limits.generator_cpu_share,
            "of a core went to the generator",
        ),
        (
            Code.STEAL,
            host.steal_share,
            limits.steal_share,
            "of the CPU time was stolen by the hypervisor",
        ),
        (
            Code.FOREIGN_CPU,
            host.foreign_cpu_share,
            limits.foreign_cpu_share,
            f"of the CPU time went to others' processes{_whose(host.foreign)}",
        ),
    ):
        if share is None:
            where = "this platform" if o.settings.engine == "local" else "a container"
            yield Doubt(Code.UNMEASURED, f"{where} does not tell how much {what}")
        elif share > limit:
            yield Doubt(code, f"{share:.1%} {what}; the limit is {limit:.0%}")


def _whose(takers: Iterable[Taker]) -> str:
    named = ", ".join(f"{taker.name} {taker.share:.1%}" for taker in takers)
    return f" ({named})" if named else ""


def environment(o: Observed, limits: Limits) -> Iterator[Doubt]:
    if o.changes:
        yield Doubt(Code.ENVIRONMENT, f"not as in the run's first round: {'; '.join(o.changes)}")
