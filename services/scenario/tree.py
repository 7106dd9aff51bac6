"""Walking and rebuilding the tree of steps. Trees are shallow: the parser bounds their depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from services.scenario.model import (
    Call,
    Choice,
    OnErrorFallback,
    Operation,
    Parallel,
    Publish,
    Repeat,
    Scenario,
    Sequence,
    Service,
    Step,
)

Steps = tuple[Step, ...]


def blocks(step: Step) -> tuple[Steps, ...]:
    """The lists of steps directly below: a body, the options of a choice, a fallback."""
    match step:
        case Sequence() | Parallel() | Repeat():
            return (step.steps,)
        case Choice():
            return tuple(option.steps for option in step.options)
        case Call() | Publish():
            on_error = step.edge.on_error
            return (on_error.steps,) if isinstance(on_error, OnErrorFallback) else ()
        case _:
            return ()


def with_blocks(step: Step, rewrite: Callable[[Steps], Steps]) -> Step:
    """The step with each list directly below rewritten; the same object where nothing changes."""
    before = blocks(step)
    after = tuple(rewrite(block) for block in before)
    if after == before:
        return step
    match step:
        case Sequence() | Parallel() | Repeat():
            return replace(step, steps=after[0])
        case Choice():
            return replace(
                step,
                options=tuple(
                    replace(option, steps=steps)
                    for option, steps in zip(step.options, after, strict=True)
                ),
            )
        case Call() | Publish():
            return replace(step, edge=replace(step.edge, on_error=OnErrorFallback(after[0])))
        case _:
            raise AssertionError("a step without blocks cannot change")


def walk(steps: Steps) -> Iterator[Step]:
    """Every step below, depth first, in file order; fallbacks after the call that has them."""
    for step in steps:
        yield step
        for block in blocks(step):
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
