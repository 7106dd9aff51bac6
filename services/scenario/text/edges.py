"""The options of an edge: how a file writes each, what it is when nothing is said, and back.

Options cascade: what a step says holds over its operation's ``defaults``, those over the
service's, those over the file's, those over :data:`BUILTIN`. A value is taken whole: a ``retry``
given on a step shares nothing with the one above it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.scenario.distributions import Constant
from services.scenario.limits import MAX_ITEMS, MAX_REPLICAS
from services.scenario.model import (
    PROTOCOLS,
    Edge,
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
from services.scenario.names import is_name
from services.scenario.text import units
from services.scenario.text.amounts import SIZE
from services.scenario.text.reader import (
    Reader,
    bad,
    integer,
    mapping,
    optional,
    positive,
    quantity,
    quoted,
    text,
    word,
)
from services.scenario.text.source import Map, Node

Read = Callable[[str | None, Node], Any]
Values = Mapping[str, Any]


KAFKA: Final = KafkaOptions(partitions=4, acks="1", linger_ns=0)
"""As aiokafka has it; the embedded broker has 4 partitions whatever is asked."""


def target(file: str | None, node: Node) -> Target:
    found = text(file, node)
    service, dot, operation = found.partition(".")
    if not dot or not is_name(service) or not is_name(operation):
        raise bad(file, node, f"{quoted(found)} is not a target", "write service.operation")
    return Target(service, operation)


def hedge_delay(file: str | None, node: Node) -> int | None:
    """``20ms``, or None for ``p95``."""
    return optional(positive(quantity(units.duration)), "p95")(file, node)


def key(file: str | None, node: Node) -> int:
    r = mapping(file, node, "key")
    distinct = integer(1)(file, r.need("distinct", "key: {distinct: 50}"))
    r.done()
    return distinct


def _retry(file: str | None, node: Node) -> Retry:
    r = mapping(file, node, "retry")
    found = Retry(
        max=integer(1)(file, r.need("max", "retry: {max: 2}")),
        backoff_ns=r.get("backoff", quantity(units.duration), 10_000_000),
        jitter=r.get("jitter", quantity(units.probability), 0.5),
        budget=r.get("budget", optional(quantity(units.probability), "unlimited"), None),
    )
    r.done()
    return found


def _hedge(file: str | None, node: Node) -> HedgePolicy:
    r = mapping(file, node, "hedge")
    found = HedgePolicy(hedge_delay(file, r.need("after", "hedge: {after: 20ms}")))
    r.done()
    return found


def _kafka(file: str | None, node: Node) -> KafkaOptions:
    r = mapping(file, node, "kafka")
    found = KafkaOptions(
        partitions=r.get("partitions", integer(1, MAX_REPLICAS), KAFKA.partitions),
        acks=r.get("acks", word(("0", "1", "all")), KAFKA.acks),
        linger_ns=r.get("linger", quantity(units.duration), KAFKA.linger_ns),
    )
    r.done()
    return found


def _on_error(file: str | None, node: Node) -> OnErrorFail | OnErrorIgnore:
    if isinstance(node, Map):
        raise bad(
            file,
            node,
            "a fallback belongs to one step, not to defaults",
            "defaults may say fail or ignore",
        )
    if word(("fail", "ignore"))(file, node) == "fail":
        return OnErrorFail()
    return OnErrorIgnore()


BUILTIN: Final[Values] = {
    "protocol": "http",
    "count": 1,
    "batch": 1,
    "max_parallel": 1,
    "probability": 1.0,
    "request": Constant(200.0),
    "response": Constant(1024.0),
    "key": None,
    "timeout": None,
    "retry": None,
    "hedge": None,
    "on_error": OnErrorFail(),
    "kafka": KAFKA,
}

OPTIONS: Final[Mapping[str, Read]] = {
    "protocol": word(PROTOCOLS),
    "count": integer(1, MAX_ITEMS),
    "batch": integer(1),
    "max_parallel": optional(integer(1), "all"),
    "probability": quantity(units.probability),
    "request": SIZE.read,
    "response": SIZE.read,
    "key": optional(key, "none"),
    "timeout": optional(positive(quantity(units.duration)), "none"),
    "retry": optional(_retry, "none"),
    "hedge": optional(_hedge, "none"),
    "on_error": _on_error,
    "kafka": _kafka,
}


def given(r: Reader, *, fallback: Callable[[Node], OnErrorFallback] | None = None) -> Values:
    """The options that a mapping itself gives."""
    found: dict[str, Any] = {}
    for option, read in OPTIONS.items():
        node = r.take(option)
        if node is None:
            continue
        if option == "on_error" and fallback is not None and isinstance(node, Map):
            inner = mapping(r.file, node, "on_error")
            found[option] = fallback(inner.need("fallback", "on_error: {fallback: [work: 1ms]}"))
            inner.done()
        else:
            found[option] = read(r.file, node)
    return found


def edge(to: Target, mode: Mode, step: str, values: Values) -> Edge:
    """``values`` hold every option."""
    return Edge(
        target=to,
        protocol="kafka" if mode == "publish" else values["protocol"],
        mode=mode,
        count=values["count"],
        batch=values["batch"],
        max_parallel=values["max_parallel"],
        probability=values["probability"],
        request_bytes=values["request"],
        response_bytes=values["response"],
        key_distinct=values["key"],
        timeout_ns=values["timeout"],
        retry=values["retry"],
        hedge=None if mode == "publish" else values["hedge"],
        on_error=values["on_error"],
        kafka=values["kafka"],
        origins=(Origin(step, values["count"]),),
    )


def written(edge: Edge) -> dict[str, object]:
    """The options that differ from :data:`BUILTIN`, as a file writes them; no fallback."""
    options: dict[str, tuple[object, object]] = {
        "protocol": (edge.protocol, edge.protocol),
        "count": (edge.count, edge.count),
        "batch": (edge.batch, edge.batch),
        "max_parallel": (edge.max_parallel, edge.max_parallel or "all"),
        "probability": (edge.probability, units.probability_text(edge.probability)),
        "request": (edge.request_bytes, SIZE.write(edge.request_bytes)),
        "response": (edge.response_bytes, SIZE.write(edge.response_bytes)),
        "key": (edge.key_distinct, {"distinct": edge.key_distinct}),
        "timeout": (edge.timeout_ns, units.time_text(edge.timeout_ns or 0)),
        "retry": (edge.retry, edge.retry and _written_retry(edge.retry)),
        "hedge": (edge.hedge, edge.hedge and {"after": delay_text(edge.hedge.after_ns)}),
        "on_error": (
            edge.on_error,
            "ignore" if isinstance(edge.on_error, OnErrorIgnore) else "fail",
        ),
        "kafka": (edge.kafka, _written_kafka(edge.kafka)),
    }
    if edge.mode == "publish":
        del options["protocol"]
    return {
        name: text
        for name, (value, text) in options.items()
        if value != BUILTIN[name] and not isinstance(value, OnErrorFallback)
    }


def delay_text(after_ns: int | None) -> str:
    return "p95" if after_ns is None else units.time_text(after_ns)


def _written_retry(retry: Retry) -> dict[str, object]:
    return {
        "max": retry.max,
        "backoff": units.time_text(retry.backoff_ns),
        "jitter": units.probability_text(retry.jitter),
        "budget": "unlimited" if retry.budget is None else units.probability_text(retry.budget),
    }


def _written_kafka(kafka: KafkaOptions) -> dict[str, object]:
    return {
        "partitions": kafka.partitions,
        "acks": kafka.acks,
        "linger": units.time_text(kafka.linger_ns),
    }
