"""Names: what a service or an operation may be called, and how each appears on the wire."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

GRPC_PACKAGE: Final = "hopbench.v1"
PATTERN: Final = r"[a-z][a-z0-9-]{0,40}"
_NAME: Final = re.compile(PATTERN)


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def camel(name: str) -> str:
    """``order-book`` → ``OrderBook``: a service or operation as gRPC names it."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("-"))


def http_path(operation: str) -> str:
    return f"/{operation}"


def keyed(path: str, key: str) -> str:
    """A path, or a whole URL, with the application's key."""
    return f"{path}/{quote(key, safe='')}"


def keyed_route(path: str) -> str:
    """Of all the keyed ones together, as ``http.route`` has it."""
    return f"{path}/{{key}}"


def grpc_service(service: str) -> str:
    return f"{GRPC_PACKAGE}.{camel(service)}"


def grpc_method(service: str, operation: str) -> str:
    return f"/{grpc_service(service)}/{camel(operation)}"


def topic(service: str, operation: str) -> str:
    return f"{service}.{operation}"


def reply_topic(service: str, replica: int) -> str:
    """Where the replies to one replica's calls over Kafka come."""
    return f"reply.{service}.{replica}"
