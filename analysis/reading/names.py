"""Names and messages of spans, from their attributes: column by column.

Each rule of :mod:`analysis.reading.conventions` runs once for each distinct combination of what it
looks at, of which there are few, however many spans there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.arrays import I32, I64, NONE, U8, Bool
from analysis.arrays.codes import Codes
from analysis.arrays.grouping import distinct
from analysis.reading import conventions as says
from analysis.reading.recorder import Recorder
from analysis.spans.table import Attributes, Kind, Messages, Status

Integer = TypeVar("Integer", np.int32, np.int64)


@dataclass(slots=True)
class Columns:
    """The recorder's columns as arrays, after duplicates are gone."""

    trace: I32
    span: I32
    parent: I32
    name: I32
    kind: U8
    status: U8
    start: I64
    end: I64
    resource: I32
    follows: Bool
    shared: Bool
    row: I64
    """Of the recorder."""


class Said:
    """Attributes by span, and what resources say."""

    def __init__(self, recorder: Recorder, columns: Columns, table_row: I32) -> None:
        self._recorder = recorder
        self.rows = len(columns.trace)
        names, values = recorder.names, Codes()
        pair_key = np.array([names[key] for key, _ in recorder.pairs], np.int32)
        pair_value = np.array([values[value] for _, value in recorder.pairs], np.int32)
        row = np.repeat(table_row, np.array(recorder.attribute_count, np.int32))
        pair = np.array(recorder.attribute_pair, np.int32)[row >= 0]
        self.row = row[row >= 0]
        self.key, self.value = pair_key[pair], pair_value[pair]
        self.values = list(values)
        default = names[says.UNKNOWN_SERVICE]

        def of(*keys: str, default: int = NONE) -> I32:
            codes = [
                next((names[r[key]] for key in keys if r.get(key)), default)
                for r in recorder.resources
            ]
            return np.array(codes, np.int32)[columns.resource]

        self.service = of("service.name", default=default)
        self.instance = of("service.instance.id")
        self.host = of("host.name", "hostname", "host.id")

    @property
    def place(self) -> I64:
        """Numbers what shares a clock: a host, or where none is named a service's instance."""
        instances = distinct(self.service, self.instance)
        return np.where(self.host >= 0, self.host + instances.count, instances.of)

    def column(self, keys: tuple[str, ...]) -> I32:
        """Value codes by span of the first of ``keys`` that it has; -1 for none."""
        found = np.full(self.rows, NONE, np.int32)
        for key in reversed(keys):
            code = self._recorder.names.get(key)
            if code is not None:
                at = self.key == code
                found[self.row[at]] = self.value[at]
        return found

    def tells(self, keys: tuple[str, ...], value: str) -> Bool:
        """Which spans say ``value`` in the first of ``keys`` that they have."""
        if value not in self.values:
            return np.zeros(self.rows, np.bool_)
        told: Bool = self.column(keys) == self.values.index(value)
        return told

    def table(self) -> Attributes:
        return Attributes(
            self.row, self.key, self.value, pl.Series("", self.values, dtype=pl.String)
        )


class Names:
    """Names and messages of every span, derived once for each distinct combination."""

    def __init__(self, recorder: Recorder, columns: Columns, said: Said) -> None:
        self._codes = recorder.names
        self._values = said.values
        self._kind = columns.kind
        url, url_path = said.column(says.URL), said.column(says.URL_PATH)
        path, path_key = self._paths(np.where(url >= 0, url, url_path))
        template, _ = self._paths(said.column(says.URL_TEMPLATE))
        path = np.where(template >= 0, template, path)
        address = said.column(says.ADDRESS)
        address = np.where(address >= 0, self._coded(address), self._hosts(url))
        target = self._coded(said.column(says.TARGET))
        destination = self._coded(said.column(says.DESTINATION))
        texts = {
            "method": self._coded(said.column(says.HTTP_METHOD)),
            "route": self._coded(said.column(says.HTTP_ROUTE)),
            "path": path,
            "rpc_system": self._coded(said.column(says.RPC_SYSTEM)),
            "rpc_service": self._coded(said.column(says.RPC_SERVICE)),
            "rpc_method": self._coded(said.column(says.RPC_METHOD)),
            "messaging": self._coded(said.column(says.MESSAGING_SYSTEM)),
            "destination": destination,
            "database": self._coded(said.column(says.DATABASE)),
            "target": target,
            "peer": self._coded(said.column(says.PEER)),
            "address": address,
        }
        names = list(self._codes)
        combination = distinct(columns.kind, columns.name, *texts.values())
        first = combination.first
        derived = np.full((4, combination.count), NONE, np.int32)
        for number, row in enumerate(first.tolist()):
            given = {
                key: names[code] if (code := int(column[row])) >= 0 else None
                for key, column in texts.items()
            }
            found = says.named(
                says.Given(
                    kind=int(columns.kind[row]),
                    name=names[columns.name[row]],
                    **given,
                ),
            )
            derived[:, number] = [
                self._codes[found.operation],
                self._codes[found.template],
                NONE if found.peer is None else self._codes[found.peer],
                NONE if found.protocol is None else self._codes[found.protocol],
            ]
        self.operation, self.template, self.peer, self.protocol = derived[:, combination.of]
        self.target, self.destination = target, destination
        self.receives = said.tells(says.MESSAGING_OPERATION, says.RECEIVE)
        self.failed = self._failures(columns, said)

        key = self._coded(said.column(says.KEY))
        attempt, items = said.column(says.ATTEMPT), said.column(says.ITEMS)
        self._says_attempt, self._says_items = attempt >= 0, items >= 0
        self.messages = Messages(
            request_bytes=self._numbers(said.column(says.REQUEST_BYTES), np.int64),
            response_bytes=self._numbers(said.column(says.RESPONSE_BYTES), np.int64),
            attempt=np.maximum(self._numbers(attempt, np.int32), np.int32(0)),
            items=np.where(items >= 0, self._numbers(items, np.int32), np.int32(1)),
            key=np.where(key >= 0, key, path_key).astype(np.int32),
        )

    def inherit(self, parent: I32) -> None:
        """A call span above a library's client span knows what the library does not."""
        calling = (self._kind == Kind.CLIENT) | (self._kind == Kind.PRODUCER)
        row = np.flatnonzero(calling & (parent >= 0))
        above = parent[row]
        tells = (self._kind[above] == Kind.INTERNAL) & (self.target[above] >= 0)
        row, above = row[tells], above[tells]
        self.peer[row] = self.target[above]
        messages = self.messages
        for column in (messages.request_bytes, messages.response_bytes, messages.key):
            column[row] = np.where(column[row] >= 0, column[row], column[above])
        again = ~self._says_attempt[row]
        messages.attempt[row[again]] = messages.attempt[above[again]]
        many = ~self._says_items[row]
        messages.items[row[many]] = messages.items[above[many]]

    def _coded(self, values: I32) -> I32:
        """Value codes as name codes."""
        used = np.unique(values[values >= 0])
        code = np.full(len(self._values) + 1, NONE, np.int32)
        code[used] = [self._codes[self._values[v]] for v in used.tolist()]
        return code[values]

    def _numbers(self, values: I32, dtype: type[Integer]) -> NDArray[Integer]:
        """Value codes as integers, the largest of ``dtype`` for more; -1 for what is none."""
        used = np.unique(values[values >= 0])
        number = np.full(len(self._values) + 1, NONE, dtype)
        most = int(np.iinfo(dtype).max)
        number[used] = [min(max(_integer(self._values[v]), NONE), most) for v in used.tolist()]
        return number[values]

    def _paths(self, values: I32) -> tuple[I32, I32]:
        """Name codes of the template, and of what it hides."""
        used = np.unique(values[values >= 0])
        template = np.full(len(self._values) + 1, NONE, np.int32)
        key = np.full(len(self._values) + 1, NONE, np.int32)
        for v in used.tolist():
            found = says.templated(says.path_of(self._values[v]))
            template[v] = self._codes[found.template]
            if found.key is not None:
                key[v] = self._codes[found.key]
        return template[values], key[values]

    def _hosts(self, values: I32) -> I32:
        used = np.unique(values[values >= 0])
        host = np.full(len(self._values) + 1, NONE, np.int32)
        for v in used.tolist():
            if (found := says.host_of(self._values[v])) is not None:
                host[v] = self._codes[found]
        return host[values]

    def _failures(self, columns: Columns, said: Said) -> Bool:
        http, rpc, error = (
            said.column(keys) for keys in (says.HTTP_CODE, says.RPC_CODE, says.ERROR)
        )
        seen = distinct(columns.kind, columns.status, http, rpc, error)
        failed = np.zeros(seen.count, np.bool_)

        def text(code: int) -> str | None:
            return self._values[code] if code >= 0 else None

        for number, row in enumerate(seen.first.tolist()):
            status = int(columns.status[row])
            failed[number] = status == Status.ERROR or (
                status == Status.UNSET
                and says.failed(
                    int(columns.kind[row]),
                    text(int(http[row])),
                    text(int(rpc[row])),
                    text(int(error[row])),
                )
            )
        return failed[seen.of]


def _integer(text: str) -> int:
    try:
        return int(text) if text.isdigit() else int(float(text))
    except (ValueError, OverflowError):
        return NONE
