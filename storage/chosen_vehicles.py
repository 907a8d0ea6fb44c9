"""Which vehicles a stretch of history is to be judged again for, and what of it can no longer be judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from storage.connect import Connection
from storage.violations import WHOLE_FROM

_TIME = "timestamptz 'epoch' + {} * interval '1 microsecond'"
_TIME_US = "(extract(epoch FROM {}) * 1000000)::int8"


class Choice(NamedTuple):
    """From a time until before another (microseconds); an empty list chooses all, several lists what is in each."""

    from_us: int
    before_us: int
    vehicles: Sequence[str] = ()
    drivers: Sequence[str] = ()
    operators: Sequence[str] = ()
    kinds: Sequence[str] = ()


class Chosen(NamedTuple):
    """A vehicle with fixes in the stretch, and whose worker judges it."""

    vehicle_id: str
    log_id: str
    partition: int
    first_us: int
    """No fix of the vehicle is older."""


async def chosen_vehicles(connection: Connection, choice: Choice) -> list[Chosen]:
    """The vehicles by name."""
    where, arguments = _where(choice)
    cursor = await connection.execute(
        f"SELECT a.vehicle_id, a.log_id, a.partition, {_TIME_US.format('a.first_at')} FROM vehicle_anchors a"
        f" WHERE {where} AND EXISTS (SELECT FROM fixes f WHERE f.vehicle_id = a.vehicle_id"
        f" AND f.time >= {_TIME.format('%s')} AND f.time < {_TIME.format('%s')}) ORDER BY a.vehicle_id",
        (*arguments, choice.from_us, choice.before_us),
    )
    return [Chosen(*row) for row in await cursor.fetchall()]


async def beyond_judging(connection: Connection, choice: Choice) -> int:
    """Standing violations of the stretch whose fixes are no longer stored, or that began too soon after such."""
    where, arguments = _where(choice)
    cursor = await connection.execute(
        f"SELECT count(*) FROM vehicle_anchors a JOIN violations v ON v.vehicle_id = a.vehicle_id WHERE {where}"
        f" AND v.started_at >= {_TIME.format('%s')} AND v.started_at < {_TIME.format('%s')}"
        f" AND v.status <> 'withdrawn' AND (v.started_at < (SELECT {WHOLE_FROM} FROM upkeep)"
        "  OR v.kind IN ('speeding', 'silence') AND NOT EXISTS"
        "  (SELECT FROM fixes f WHERE f.vehicle_id = v.vehicle_id AND f.time = v.started_at))",
        (*arguments, choice.from_us, choice.before_us),
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


def _where(choice: Choice) -> tuple[str, list[Any]]:
    parts, arguments = ["true"], list[Any]()
    if choice.vehicles:
        parts.append("a.vehicle_id = ANY(%s)")
        arguments.append(list(choice.vehicles))
    for column, values in (("operator_id", choice.operators), ("kind", choice.kinds)):
        if values:
            parts.append(f"a.vehicle_id IN (SELECT vehicle_id FROM vehicles WHERE {column} = ANY(%s))")
            arguments.append(list(values))
    if choice.drivers:
        parts.append(_DRIVEN)
        arguments += [list(choice.drivers), choice.before_us, choice.from_us]
    return " AND ".join(parts), arguments


_DRIVEN = f"""a.vehicle_id IN (
    SELECT c.vehicle_id FROM activity_changes c WHERE c.driver_id = ANY(%s) AND c.time < {_TIME.format("%s")}
    AND coalesce((
        SELECT min(n.time) FROM activity_changes n WHERE n.vehicle_id = c.vehicle_id AND n.time > c.time
    ), 'infinity') > {_TIME.format("%s")}
)"""
