"""Whether there is what a report is asked about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from storage.connect import Connection
from storage.reports.alphabet import vietnamese_order
from storage.reports.scope import ReportError, Scope


async def checked(connection: Connection, scope: Scope) -> Scope:
    """The scope with its operator's name. ReportError for an operator, a province or a vehicle of which nothing is
    known, and where they contradict each other: an empty report would be signed as if nothing had happened."""
    operator_name = province = None
    if scope.operator_id is not None:
        row = await _row(connection, "SELECT name, province FROM operators WHERE operator_id = %s", scope.operator_id)
        if row is None:
            raise ReportError(f"--operator {scope.operator_id!r} is not in the registry: see operators.csv")
        operator_name, province = row
    if scope.province is not None:
        await _check_province(connection, scope.province)
        if scope.operator_id is not None and province != scope.province:
            raise ReportError(
                f"--operator {scope.operator_id!r} is of {province or 'no province'}, not of --province"
                f" {scope.province!r}: give one of them"
            )
    if scope.vehicle_id is not None:
        await _check_vehicle(connection, scope)
    return replace(scope, operator_name=operator_name)


async def _check_province(connection: Connection, province: str) -> None:
    cursor = await connection.execute("SELECT DISTINCT province FROM operators WHERE province IS NOT NULL")
    known = sorted((name for (name,) in await cursor.fetchall()), key=vietnamese_order)
    if province not in known:
        raise ReportError(f"--province {province!r} is not in the registry: there are {', '.join(known) or 'none yet'}")


async def _check_vehicle(connection: Connection, scope: Scope) -> None:
    row = await _row(
        connection,
        "SELECT v.operator_id, o.province FROM vehicles v LEFT JOIN operators o USING (operator_id)"
        " WHERE vehicle_id = %s",
        scope.vehicle_id,
    )
    if row is None:
        # Of vehicles in no registry too: they are in the reports.
        heard = "SELECT FROM fixes WHERE vehicle_id = %s LIMIT 1"
        if await _row(connection, heard, scope.vehicle_id) is None:
            raise ReportError(
                f"--vehicle {scope.vehicle_id!r} is not in the registry, and no fix of it is stored:"
                " expected a plate as it is in vehicles.csv or in the topic"
            )
        row = (None, None)
    for option, asked, of_vehicle in (
        ("operator", scope.operator_id, row[0]),
        ("province", scope.province, row[1]),
    ):
        if asked is not None and asked != of_vehicle:
            raise ReportError(
                f"--vehicle {scope.vehicle_id!r} is of {of_vehicle or f'no {option}'}, not of --{option} {asked!r}:"
                " give one of them"
            )


async def _row(connection: Connection, query: str, value: object) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = await (await connection.execute(query.encode(), (value,))).fetchone()
    return row
