"""Members of a parallel group: started together, and failing together."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from typing import Any

from services.behaviour.replica import Counters, DeadlinePassed, StepFailed, current_task


async def together(counters: Counters, members: Iterable[Coroutine[Any, Any, object]]) -> None:
    """All at once; the first failure cancels the others and is the group's."""
    group = asyncio.TaskGroup()
    try:
        async with group:
            for member in members:
                group.create_task(member)
    except BaseExceptionGroup as failures:
        counters.failed_groups += 1
        if sys.version_info < (3, 13):
            # A group whose member fails while it waits cancels its parent, and before 3.13 never
            # takes that back (python/cpython#116720). Alarms and hedges around it count these.
            cancelled: bool = group._parent_cancel_requested  # type: ignore[attr-defined]  # theirs
            if cancelled:
                current_task().uncancel()
        for failure in failures.exceptions:
            if isinstance(failure, StepFailed | DeadlinePassed):
                raise failure from None
        raise
