"""How much a scenario may ask for.

Above these a typing error is likelier than a plan: the memory would be full before the first
request had ended.
"""

from __future__ import annotations

from typing import Final

MAX_ITEMS: Final = 1_000_000
"""Of an edge in one run of its step; times of a repeat."""
MAX_CALLS: Final = 1_000_000
"""Of one request, at worst."""
MAX_REPLICAS: Final = 10_000
"""Of a service; partitions of a topic."""
MAX_PROCESSES: Final = 10_000
"""That services are packed into."""
MAX_ARRIVALS: Final = 100_000_000
"""Of one round, its warm-up included."""
MAX_USERS: Final = 100_000
"""Of a closed load."""
MAX_RECORDED: Final = 200_000
"""Of a replay: a scenario holds them all."""
MAX_NAME: Final = 80
"""Characters of a scenario's name, which names the run directory."""
