"""How a gRPC channel of ours connects: options of its constructor, without its library."""

from __future__ import annotations

from typing import Final

ANY_SIZE: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
BACK_SOON: Final = (
    # Who is back is used soon; the default lets a caller wait for up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
TO_A_SERVICE: Final = (
    *ANY_SIZE,
    *BACK_SOON,
    # A proxy from the environment must never get between services.
    ("grpc.enable_http_proxy", 0),
    # Channels with equal options would otherwise share one connection.
    ("grpc.use_local_subchannel_pool", 1),
)
