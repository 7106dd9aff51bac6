"""Gates: the ``--fail-on`` grammar, one for every command that has it.

    gate    = [ "variant(" NAME ")." ] value operator limit
    value   = "findings." KIND  |  "edge(" EDGE ")." FIELD  |  NAME
    EDGE    = caller[.operation] "->" callee[.operation]
    operator= ">" | ">=" | "<" | "<=" | "==" | "!="
    limit   = a number, or a word where the value is one (``verdict == slower``)

A gate *fails* when its comparison is true. ``findings.chatty`` counts that kind and every
``chatty.*``. An edge pools every row that it matches, over operations and protocols; it is held
against the names of the document as they are spelled there, which in anybody's traces may hold
dots, spaces and slashes. A bare name means the default subject of the document: in ``run`` the
baseline, or the only variant that ran.

Names are checked before anything starts (:func:`check`), values when the document is there
(:func:`judge`).
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from hopbench.exits import Exit
from services.errors import BadInput

Value = float | str | None

COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
EDGE_SUMS: Final = ("calls", "calls_per_request", "errors", "retries", "hedges")
"""Those that add up over the rows that an edge pools."""
EDGE_TIMES: Final = (
    *("client_p50_ms", "client_p95_ms", "client_p99_ms"),
    *("queue_p50_ms", "queue_p95_ms"),
    "server_p50_ms",
    *("tax_p50_ms", "tax_p95_ms"),
)
"""Those that do not: of an edge that pools several rows they are not identifiable."""
EDGE_FIELDS: Final = (*EDGE_SUMS, *EDGE_TIMES)

_NAME = r"[a-z][a-z0-9_-]*"
_GATE: Final = re.compile(
    rf"""\s*
    (?: variant\(\s*(?P<variant>[^)]*?)\s*\)\. )?
    (?: findings\.(?P<kind>{_NAME}(?:\.{_NAME})?)
      | edge\(\s*(?P<edge>.*?)\s*\)\.(?P<field>{_NAME})
      | (?P<name>{_NAME})
    )
    \s*(?P<operator>>=|<=|==|!=|>|<)\s*
    (?P<limit>\S+)\s*""",
    re.VERBOSE,
)
_EDGE: Final = re.compile(r"(?P<caller>\S.*?)\s*->\s*(?P<callee>\S.*)")
_EXAMPLES: Final = (
    "for example 'findings.chatty > 0', 'edge(orders->inventory).calls_per_request > 2' "
    "or 'response_p95_ms > 120'"
)


@dataclass(frozen=True, slots=True)
class EdgePattern:
    """Either end is ``service`` or ``service.operation``."""

    caller: str
    callee: str

    def matches(self, row: EdgeRow) -> bool:
        ends = (
            (self.caller, row.caller, row.caller_operation),
            (self.callee, row.callee, row.operation),
        )
        return all(end in {service, f"{service}.{operation}"} for end, service, operation in ends)


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """One edge of a document, or of a topology (then ``values`` is empty)."""

    caller: str
    caller_operation: str
    callee: str
    operation: str
    values: Mapping[str, float | None]


def named(rows: Sequence[EdgeRow]) -> list[tuple[str, EdgeRow]]:
    """Each with what a gate calls it; with the caller's operation where several call the same."""
    several = Counter((row.caller, row.callee, row.operation) for row in rows)
    found = []
    for row in rows:
        shared = several[row.caller, row.callee, row.operation] > 1
        caller = f"{row.caller}.{row.caller_operation}" if shared else row.caller
        found.append((f"{caller}->{row.callee}.{row.operation}", row))
    return found


@dataclass(frozen=True, slots=True)
class Findings:
    kind: str


@dataclass(frozen=True, slots=True)
class EdgeValue:
    edge: EdgePattern
    text: str
    field: str


@dataclass(frozen=True, slots=True)
class Named:
    name: str


@dataclass(frozen=True, slots=True)
class Gate:
    text: str
    variant: str | None
    value: Findings | EdgeValue | Named
    operator: str
    """A key of :data:`COMPARE`."""
    limit: float | str


@dataclass(frozen=True, slots=True)
class Subject:
    """What gates can ask of one variant, or of one document without variants.

    ``finding_counts`` has every kind that a detector may report: 0 where none was found, None where
    there was too little to find anything in. ``words`` has the values that are words, and which.
    """

    values: Mapping[str, Value]
    finding_counts: Mapping[str, int | None]
    edges: Sequence[EdgeRow]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subjects:
    """``default`` is the name that a gate without ``variant(…)`` means."""

    default: str
    by_name: Mapping[str, Subject]


@dataclass(frozen=True, slots=True)
class Outcome:
    gate: str
    value: Value
    limit: float | str
    passed: bool | None
    """None where the value is not identifiable."""

    @property
    def exit(self) -> Exit:
        if self.passed is None:
            return Exit.INCONCLUSIVE
        return Exit.DONE if self.passed else Exit.FAILED

    def line(self) -> str:
        """For people."""
        word = {True: "passed", False: "FAILED", None: "not identifiable"}[self.passed]
        value = f"{self.value:g}" if isinstance(self.value, float) else self.value or "unknown"
        return f"gate {word}: {self.gate} (value {value})"


def parse(text: str) -> Gate:
    """Raises BadInput for text that is not a gate."""
    match = _GATE.fullmatch(text)
    if match is None:
        raise BadInput(f"not a gate: {text!r}", hint=_EXAMPLES)
    part = match.groupdict()
    value: Findings | EdgeValue | Named
    if part["kind"] is not None:
        value = Findings(part["kind"])
    elif part["edge"] is not None:
        value = EdgeValue(_edge(part["edge"], text), part["edge"], part["field"])
    else:
        value = Named(part["name"])
    return Gate(text.strip(), part["variant"], value, part["operator"], _limit(part["limit"], text))


def _edge(text: str, gate: str) -> EdgePattern:
    match = _EDGE.fullmatch(text)
    if match is None:
        raise BadInput(
            f"not an edge: {text!r} in gate {gate!r}",
            hint="an edge is caller->callee, caller->callee.operation "
            "or caller.operation->callee.operation",
        )
    return EdgePattern(**match.groupdict())


def _limit(text: str, gate: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        if re.fullmatch(_NAME, text):
            return text
        raise BadInput(f"not a limit: {text!r} in gate {gate!r}", hint=_EXAMPLES) from None
    if not math.isfinite(number):
        # Nothing is more than nan: such a gate would pass whatever was measured.
        raise BadInput(f"not a limit: {text!r} in gate {gate!r}", hint=_EXAMPLES)
    return number


def check(gates: Iterable[Gate], subjects: Subjects) -> None:
    """Whether every name that ``gates`` use exists. Raises BadInput with the names that do."""
    for gate in gates:
        subject = _subject(gate, subjects)
        match gate.value:
            case Findings(kind):
                kinds = sorted(
                    {*subject.finding_counts, *(k.split(".")[0] for k in subject.finding_counts)}
                )
                _known(gate, "kind of finding", kind, kinds)
            case EdgeValue(edge, text, field):
                _known(gate, "value of an edge", field, EDGE_FIELDS)
                if not any(edge.matches(row) for row in subject.edges):
                    names = sorted(name for name, _ in named(subject.edges))
                    _known(gate, "edge", text, names)
            case Named(name):
                _known(gate, "value", name, sorted(subject.values))
        _comparable(gate, subject)


def _comparable(gate: Gate, subject: Subject) -> None:
    """Words are compared with words, by == and != alone."""
    worded = isinstance(gate.value, Named) and gate.value.name in subject.words
    if isinstance(gate.limit, str) != worded:
        limit = f"{gate.limit:g}" if isinstance(gate.limit, float) else repr(gate.limit)
        raise BadInput(
            f"the value in gate {gate.text!r} is a {'word' if worded else 'number'}, "
            f"and {limit} is none",
            hint=_EXAMPLES,
        )
    if isinstance(gate.value, Named) and worded:
        _known(gate, "word", str(gate.limit), sorted(subject.words[gate.value.name]))
    if worded and gate.operator not in ("==", "!="):
        raise BadInput(
            f"{gate.limit!r} in gate {gate.text!r} is a word, and words have no order",
            hint="use == or !=",
        )


def judge(gate: Gate, subjects: Subjects) -> Outcome:
    """The outcome of a gate that :func:`check` let pass.

    Raises BadInput where the document lacks the name after all (an edge without a call counts 0).
    """
    value = _value(gate, _subject(gate, subjects))
    if value is None:
        return Outcome(gate.text, None, gate.limit, None)
    if isinstance(value, str) or isinstance(gate.limit, str):
        equal = str(value) == str(gate.limit)
        return Outcome(gate.text, value, gate.limit, equal != (gate.operator == "=="))
    return Outcome(
        gate.text, value, gate.limit, not COMPARE[gate.operator](float(value), gate.limit)
    )


def _subject(gate: Gate, subjects: Subjects) -> Subject:
    name = subjects.default if gate.variant is None else gate.variant
    _known(gate, "variant", name, list(subjects.by_name))
    return subjects.by_name[name]


def _value(gate: Gate, subject: Subject) -> Value:
    match gate.value:
        case Findings(kind):
            return _sum(
                count
                for name, count in subject.finding_counts.items()
                if name == kind or name.startswith(f"{kind}.")
            )
        case EdgeValue(edge, _, field):
            rows = [row for row in subject.edges if edge.matches(row)]
            if field in EDGE_TIMES:
                return rows[0].values.get(field) if len(rows) == 1 else None
            return _sum(row.values.get(field) for row in rows)
        case Named(name):
            return subject.values.get(name)


def _sum(values: Iterable[float | None]) -> float | None:
    """None where one of them is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return float(sum(known)) if len(known) == len(found) else None


def _known(gate: Gate, what: str, name: str, names: Sequence[str]) -> None:
    if name in names:
        return
    close = get_close_matches(name, names, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    raise BadInput(
        f"unknown {what} {name!r} in gate {gate.text!r}",
        hint=f"{meant}there {'are' if len(names) != 1 else 'is'}: {', '.join(names) or 'none'}",
    )
