"""Walking and rebuilding the tree of steps. Trees are shallow: the parser bounds their depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from services.scenario.model import Operation, Scenario, Service, Step, Steps


def with_blocks(step: Step, rewrite: Callable[[Steps], Steps]) -> Step:
    """The step with each list directly below rewritten; the same object where nothing changes."""
    before = step.blocks
    after = tuple(rewrite(block) for block in before)
    return step if after == before else step.with_blocks(after)


def walk(steps: Steps) -> Iterator[Step]:
    """Every step below, depth first, in file order; fallbacks after the call that has them."""
    for step in steps:
        yield step
        for block in step.blocks:
            yield from walk(block)


def operations(scenario: Scenario) -> Iterator[tuple[Service, Operation]]:
    for service in scenario.services.values():
        for operation in service.operations.values():
            yield service, operation


def with_operations(
    scenario: Scenario, rewrite: Callable[[Service, Operation], Operation]
) -> Scenario:
    """The scenario with every operation rewritten; variants and all else stay."""
    return replace(
        scenario,
        services={
            service.name: replace(
                service,
                operations={
                    operation.name: rewrite(service, operation)
                    for operation in service.operations.values()
                },
            )
            for service in scenario.services.values()
        },
    )
