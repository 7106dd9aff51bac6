"""Names: what a service or an operation may be called, and how each appears on the wire."""

from __future__ import annotations

import re
from typing import Final

PATTERN: Final = r"[a-z][a-z0-9-]{0,40}"
_NAME: Final = re.compile(PATTERN)


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def camel(name: str) -> str:
    """``order-book`` → ``OrderBook``: a service or operation as gRPC names it."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("-"))


def http_path(operation: str) -> str:
    return f"/{operation}"


def grpc_method(service: str, operation: str) -> str:
    return f"/hopbench.v1.{camel(service)}/{camel(operation)}"


def topic(service: str, operation: str) -> str:
    return f"{service}.{operation}"
