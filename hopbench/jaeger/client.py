"""Jaeger's query API, as a client: which services there are, searches, and traces by id.

API v3 (``/api/v3/…``) first, Jaeger's own JSON (``/api/…``) where an address has no v3. Jaeger
2.13 reads the parameters in snake_case alone, newer ones prefer camelCase, so both are sent
(api_v3/query_service.proto, ``http_gateway.go``). There is no cursor: a search returns at most
``depth`` traces, those stored last, and says nothing of others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Literal, Self
from urllib.parse import quote, urlsplit

import grpc
from aiohttp import ClientError, ClientResponseError, ClientSession, ClientTimeout

from analysis.reading.formats.content import uncollected
from hopbench.jaeger.answers import EMPTY, NoAnswer, Page, document_of, reason_in, span_ids
from services.errors import BadInput, CannotStart
from services.system.endpoints import Endpoint, endpoint, reason, silence

PART: Final = "jaeger"
OTLP_PORT: Final = 4317
HINT: Final = "start Jaeger there, or leave --jaeger out to use the embedded collector"

Api = Literal["v3", "legacy"]

_ANSWER_S: Final = 30.0
_PROBE_S: Final = 3.0
_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_NARROWEST_NS: Final = 1_000
"""Of a window: below it there is no halving, and what does not fit in one answer is missed."""


class Unanswered(Exception):
    """Jaeger did not answer, or with something that is no answer; the text says which."""


class DepthRefused(Exception):
    """More traces at once than the store is willing to look for."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one Jaeger is found."""

    query: str
    """URL that the API's paths are put behind, without a slash at its end."""
    otlp: Endpoint
    """Of OTLP over gRPC."""
    ui: str
    """URL of its pages, as people reach them."""

    def link(self, trace_id: str) -> str:
        """The page that shows one trace."""
        return f"{self.ui}/trace/{trace_id}"


def addresses(query: str, otlp: str | None = None, ui: str | None = None) -> Addresses:
    """Of ``--jaeger``, ``--jaeger-otlp`` and ``--jaeger-ui``. Raises BadInput."""
    base = checked_url("--jaeger", query)
    spans = Endpoint(urlsplit(base).hostname or "", OTLP_PORT)
    if otlp is not None:
        try:
            spans = endpoint(otlp)
        except ValueError as error:
            raise BadInput(f"--jaeger-otlp: {error}") from None
    return Addresses(
        query=base,
        otlp=spans,
        ui=base if ui is None else checked_url("--jaeger-ui", ui),
    )


def checked_url(what: str, url: str) -> str:
    """``url`` without a slash at its end. Raises BadInput where it is no HTTP URL."""
    hint = "write it as http://HOST:16686"
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError as error:
        raise BadInput(f"{what}: {url!r}: {error}", hint=hint) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits:
        raise BadInput(f"{what}: {url!r} is no URL of a Jaeger", hint=hint)
    if parts.query or parts.fragment:
        raise BadInput(f"{what}: {url!r} has more than a path behind its address", hint=hint)
    return url.rstrip("/")


class Jaeger:
    """A client of one Jaeger. Use :func:`connected`, or :meth:`find_api` before anything else."""

    def __init__(self, query: str, api: Api = "v3") -> None:
        self.query = query
        self.api: Api = api
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            timeout=ClientTimeout(total=_ANSWER_S, sock_connect=_PROBE_S), trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def find_api(self) -> None:
        """Learn which API is spoken. Raises Unanswered where there is none."""
        why = Unanswered(f"{self.query} answers, but not as Jaeger does")
        for api in ("v3", "legacy"):
            try:
                await self._services(api)
            except NoAnswer as error:
                why = Unanswered(f"{self.query} is no Jaeger: {error}")
            else:
                self.api = "v3" if api == "v3" else "legacy"
                return
        raise why

    async def services(self) -> tuple[str, ...]:
        """Names, sorted. Raises Unanswered."""
        try:
            return await self._services(self.api)
        except NoAnswer as error:
            raise Unanswered(f"{self.query}: {error}") from error

    async def _services(self, api: str) -> tuple[str, ...]:
        path, key = ("/api/v3/services", "services") if api == "v3" else ("/api/services", "data")
        status, body = await self._get(path, {}, _PROBE_S)
        document = document_of(status, body)
        names = document.get(key)
        # An empty list is left out, by the rules of protobuf's JSON.
        if names is None and (document.keys() <= {key} or "errors" in document):
            names = []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise NoAnswer("its answer lists no services")
        return tuple(sorted(names))

    async def search(self, service: str, from_ns: int, to_ns: int, depth: int) -> Page:
        """Traces in which ``service`` has a span that starts from ``from_ns`` up to ``to_ns``,
        Unix time, both included; at most ``depth``.

        Raises Unanswered, and DepthRefused.
        """
        return self._page(*await self.fetch(service, from_ns, to_ns, depth))

    async def fetch(self, service: str, from_ns: int, to_ns: int, depth: int) -> tuple[int, bytes]:
        """Status and body of a search. Raises Unanswered."""
        if self.api == "legacy":
            parameters = {
                "service": service,
                "start": str(from_ns // 1000),
                "end": str(-(-to_ns // 1000)),
                "limit": str(depth),
                "lookback": "custom",
            }
            return await self._get("/api/traces", parameters, _ANSWER_S)
        low, high = rfc3339(from_ns), rfc3339(to_ns)
        parameters = {
            "query.service_name": service,
            "query.serviceName": service,
            "query.start_time_min": low,
            "query.startTimeMin": low,
            "query.start_time_max": high,
            "query.startTimeMax": high,
            "query.num_traces": str(depth),
            "query.search_depth": str(depth),
            "query.searchDepth": str(depth),
            # As they came: no clock is adjusted, no warning added.
            "query.raw_traces": "true",
            "query.rawTraces": "true",
        }
        return await self._get("/api/v3/traces", parameters, _ANSWER_S)

    async def trace(self, trace_id: str) -> Page:
        """One trace; :data:`EMPTY` where Jaeger has none of that id. Raises Unanswered."""
        if self.api == "legacy":
            path, parameters = "/api/traces/", {"raw": "true"}
        else:
            path, parameters = "/api/v3/traces/", {"raw_traces": "true", "rawTraces": "true"}
        return self._page(*await self._get(path + quote(trace_id), parameters, _ANSWER_S))

    def _page(self, status: int, body: bytes) -> Page:
        if status == 404:
            return EMPTY
        if status >= 400 and b"depth" in body:
            raise DepthRefused(f"HTTP {status}{reason_in(body)}")
        try:
            with uncollected():
                document = document_of(status, body)
                return Page(body, document, span_ids(document))
        except NoAnswer as error:
            raise Unanswered(f"{self.query}: {error}") from error

    async def _get(
        self, path: str, parameters: Mapping[str, str], bound_s: float
    ) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError("use it as an asynchronous context manager")
        try:
            async with self._session.get(
                self.query + path,
                params=parameters,
                timeout=ClientTimeout(total=bound_s, sock_connect=_PROBE_S),
            ) as response:
                return response.status, await response.read()
        except TimeoutError as error:
            raise TooLate(f"{self.query} does not answer: nothing within {bound_s:g} s") from error
        except (ClientError, OSError) as error:
            raise Unanswered(f"{self.query} does not answer: {_reason(error)}") from error


class TooLate(Unanswered):
    """It takes connections, and answers nothing."""


def rfc3339(unix_ns: int) -> str:
    """UTC with nanoseconds, which datetime alone does not have."""
    seconds, rest = divmod(unix_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError):
        return reason(cause)
    if isinstance(cause, ClientResponseError) and cause.status == HTTPStatus.BAD_REQUEST:
        return "what it says is no HTTP"  # aiohttp adds the bytes themselves
    return str(cause) or type(cause).__name__


async def pages(
    jaeger: Jaeger, service: str, from_ns: int, to_ns: int, depth: int
) -> AsyncIterator[Page]:
    """Everything that a search over the window finds, the latest part first; a trace may come
    again where it has spans in several parts.

    An answer with as many traces as ``depth`` may have left some out: its window is halved.
    Raises Unanswered.
    """
    left = [(from_ns, to_ns)]
    while left:
        low, high = left.pop()
        try:
            page = await jaeger.search(service, low, high, depth)
        except DepthRefused as error:
            if depth == 1:
                raise Unanswered(f"{jaeger.query}: {error}") from error
            depth //= 2
            left.append((low, high))
            continue
        if len(page.spans) >= depth and high - low > _NARROWEST_NS:
            middle = (low + high) // 2
            left += [(low, middle), (middle + 1, high)]
        elif page.spans:
            yield page


async def connected(where: Addresses) -> Api:
    """Which API the Jaeger at ``where`` speaks, once it answers there and takes spans.

    Raises CannotStart where it does not, naming which of the two fails.
    """
    try:
        async with Jaeger(where.query) as jaeger:
            await jaeger.find_api()
            api = jaeger.api
    except Unanswered as error:
        raise CannotStart(PART, str(error), hint=HINT) from error
    if why := await otlp_refuses(where.otlp):
        raise CannotStart(
            PART,
            f"{where.query} answers, but {where.otlp} takes no spans: {why}",
            hint="--jaeger-otlp HOST:PORT says where it takes OTLP over gRPC",
        )
    return api


async def otlp_refuses(address: Endpoint) -> str | None:
    """Why ``address`` takes no spans over OTLP/gRPC; None where it does."""
    # Asked first, because gRPC tries a refused connection again for the whole time.
    if why := await silence(address, _PROBE_S):
        return why
    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(str(address), options=options) as channel:
        try:
            await channel.unary_unary(_EXPORT, None, None)(b"", timeout=_PROBE_S)
        except grpc.aio.AioRpcError as error:
            return f"no OTLP over gRPC there ({error.code().name})"
    return None
