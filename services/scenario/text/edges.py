"""The options of an edge: how a file writes each, what it is when nothing is said, and back.

Options cascade: what a step says holds over its operation's ``defaults``, those over the
service's, those over the file's, those over what :data:`OPTIONS` have. A value is taken whole: a
``retry`` given on a step shares nothing with the one above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.scenario.distributions import Constant
from services.scenario.limits import MAX_ITEMS, MAX_REPLICAS
from services.scenario.model import (
    Edge,
    EdgeRef,
    HedgePolicy,
    KafkaOptions,
    Mode,
    OnErrorFail,
    OnErrorFallback,
    OnErrorIgnore,
    Origin,
    Retry,
    Target,
)
from services.scenario.names import PATTERN, is_name
from services.scenario.protocols import PROTOCOLS
from services.scenario.text.amounts import DURATION, PROBABILITY, SIZE
from services.scenario.text.forms import (
    TEXT,
    Form,
    Key,
    integer,
    matching,
    optional,
    positive,
    record,
    word,
    written,
)
from services.scenario.text.reader import bad, quoted, shown
from services.scenario.text.source import Map, Node


def _target(file: str, node: Node) -> Target:
    found = TEXT.read(file, node)
    service, dot, operation = found.partition(".")
    if not dot or not is_name(service) or not is_name(operation):
        raise bad(file, node, f"{quoted(found)} is not a target", "write service.operation")
    return Target(service, operation)


def _edge(file: str, node: Node) -> EdgeRef:
    found = TEXT.read(file, node)
    caller, arrow, callee = (part.strip() for part in found.partition("->"))
    caller, dot, caller_operation = caller.partition(".")
    callee, callee_dot, operation = callee.partition(".")
    parts = (caller, callee, operation, *((caller_operation,) if dot else ()))
    if not arrow or not callee_dot or not all(is_name(part) for part in parts):
        form = "write caller->callee.operation or caller.operation->callee.operation"
        raise bad(file, node, f"{shown(node)} is not an edge", form)
    return EdgeRef(caller, caller_operation if dot else None, callee, operation)


TARGET: Final = Form(
    _target, matching(rf"{PATTERN}\.{PATTERN}", examples=["inventory.reserve"]), str
).named("target")
EDGE: Final = Form(
    _edge,
    matching(
        rf"{PATTERN}(\.{PATTERN})?\s*->\s*{PATTERN}\.{PATTERN}",
        examples=["order->inventory.reserve", "order.create->inventory.reserve"],
    ),
    str,
).named("edge")
"""``caller->callee.operation`` or ``caller.operation->callee.operation``."""
PROTOCOL: Final = word(PROTOCOLS.keys())
HEDGE_DELAY: Final = optional(positive(DURATION), "p95")
"""None stands for the observed P95."""
_ON_ERROR: Final = word(("fail", "ignore"))


def _on_error(file: str, node: Node) -> OnErrorFail | OnErrorIgnore:
    if isinstance(node, Map):
        raise bad(
            file,
            node,
            "a fallback belongs to one step, not to defaults",
            "defaults may say fail or ignore",
        )
    return OnErrorFail() if _ON_ERROR.read(file, node) == "fail" else OnErrorIgnore()


ON_ERROR: Final = Form(
    _on_error,
    _ON_ERROR.schema,
    lambda value: "ignore" if isinstance(value, OnErrorIgnore) else "fail",
)
_DISTINCT: Final[Form[dict[str, int]]] = record(
    "key", dict, Key("distinct", integer(1), example="key: {distinct: 50}")
)
KEY: Final = optional(
    Form(
        lambda file, node: _DISTINCT.read(file, node)["distinct"],
        _DISTINCT.schema,
        lambda distinct: {"distinct": distinct},
    ),
    "none",
)
KAFKA: Final = KafkaOptions(partitions=4, acks="1", linger_ns=0, ordering="none")
"""As aiokafka has it; the embedded broker has 4 partitions whatever is asked."""
_ACKS: Final = word(("0", "1", "all"))

OPTIONS: Final = (
    Key("protocol", PROTOCOL, "http"),
    Key("count", integer(1, MAX_ITEMS), 1, about="Items to send."),
    Key("batch", integer(1), 1, about="Items a call carries."),
    Key("max_parallel", optional(integer(1), "all"), 1, about="Calls in flight at once."),
    Key("probability", PROBABILITY, 1.0, about="Whether an item takes part."),
    Key("request", SIZE, Constant(200.0), "request_bytes", about="Bytes an item."),
    Key("response", SIZE, Constant(1024.0), "response_bytes", about="Bytes an item."),
    Key("key", KEY, None, "key_distinct"),
    Key("timeout", optional(positive(DURATION), "none"), None, "timeout_ns"),
    Key(
        "retry",
        optional(
            record(
                "retry",
                Retry,
                Key(
                    "max",
                    integer(1),
                    example="retry: {max: 2}",
                    about="Attempts after the first.",
                ),
                Key("backoff", DURATION, 10_000_000, "backoff_ns"),
                Key("jitter", PROBABILITY, 0.5),
                Key("budget", optional(PROBABILITY, "unlimited"), None),
            ),
            "none",
        ),
        None,
    ),
    Key(
        "hedge",
        optional(
            record(
                "hedge",
                HedgePolicy,
                Key("after", HEDGE_DELAY, field="after_ns", example="hedge: {after: 20ms}"),
            ),
            "none",
        ),
        None,
    ),
    Key("on_error", ON_ERROR, OnErrorFail()),
    Key(
        "kafka",
        record(
            "kafka",
            KafkaOptions,
            Key("partitions", integer(1, MAX_REPLICAS), KAFKA.partitions),
            Key("acks", Form(_ACKS.read, {"enum": ["0", "1", "all", 0, 1]}), KAFKA.acks),
            Key("linger", DURATION, KAFKA.linger_ns, "linger_ns"),
            Key(
                "ordering",
                word(("none", "partition")),
                KAFKA.ordering,
                about="Whether a partition's messages are handled one after another.",
            ),
        ),
        KAFKA,
    ),
)
"""Their fields are those of :class:`~services.scenario.model.Edge`."""

CACHE: Final = (
    Key("scope", word(("request", "process")), example="scope: request"),
    Key("ttl", optional(positive(DURATION), "none"), None, "ttl_ns"),
)
"""Their fields are those of :class:`~services.scenario.model.CachePolicy`; no option of a file."""


def edge(to: Target, mode: Mode, step: str, options: Mapping[str, Any]) -> Edge:
    """``options`` hold every one, by field."""
    return Edge(target=to, mode=mode, origins=(Origin(step, options["count"]),), **options)


def written_options(edge: Edge) -> dict[str, object]:
    """The options that differ from :data:`OPTIONS`, as a file writes them; no fallback."""
    said = written(OPTIONS, edge)
    if edge.mode == "publish":
        del said["protocol"]
    if isinstance(edge.on_error, OnErrorFallback):
        del said["on_error"]
    if edge.cache is not None:
        said["cache"] = written(CACHE, edge.cache)
    if edge.limits:
        said["bound"] = min(limit.max for limit in edge.limits)
    return said
