"""``python -m hopbench.deploy.inside.waiting HOST:PORT…``: end once somebody listens at each.

In Kubernetes all pods start at once; this waits for what the bench takes for given.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Final

from services.system.endpoints import Endpoint, endpoint, silence

CANNOT_START: Final = 5
"""As hopbench.exits has it, without what it imports."""
_TRY_S: Final = 2.0
_AGAIN_S: Final = 0.5


async def waited(addresses: Sequence[Endpoint], within_s: float) -> int:
    """For all of them, ``within_s`` seconds in all; the exit code."""
    until = monotonic() + within_s
    for address in addresses:
        told = False
        while why := await silence(address, _TRY_S):
            if monotonic() > until:
                text = f"error: nobody listens at {address} after {within_s:g} s: {why}"
                print(text, file=sys.stderr)
                return CANNOT_START
            if not told:
                print(f"waiting for {address}: {why}", file=sys.stderr, flush=True)
                told = True
            await asyncio.sleep(_AGAIN_S)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hopbench.deploy.inside.waiting", description=__doc__
    )
    parser.add_argument("addresses", nargs="+", type=endpoint, metavar="HOST:PORT")
    parser.add_argument("--within", type=float, default=60.0, metavar="SECONDS")
    options = parser.parse_args(arguments)
    return asyncio.run(waited(options.addresses, options.within))


if __name__ == "__main__":
    sys.exit(main())
