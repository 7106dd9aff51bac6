"""``python -m hopbench.deploy.inside.waiting HOST:PORT…``: end once somebody listens at every
address.

In Kubernetes all pods start at once; this waits for what the bench takes for given.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Sequence
from typing import Final

CANNOT_START: Final = 5
"""As hopbench.exits has it, without what it imports."""
_TRY_S: Final = 2.0
_AGAIN_S: Final = 0.5


def listens(address: str) -> str:
    """Why nobody can be reached at ``HOST:PORT``; empty where somebody is."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _TRY_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hopbench.deploy.inside.waiting", description=__doc__
    )
    parser.add_argument("addresses", nargs="+", metavar="HOST:PORT")
    parser.add_argument("--within", type=float, default=60.0, metavar="SECONDS")
    options = parser.parse_args(arguments)
    missing = [text for text in options.addresses if not text.rpartition(":")[2].isdecimal()]
    if missing:
        parser.error(f"{missing[0]!r} is not HOST:PORT")
    until = time.monotonic() + options.within
    for address in options.addresses:
        told = False
        while why := listens(address):
            if time.monotonic() > until:
                print(
                    f"error: nobody listens at {address} after {options.within:g} s: {why}",
                    file=sys.stderr,
                )
                return CANNOT_START
            if not told:
                print(f"waiting for {address}: {why}", file=sys.stderr, flush=True)
                told = True
            time.sleep(_AGAIN_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
