"""The present hours of each line, for panels: derived, one row a line, written by `hanhtrinh maintain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from detectors.hours import Clock, Line
from storage.activity import line_id
from storage.connect import Connection

# Any number, as long as every version of the program takes the same one.
_LOCK = 7_238_104_453


class LineToLookAt(NamedTuple):
    """A line whose figures are missing, wrong, or old by now."""

    line: Line
    since_us: int
    """Judging may begin here."""
    judgements: int
    """How often it was judged before its timeline is read."""
    vehicle_id: str | None
    """Where the driver is now; None: another has taken the vehicle over."""


class LineNow(NamedTuple):
    """The figures of a line at a moment, times in microseconds."""

    line: Line
    vehicle_id: str | None
    at_us: int
    driving: bool
    continuous: Clock
    day: Clock | None
    week: Clock | None
    fortnight: Clock | None
    look_us: int
    judgements: int


class DriverNowStore:
    """Reads and writes the table on a connection in autocommit mode."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self) -> bool:
        """Whether nobody else is at it. The lock is held until `unlock`, or until the connection ends."""
        row = await (await self._connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))).fetchone()
        return bool(row and row[0])

    async def unlock(self) -> None:
        """Let others."""
        if not self._connection.closed:
            await self._connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))

    async def due(self, most: int) -> list[LineToLookAt]:
        """Lines to look at, those nearest to a limit first: new ones, those whose past was judged again, that were
        heard of at the time to look again, whose vehicle somebody else has taken over, that drove unseen."""
        cursor = await self._connection.execute(_DUE, (most,))
        return [
            LineToLookAt(Line(name.removeprefix("driver:"), None) if is_driver else Line(None, vehicle_of_line), *rest)
            for name, is_driver, vehicle_of_line, *rest in await cursor.fetchall()
        ]

    async def save(self, rows: Sequence[LineNow], gone: Sequence[Line] = ()) -> None:
        """Write these figures; lines that are `gone` have nothing stored any more."""
        if gone:
            await self._connection.execute(
                "DELETE FROM driver_now WHERE line_id = ANY(%s)", ([line_id(line) for line in gone],)
            )
        if rows:
            columns = zip(*map(_values, rows), strict=True)
            await self._connection.execute(_SAVE, [list(column) for column in columns])


def _values(row: LineNow) -> tuple[object, ...]:
    clocks = [
        None if number is None else number / 1e6
        for clock in (row.continuous, row.day, row.week, row.fortnight)
        for number in (clock or (None, None))
    ]
    return (
        line_id(row.line), row.line.driver_id, row.vehicle_id, row.at_us, row.driving, *clocks, row.look_us,
        row.judgements,
    )  # fmt: skip


_CLOCKS = [f"{clock}{what}_s" for clock in ("continuous", "day", "week", "fortnight") for what in ("", "_limit")]
_COLUMNS = ["driver_id", "vehicle_id", "at", "driving", *_CLOCKS, "look_at", "judgements"]
_TYPES = ["text", "text", "text", "int8", "bool", *["float8"] * len(_CLOCKS), "int8", "int8"]
_TIME = "timestamptz 'epoch' + {0} * interval '1 microsecond' AS {0}"
_SAVE = (
    f"INSERT INTO driver_now (line_id, {', '.join(_COLUMNS)})"
    f" SELECT line_id, {', '.join(_TIME.format(name) if name in ('at', 'look_at') else name for name in _COLUMNS)}"
    f" FROM unnest({', '.join(f'%b::{kind}[]' for kind in _TYPES)}) AS n(line_id, {', '.join(_COLUMNS)})"
    " ON CONFLICT (line_id) DO UPDATE SET updated_at = clock_timestamp(), "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)
).encode()
_LEFT_S = "least(" + ", ".join(
    f"n.{clock}_limit_s - n.{clock}_s" for clock in ("continuous", "day", "week", "fortnight")
) + ")"  # fmt: skip
_HAS_DRIVEN = "EXISTS (SELECT FROM activity_changes a WHERE a.driver_id = {}"
_DUE = f"""
WITH heard AS (
    SELECT DISTINCT ON (line_id) line_id, vehicle_id, time
    FROM (
        SELECT coalesce('driver:' || driver_id, 'vehicle:' || vehicle_id) AS line_id, vehicle_id, time
        FROM last_positions
    ) p ORDER BY line_id, time DESC, vehicle_id
)
SELECT h.line_id, h.line_id LIKE 'driver:%%', substr(h.line_id, length('vehicle:') + 1),
    (extract(epoch FROM h.since) * 1000000)::int8, h.judgements, p.vehicle_id
FROM driver_hours h
LEFT JOIN driver_now n ON n.line_id = h.line_id
LEFT JOIN heard p ON p.line_id = h.line_id
LEFT JOIN last_positions theirs ON theirs.vehicle_id = n.vehicle_id
WHERE CASE
    WHEN n.line_id IS NULL THEN p.line_id IS NOT NULL
        OR {_HAS_DRIVEN.format("substr(h.line_id, length('driver:') + 1)")})
    WHEN h.judgements <> n.judgements OR p.time >= n.look_at THEN true
    WHEN n.vehicle_id IS NULL THEN {_HAS_DRIVEN.format("n.driver_id")} AND a.time > n.at)
    ELSE theirs.vehicle_id IS NOT NULL AND theirs.driver_id IS DISTINCT FROM n.driver_id END
ORDER BY {_LEFT_S} NULLS LAST, h.line_id LIMIT %b
""".encode()
