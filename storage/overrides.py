"""An office's own numbers from CSV, into the table and out of it. A bad row is reported and left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detectors.overrides import SCOPES, Override, Scope, demand_overridable, overridable
from detectors.rules import RulePack
from storage.connect import Connection
from storage.csv_rows import (
    BadCell,
    BadRow,
    Cell,
    Convert,
    ImportReport,
    cells_of,
    check_columns,
    day_cell,
    number_cell,
    one_of,
    read_rows,
    text_cell,
)
from storage.marks import MarkStore
from storage.registry import KINDS

_REQUIRED = ("scope", "id", "number", "value", "valid_from", "basis")
_COLUMNS: dict[str, Convert] = {
    "scope": one_of(frozenset(SCOPES)),
    "id": text_cell(64),
    "number": text_cell(64),
    "value": number_cell(float, 0, 1e9, "in the unit of its name"),
    "valid_from": day_cell,
    "valid_to": day_cell,
    "basis": text_cell(200),
}
_STORED = "scope, scope_id, number, value, valid_from, valid_to, basis"

# Three joins, each on a column of its own: one with a choice would compare every vehicle with every row.
_CONCERNED = """
WITH s AS MATERIALIZED (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) AS s (scope, id, number))
SELECT v.vehicle_id, s.number, s.scope FROM s JOIN vehicles v ON s.scope = 'operator' AND v.operator_id = s.id
UNION ALL
SELECT v.vehicle_id, s.number, s.scope FROM s JOIN vehicles v ON s.scope = 'kind' AND v.kind = s.id
UNION ALL
SELECT v.vehicle_id, s.number, s.scope FROM s JOIN vehicles v ON s.scope = 'vehicle' AND v.vehicle_id = s.id
ORDER BY 1, 2, 3
"""

Key = tuple[Scope, str, str]
"""Scope, id and number: of these only one override holds a day."""


class Line(NamedTuple):
    """A good row with its line."""

    line: int
    override: Override


class ParsedOverrides(NamedTuple):
    """A file read: its good rows in the file's order, and the bad ones."""

    lines: list[Line]
    bad_rows: list[BadRow]

    def by_scope(self) -> dict[tuple[Scope, str], list[Override]]:
        """Those in force on any day, by scope and id."""
        return _by_scope([each.override for each in self.lines])


def holds_overrides(path: Path) -> bool:
    """Whether a file's first line is that of overrides."""
    return {"scope", "number"} <= set(read_rows(path)[0])


def parse_overrides(path: Path, pack: RulePack) -> ParsedOverrides:
    """Read overrides.csv; the numbers must be those of the pack. RegistryError when it is no such file."""
    parsed = _parse(path, pack)
    lines, overlapping = _without_overlaps(parsed.lines, {})
    return ParsedOverrides(lines, sorted(parsed.bad_rows + overlapping))


async def import_overrides(connection: Connection, path: Path, pack: RulePack, by: str) -> ImportReport:
    """Store a file's good rows, all or none. One that begins on the day of a stored one takes its place."""
    parsed = _parse(path, pack)
    async with connection.transaction():
        # One import at a time, of vehicles too, so that none overlaps unseen and whom it concerns is known.
        await connection.execute("LOCK TABLE vehicles, rule_overrides IN SHARE ROW EXCLUSIVE MODE")
        lines, bad_rows = await _known_subjects(connection, parsed.lines)
        stored = await _stored(connection, lines)
        lines, overlapping = _without_overlaps(lines, stored)
        async with connection.cursor() as writer:
            # All first: a row may move into days that another one leaves.
            await writer.executemany(
                "DELETE FROM rule_overrides WHERE (scope, scope_id, number, valid_from) = (%s, %s, %s, %s)",
                [(*_key(each.override), each.override.valid_from) for each in lines],
            )
            await writer.executemany(
                f"INSERT INTO rule_overrides ({_STORED}, imported_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                [(*each.override, by) for each in lines],
            )
        same = {each for overrides in stored.values() for each in overrides}
        await _judge_again(connection, [each.override for each in lines if each.override not in same])
    return ImportReport("overrides", len(lines), sorted(parsed.bad_rows + bad_rows + overlapping))


async def has_overrides(connection: Connection) -> bool:
    """Whether there is any."""
    row = await (await connection.execute("SELECT EXISTS (SELECT FROM rule_overrides)")).fetchone()
    return row is not None and bool(row[0])


async def overrides_of_scopes(
    connection: Connection, scopes: Sequence[tuple[Scope, str]]
) -> dict[tuple[Scope, str], list[Override]]:
    """Those that are ever in force, of these operators, kinds and vehicles."""
    if not scopes:
        return {}
    cursor = await connection.execute(
        f"SELECT {_STORED} FROM rule_overrides JOIN unnest(%s::text[], %s::text[]) AS s (scope, scope_id)"
        " USING (scope, scope_id) WHERE valid_to IS DISTINCT FROM valid_from",
        [list(column) for column in zip(*scopes, strict=True)],
    )
    return _by_scope([Override(*row) for row in await cursor.fetchall()])


def _parse(path: Path, pack: RulePack) -> ParsedOverrides:
    columns, records = read_rows(path)
    check_columns(path, columns, _COLUMNS, _REQUIRED)
    parsed = ParsedOverrides([], [])
    for line, record in records:
        try:
            override = _override(cells_of(columns, record, _COLUMNS, _REQUIRED))
            _check(override, pack)
        except BadCell as bad:
            parsed.bad_rows.append(BadRow(line, bad.column, bad.why))
        else:
            parsed.lines.append(Line(line, override))
    return parsed


def _override(cells: Mapping[str, Cell]) -> Override:
    values: dict[str, Any] = {"valid_to": None, **cells}
    return Override(scope_id=values.pop("id"), **values)


def _check(override: Override, pack: RulePack) -> None:
    known = overridable(pack)
    if override.scope == "kind" and override.scope_id not in KINDS:
        raise BadCell("id", f"{override.scope_id!r} is none of {', '.join(sorted(KINDS))}")
    if override.number not in known:
        raise BadCell("number", f"{override.number!r} is none of {', '.join(known)}")
    try:
        demand_overridable(pack, override.number, override.value)
    except ValueError as error:
        raise BadCell("value", str(error)) from None
    if override.valid_to is not None and override.valid_to < override.valid_from:
        raise BadCell("valid_to", f"{override.valid_to} is before valid_from {override.valid_from}")


async def _known_subjects(connection: Connection, lines: Sequence[Line]) -> tuple[list[Line], list[BadRow]]:
    """Lines whose operator or vehicle is in the registry, and the others."""
    known: dict[str, set[str]] = {}
    for scope in ("operator", "vehicle"):
        ids = sorted({each.override.scope_id for each in lines if each.override.scope == scope})
        cursor = await connection.execute(
            f"SELECT {scope}_id FROM {scope}s WHERE {scope}_id = ANY(%s) FOR KEY SHARE",
            [ids],
        )
        known[scope] = {str(name) for (name,) in await cursor.fetchall()}
    good, bad_rows = [], []
    for each in lines:
        scope, name = each.override.scope, each.override.scope_id
        if name in known.get(scope, (name,)):
            good.append(each)
        else:
            bad_rows.append(BadRow(each.line, "id", f"{name!r} is not in the registry: import {scope}s.csv first"))
    return good, bad_rows


async def _stored(connection: Connection, lines: Sequence[Line]) -> dict[Key, list[Override]]:
    scopes = sorted({(each.override.scope, each.override.scope_id) for each in lines})
    by_scope = await overrides_of_scopes(connection, scopes)
    stored: dict[Key, list[Override]] = {}
    for overrides in by_scope.values():
        for each in overrides:
            stored.setdefault(_key(each), []).append(each)
    return stored


async def _judge_again(connection: Connection, changed: Sequence[Override]) -> None:
    """Mark the vehicles that these concern: workers take up what changed, the past stays as it was judged."""
    if not changed:
        return
    cursor = await connection.execute(
        _CONCERNED, [list(column) for column in zip(*sorted({_key(each) for each in changed}), strict=True)]
    )
    why: dict[str, list[str]] = {}
    for vehicle_id, number, scope in await cursor.fetchall():
        why.setdefault(vehicle_id, []).append(f"the office's {number} for the {scope} changed")
    await MarkStore(connection).registry_changed(why)


def _without_overlaps(
    lines: Sequence[Line], stored: Mapping[Key, Sequence[Override]]
) -> tuple[list[Line], list[BadRow]]:
    """The lines that hold days of their own, and those that overlap an earlier line or what is stored.

    A line takes the place of a stored override that begins on its day. Where it is left out, that one stays, and may
    stand in the way of another line: hence again, until none is.
    """
    bad_rows: list[BadRow] = []
    left = list(lines)
    while True:
        begins = {(*_key(each.override), each.override.valid_from) for each in left}
        accepted: dict[Key, list[Line]] = {}
        for key, overrides in stored.items():
            staying = [each for each in overrides if (*key, each.valid_from) not in begins]
            accepted[key] = [Line(0, each) for each in staying]
        kept: list[Line] = []
        for each in left:
            others = accepted.setdefault(_key(each.override), [])
            rival = next((other for other in others if _collide(each.override, other.override)), None)
            if rival is None:
                kept.append(each)
                others.append(each)
            else:
                bad_rows.append(BadRow(each.line, "valid_from", _why(rival)))
        if len(kept) == len(left):
            return kept, bad_rows
        left = kept


def _collide(one: Override, other: Override) -> bool:
    return one.valid_from == other.valid_from or one.overlaps(other)


def _why(rival: Line) -> str:
    other = rival.override
    until = "for good" if other.valid_to is None else f"until before {other.valid_to}"
    where = f"on line {rival.line}" if rival.line else "stored"
    return (
        f"overlaps the one {where} that holds from {other.valid_from} {until}: let that one end first"
        " (its row again, with valid_to)"
    )


def _key(override: Override) -> Key:
    return override.scope, override.scope_id, override.number


def _by_scope(overrides: Sequence[Override]) -> dict[tuple[Scope, str], list[Override]]:
    found: dict[tuple[Scope, str], list[Override]] = {}
    for each in overrides:
        if each.valid_to != each.valid_from:
            found.setdefault((each.scope, each.scope_id), []).append(each)
    return found
