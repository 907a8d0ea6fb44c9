"""The registry: operators, vehicles and drivers from CSV. A bad row is reported and left out; the rest counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from psycopg import sql

from storage.connect import Connection
from storage.csv_rows import (
    BadCell,
    BadRow,
    Cell,
    Convert,
    ImportReport,
    RegistryError,
    cells_of,
    check_columns,
    number_cell,
    one_of,
    read_rows,
    text_cell,
)  # fmt: skip
from storage.marks import MarkStore

KINDS = frozenset({"taxi", "city_bus", "fixed_route", "contract", "tourist", "container", "goods", "internal"})
SPEED_CLASSES = frozenset({"car", "heavy", "articulated", "trailer"})

_MAX_ID = 64
_MAX_TEXT = 200
_MAX_ADDRESS = 1000


class OperatorRow(NamedTuple):
    """One transport operator; None where the file says nothing."""

    operator_id: str
    name: str
    tax_code: str | None = None
    province: str | None = None
    alert_url: str | None = None


class VehicleRow(NamedTuple):
    """One vehicle; None where the file says nothing."""

    vehicle_id: str
    operator_id: str | None = None
    kind: str | None = None
    speed_class: str | None = None
    limit_kmh: float | None = None
    seats: int | None = None
    payload_t: float | None = None


class DriverRow(NamedTuple):
    """One driver; None where the file says nothing."""

    driver_id: str
    operator_id: str | None = None
    name: str | None = None
    rule_pack: str | None = None


Row = TypeVar("Row", OperatorRow, VehicleRow, DriverRow)


class Parsed(NamedTuple, Generic[Row]):
    """A file read: the good rows in the file's order with their lines, the bad ones, and the columns it has."""

    rows: list[Row]
    lines: list[int]
    bad_rows: list[BadRow]
    columns: list[str]


def parse_operators(path: Path) -> Parsed[OperatorRow]:
    """Read operators.csv. RegistryError when it is no such file."""
    return _parse(path, OperatorRow, _OPERATOR_COLUMNS, required=("operator_id", "name"))


def parse_vehicles(path: Path) -> Parsed[VehicleRow]:
    """Read vehicles.csv. RegistryError when it is no such file."""
    return _parse(path, VehicleRow, _VEHICLE_COLUMNS, required=("vehicle_id",))


def parse_drivers(path: Path) -> Parsed[DriverRow]:
    """Read drivers.csv. RegistryError when it is no such file."""
    return _parse(path, DriverRow, _DRIVER_COLUMNS, required=("driver_id",))


def table_of(path: Path) -> str:
    """Which of operators, vehicles and drivers a file holds, by its columns."""
    columns = set(read_rows(path)[0])
    if "vehicle_id" in columns:
        return "vehicles"
    if "driver_id" in columns:
        return "drivers"
    if "operator_id" in columns:
        return "operators"
    raise RegistryError(f"{path}: expected a column vehicle_id, driver_id or operator_id in the first line")


async def import_file(connection: Connection, path: Path) -> ImportReport:
    """Store a file's good rows, all or none; existing ones are updated in the columns that the file has."""
    match table_of(path):
        case "vehicles":
            return await _store(connection, "vehicles", parse_vehicles(path))
        case "drivers":
            return await _store(connection, "drivers", parse_drivers(path))
        case _:
            return await _store(connection, "operators", parse_operators(path))


async def _store(connection: Connection, table: str, parsed: Parsed[Row]) -> ImportReport:
    bad_rows = list(parsed.bad_rows)
    rows: list[Row] = []
    key = f"{table.removesuffix('s')}_id"
    async with connection.transaction():
        # One import at a time, so that what each changed is known; reading goes on.
        await connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(table)))
        cursor = await connection.execute("SELECT operator_id FROM operators FOR SHARE")
        operators = {str(operator_id) for (operator_id,) in await cursor.fetchall()}
        for row, line in zip(parsed.rows, parsed.lines, strict=True):
            if table == "operators" or row.operator_id is None or row.operator_id in operators:
                rows.append(row)
            else:
                why = f"{row.operator_id!r} is not in the registry: import operators.csv first"
                bad_rows.append(BadRow(line, "operator_id", why))
        before = await _judged_by(connection, table, [getattr(row, key) for row in rows])
        async with connection.cursor() as writer:
            await writer.executemany(
                _upsert(table, parsed.columns), [[getattr(row, name) for name in parsed.columns] for row in rows]
            )
        after = await _judged_by(connection, table, [getattr(row, key) for row in rows])
        await _judge_again(connection, table, before, after)
    return ImportReport(table, len(rows), sorted(bad_rows))


_JUDGED_BY = {
    "vehicles": ("limit_kmh", "speed_class", "kind", "operator_id"),
    "drivers": ("rule_pack",),
    "operators": (),
}
_CALLED = {"limit_kmh": "limit", "speed_class": "speed class", "kind": "kind", "operator_id": "operator"}


async def _judged_by(connection: Connection, table: str, ids: Sequence[str]) -> dict[str, tuple[Cell | None, ...]]:
    """What judging asks of these entries."""
    if not _JUDGED_BY[table]:
        return {}
    key = f"{table.removesuffix('s')}_id"
    cursor = await connection.execute(
        sql.SQL("SELECT {} FROM {} WHERE {} = ANY(%s)").format(
            sql.SQL(", ").join(map(sql.Identifier, (key, *_JUDGED_BY[table]))),
            sql.Identifier(table),
            sql.Identifier(key),
        ),
        (list(ids),),
    )
    return {row[0]: row[1:] for row in await cursor.fetchall()}


async def _judge_again(
    connection: Connection,
    table: str,
    before: Mapping[str, Sequence[Cell | None]],
    after: Mapping[str, Sequence[Cell | None]],
) -> None:
    """Mark whoever is judged by something else from now on."""
    names = _JUDGED_BY[table]
    changed: dict[str, list[str]] = {}
    for entry_id, values in after.items():
        old = before.get(entry_id, (None,) * len(names))
        if what := [name for name, was, now in zip(names, old, values, strict=True) if was != now]:
            changed[entry_id] = what
    if not changed:
        return
    marks = MarkStore(connection)
    if table == "drivers":
        await marks.rule_pack_changed(list(changed))
    else:
        why = {name: [f"{_CALLED[each]} of the vehicle changed" for each in what] for name, what in changed.items()}
        await marks.registry_changed(why)


def _upsert(table: str, columns: Sequence[str]) -> sql.Composed:
    key = f"{table.removesuffix('s')}_id"
    changes = [sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in columns if name != key] + [
        sql.SQL("updated_at = clock_timestamp()")
    ]
    return sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
        sql.Identifier(key),
        sql.SQL(", ").join(changes),
    )


def _address(cell: str) -> Cell:
    if "://" not in cell:
        # Without the cell: an address may hold a password.
        raise ValueError("is no address: expected a scheme and ://, for example mailto://...")
    return text_cell(_MAX_ADDRESS)(cell)


_ID = text_cell(_MAX_ID)
_NAME = text_cell(_MAX_TEXT)
_OPERATOR_COLUMNS: dict[str, Convert] = {"operator_id": _ID, "name": _NAME, "tax_code": _NAME, "province": _NAME,
    "alert_url": _address,
}  # fmt: skip
_VEHICLE_COLUMNS: dict[str, Convert] = {
    "vehicle_id": _ID,
    "operator_id": _ID,
    "kind": one_of(KINDS),
    "speed_class": one_of(SPEED_CLASSES),
    "limit_kmh": number_cell(float, 1, 200, "km/h"),
    "seats": number_cell(int, 0, 200, "seats"),
    "payload_t": number_cell(float, 0, 500, "t"),
}
_DRIVER_COLUMNS: dict[str, Convert] = {"driver_id": _ID, "operator_id": _ID, "name": _NAME, "rule_pack": _NAME}


def _parse(path: Path, make: type[Row], converters: Mapping[str, Convert], required: Sequence[str]) -> Parsed[Row]:
    columns, records = read_rows(path)
    check_columns(path, columns, converters, required)
    parsed: Parsed[Row] = Parsed([], [], [], columns)
    first_line: dict[Cell, int] = {}
    for line, record in records:
        try:
            cells = cells_of(columns, record, converters, required)
            before = first_line.setdefault(cells[required[0]], line)
            if before != line:
                raise BadCell(required[0], f"{cells[required[0]]!r} stands on line {before} already")
        except BadCell as bad:
            parsed.bad_rows.append(BadRow(line, bad.column, bad.why))
        else:
            parsed.rows.append(make(**cells))  # type: ignore[arg-type]
            parsed.lines.append(line)
    return parsed
