"""What variants have in common, side by side: a row for each thing, a cell for each variant."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from analysis.figures import UNKNOWN
from analysis.report.calls import EdgeView
from analysis.report.view import FindingView, PathView, VariantView

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of a finding in a variant."""

    text: str
    tone: Literal["bad", "good", ""] = ""


@dataclass(frozen=True, slots=True)
class FindingRow:
    finding: FindingView
    """As the first variant has it."""
    variant: str
    index: int
    """Which of that variant's findings it is."""
    cells: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """An edge over whatever protocol: variants change that."""

    name: str
    carrier: str
    """Of the first variant that has it."""
    cells: tuple[tuple[EdgeView, ...], ...]


@dataclass(frozen=True, slots=True)
class PathRow:
    root: str
    name: str
    cells: tuple[PathView | None, ...]


@dataclass(frozen=True, slots=True)
class ExpectationRow:
    kind: str
    where: str
    cells: tuple[Standing, ...]


def side_by_side(columns: Sequence[Mapping[K, V]]) -> dict[K, tuple[V | None, ...]]:
    """In the order in which the columns have them, the first column first."""
    keys = dict.fromkeys(key for column in columns for key in column)
    return {key: tuple(column.get(key) for column in columns) for key in keys}


def finding_rows(variants: Sequence[VariantView]) -> tuple[FindingRow, ...]:
    """Minor ones have no row of their own."""
    first: dict[tuple[str, ...], tuple[FindingView, str, int]] = {}
    for variant in variants:
        for i, finding in enumerate(variant.findings):
            first.setdefault(finding.identity, (finding, variant.name, i))
    return tuple(
        FindingRow(*of, tuple(_standing(variant, identity) for variant in variants))
        for identity, of in first.items()
    )


def _standing(variant: VariantView, identity: tuple[str, ...]) -> Standing:
    for finding in variant.findings:
        if finding.identity == identity:
            return Standing(finding.cost, "bad")
    if any(finding.identity == identity for finding in variant.minor):
        return Standing("minor")
    if variant.unmeasured:
        return Standing(UNKNOWN)
    return Standing("gone", "good") if identity in variant.kept else Standing("none")


def edge_rows(variants: Sequence[VariantView]) -> tuple[EdgeRow, ...]:
    columns: list[dict[tuple[str, ...], tuple[EdgeView, ...]]] = []
    for variant in variants:
        column: dict[tuple[str, ...], tuple[EdgeView, ...]] = {}
        for edge in variant.edges:
            way = (edge.caller, edge.caller_operation, edge.callee, edge.operation)
            column[way] = (*column.get(way, ()), edge)
        columns.append(column)
    rows = []
    for cells in side_by_side(columns).values():
        edges = [edge for cell in cells for edge in cell or ()]
        # Where it is shared in one variant, and in another not, the longer name says more.
        name = max((edge.name for edge in edges), key=len)
        rows.append(EdgeRow(name, edges[0].carrier, tuple(cell or () for cell in cells)))
    return tuple(rows)


def path_rows(variants: Sequence[VariantView]) -> tuple[PathRow, ...]:
    """Root by root."""
    found = side_by_side([{(p.root, p.name): p for p in v.critical_path} for v in variants])
    roots = list(dict.fromkeys(root for root, _ in found))
    rows = (PathRow(root, name, cells) for (root, name), cells in found.items())
    return tuple(sorted(rows, key=lambda row: roots.index(row.root)))


def expectation_rows(variants: Sequence[VariantView]) -> tuple[ExpectationRow, ...]:
    """What the scenario expects; then what it does not, and was found."""
    words = {
        True: Standing("met", "good"),
        False: Standing("not met", "bad"),
        None: Standing("not judged"),
    }
    found = side_by_side(
        [
            {(e.kind, e.where): words[e.met] for e in v.expectations}
            | {("not expected", place): Standing("found", "bad") for place in v.unexpected}
            for v in variants
        ]
    )
    rows = (
        ExpectationRow(kind, where, tuple(cell or Standing("") for cell in cells))
        for (kind, where), cells in found.items()
    )
    return tuple(sorted(rows, key=lambda row: row.kind == "not expected"))
