"""The stored timeline: activity changes, and the hours of each line read from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.activity import Activity
from detectors.hours import Interval, Line, shown_driving
from storage.connect import Connection
from storage.copy_rows import COPY_END, COPY_HEADER, POSTGRES_EPOCH_US, TEXT, alike, blank_row, filled, texts_of
from storage.one_by_one import one_by_one
from storage.plans import plan_again

_TIME = "timestamptz 'epoch' + {} * interval '1 microsecond'"
_TIME_US = "(extract(epoch FROM {}) * 1000000)::int8"


class ActivityChange(NamedTuple):
    """From `time_us` on, until its next change, the vehicle did this, with this driver."""

    vehicle_id: str
    time_us: int
    driver_id: str | None
    activity: Activity


class LineOwner(NamedTuple):
    """The partition whose worker alone adds to a driver's line."""

    log_id: str
    partition: int


class LineState(NamedTuple):
    """How far a line is judged. Times in microseconds UTC."""

    since_us: int
    """Judging may begin here: a rest was complete, or the drive began."""
    judged_to_us: int
    due_us: int
    two_vehicles_us: int | None = None
    """When the driver was last driving two vehicles at once."""
    owner: LineOwner | None = None


class LineNotice(NamedTuple):
    """A line that another worker took from its owner, and up to when (microseconds) it was judged then."""

    line: Line
    partition: int
    from_us: int


def line_id(line: Line) -> str:
    """The key of a line in storage."""
    return f"driver:{line.driver_id}" if line.driver_id is not None else f"vehicle:{line.vehicle_id}"


def _line(name: str) -> Line:
    kind, _, subject = name.partition(":")
    return Line(subject, None) if kind == "driver" else Line(None, subject)


def _change(row: tuple[Any, ...]) -> ActivityChange:
    vehicle_id, time_us, driver_id, activity = row
    return ActivityChange(vehicle_id, time_us, driver_id, Activity[activity.upper()])


_FORMS = {"vehicle_id": TEXT, "time": ">i8", "driver_id": TEXT, "activity": TEXT}


def _packed(changes: Sequence[ActivityChange]) -> Iterator[bytes]:
    vehicles, times_us, drivers, activities = zip(*changes, strict=True)
    names = {activity: activity.name.lower() for activity in set(activities)}
    texts = {
        "vehicle_id": texts_of(vehicles),
        "driver_id": texts_of(drivers),
        "activity": texts_of([names[activity] for activity in activities]),
    }
    columns: dict[str, NDArray[Any]] = {"time": np.array(times_us, dtype=np.int64) - POSTGRES_EPOCH_US}
    columns |= {name: column for name, (column, _) in texts.items()}
    for sizes, rows in alike(*(lengths for _, lengths in texts.values())):
        blank = blank_row(_FORMS, dict(zip(texts, sizes, strict=True)))
        yield filled(blank, {name: column[rows] for name, column in columns.items()})


class ActivityStore:
    """Reads and writes activity inside the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, changes: Sequence[ActivityChange]) -> None:
        """Append changes newer than any of their vehicle."""
        if not changes:
            return
        statement = f"COPY activity_changes ({', '.join(_FORMS)}) FROM STDIN (FORMAT binary)"
        async with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            await copy.write(b"".join((COPY_HEADER, *_packed(changes), COPY_END)))

    async def latest(self, vehicle_ids: Sequence[str]) -> dict[str, ActivityChange]:
        """The newest change of each vehicle that has one."""
        cursor = await self._connection.execute(
            f"SELECT c.vehicle_id, {_TIME_US.format('c.time')}, c.driver_id, c.activity"
            " FROM unnest(%b::text[]) AS v(vehicle_id) JOIN LATERAL (SELECT * FROM activity_changes a"
            " WHERE a.vehicle_id = v.vehicle_id ORDER BY a.time DESC LIMIT 1) c ON true",
            (list(vehicle_ids),),
        )
        return {row[0]: _change(row) for row in await cursor.fetchall()}

    async def before(self, vehicle_id: str, time_us: int) -> ActivityChange | None:
        """The change that holds just before a time."""
        cursor = await self._connection.execute(
            f"SELECT vehicle_id, {_TIME_US.format('time')}, driver_id, activity FROM activity_changes"
            f" WHERE vehicle_id = %s AND time < {_TIME.format('%s')} ORDER BY time DESC LIMIT 1",
            (vehicle_id, time_us),
        )
        row = await cursor.fetchone()
        return None if row is None else _change(row)

    async def replace(
        self, vehicle_id: str, from_us: int, to_us: int | None, changes: Sequence[ActivityChange]
    ) -> set[str | None]:
        """Put these changes in place of those of a stretch (both ends inclusive; None: to the end).

        Returns the drivers whose timeline this touched.
        """
        cursor = await self._connection.execute(
            f"DELETE FROM activity_changes WHERE vehicle_id = %s AND time >= {_TIME.format('%s')}"
            f" AND time <= coalesce({_TIME.format('%s::int8')}, 'infinity') RETURNING driver_id",
            (vehicle_id, from_us, to_us),
        )
        drivers = {row[0] for row in await cursor.fetchall()}
        await self.add(changes)
        return drivers | {change.driver_id for change in changes}

    async def timeline(
        self, lines: Sequence[tuple[Line, int]], shown_from_kmh: float | None = None
    ) -> dict[Line, list[Interval]]:
        """The intervals of each line that end after its time (microseconds).

        A vehicle's last activity holds until its newest trusted fix. With `shown_from_kmh`, no more driving than
        fixes show: until the last at which the line's driver went so fast.
        """
        found: dict[Line, list[Interval]] = {line: [] for line, _ in lines}
        drivers = [(line.driver_id, since_us) for line, since_us in lines if line.driver_id is not None]
        vehicles = [(line.vehicle_id, since_us) for line, since_us in lines if line.driver_id is None]
        since = dict(lines)
        for wanted, query, is_driver in ((drivers, _OF_DRIVERS, True), (vehicles, _OF_VEHICLES, False)):
            if not wanted:
                continue
            cursor = await self._connection.execute(
                query, {"ids": [name for name, _ in wanted], "since": [since for _, since in wanted],
                        "shown_from_kmh": shown_from_kmh}
            )  # fmt: skip
            for name, vehicle_id, begin_us, end_us, activity, kind, last_moving_us in await cursor.fetchall():
                line = Line(name, None) if is_driver else Line(None, name)
                if end_us is None or end_us <= max(begin_us, since[line]):
                    continue
                interval = Interval(begin_us, end_us, Activity[activity.upper()], vehicle_id, kind)
                if shown_from_kmh is not None and interval.activity == Activity.DRIVING:
                    found[line] += shown_driving(interval, begin_us if last_moving_us is None else last_moving_us)
                else:
                    found[line].append(interval)
        return found

    async def rule_packs(self, driver_ids: Sequence[str]) -> dict[str, str]:
        """The rule pack of each of these drivers for whom the registry names one."""
        cursor = await self._connection.execute(
            one_by_one("driver_id, rule_pack", "drivers", "driver_id", "rule_pack IS NOT NULL"), (list(driver_ids),)
        )
        return dict(await cursor.fetchall())

    async def lock_lines(self, lines: Sequence[Line], begin_us: int, end_us: int) -> dict[Line, LineState | None]:
        """Lock the rows of these lines for the caller's transaction, in one order for everybody.

        Returns the states of those that were judged beyond `begin_us` or are due by `end_us`, of those that have an
        owner, and of vehicles' own lines; None for lines that have no row.
        """
        by_id = {line_id(line): line for line in lines}
        cursor = await self._connection.execute(LOCK_LINES, (sorted(by_id), begin_us, end_us))
        rows = await cursor.fetchall()
        states: dict[Line, LineState | None] = {
            by_id[name]: LineState(since, judged, due, None, None if log_id is None else LineOwner(log_id, partition))
            for _, name, since, judged, due, log_id, partition in rows
            if name is not None
        }
        if rows[0][0] < len(by_id):
            cursor = await self._connection.execute(MISSING_LINES, (list(by_id),))
            states |= {by_id[name]: None for (name,) in await cursor.fetchall()}
        return states

    async def open_lines(self, states: Mapping[Line, LineState]) -> None:
        """Make rows for lines never seen, so that whoever else sees them waits for this transaction."""
        if len(states) >= _MANY_LINES:
            # Looked up in this same transaction, by statements that were planned when there were few.
            await plan_again(self._connection)
        await self._connection.execute(
            "INSERT INTO driver_hours (line_id, since, judged_to, due_at, log_id, partition)"
            f" SELECT n.line_id, {_TIME.format('n.since')}, {_TIME.format('n.judged_to')}, {_TIME.format('n.due')},"
            " n.log_id, n.partition FROM unnest(%b::text[], %b::int8[], %b::int8[], %b::int8[], %b::text[], %b::int[])"
            " AS n(line_id, since, judged_to, due, log_id, partition) ORDER BY n.line_id ON CONFLICT DO NOTHING",
            (
                [line_id(line) for line in states],
                [state.since_us for state in states.values()],
                [state.judged_to_us for state in states.values()],
                [state.due_us for state in states.values()],
                *_owners(states),
            ),
        )

    async def take_lines(self, lines: Sequence[Line]) -> None:
        """Take these lines, locked by the caller's transaction, from their owners, and leave those a notice."""
        await self._connection.execute(
            "WITH taken AS MATERIALIZED (SELECT line_id, log_id, partition, judged_to FROM driver_hours"
            "  WHERE line_id = ANY(%s) AND log_id IS NOT NULL),"
            " notices AS (INSERT INTO line_notices (line_id, log_id, partition, from_time) SELECT * FROM taken)"
            " UPDATE driver_hours h SET log_id = NULL, partition = NULL FROM taken t WHERE h.line_id = t.line_id",
            ([line_id(line) for line in lines],),
        )

    async def noticed(self, log_id: str, partitions: Sequence[int]) -> list[int]:
        """Those of these partitions for which there are notices."""
        cursor = await self._connection.execute(
            "SELECT DISTINCT partition FROM line_notices WHERE log_id = %s AND partition = ANY(%s)",
            (log_id, list(partitions)),
        )
        return [row[0] for row in await cursor.fetchall()]

    async def take_notices(self, log_id: str, partitions: Sequence[int]) -> list[LineNotice]:
        """The notices for these partitions; they are gone when the caller's transaction commits."""
        cursor = await self._connection.execute(
            "DELETE FROM line_notices WHERE log_id = %s AND partition = ANY(%s)"
            f" RETURNING line_id, partition, {_TIME_US.format('from_time')}",
            (log_id, list(partitions)),
        )
        return [LineNotice(_line(name), *rest) for name, *rest in await cursor.fetchall()]

    async def save_lines(self, states: dict[Line, LineState]) -> None:
        """Write how far these lines are judged now."""
        if not states:
            return
        await self._connection.execute(
            f"UPDATE driver_hours h SET since = {_TIME.format('n.since')}, judged_to = {_TIME.format('n.judged_to')},"
            f" due_at = {_TIME.format('n.due')}, judgements = h.judgements + 1, two_vehicles_at ="
            f" greatest(h.two_vehicles_at, {_TIME.format('n.two_vehicles')}),"
            " log_id = n.log_id, partition = n.partition"
            " FROM unnest(%b::text[], %b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::text[], %b::int[])"
            " AS n(line_id, since, judged_to, due, two_vehicles, log_id, partition)"
            " WHERE h.line_id = n.line_id",
            (
                [line_id(line) for line in states],
                [state.since_us for state in states.values()],
                [state.judged_to_us for state in states.values()],
                [state.due_us for state in states.values()],
                [state.two_vehicles_us for state in states.values()],
                *_owners(states),
            ),
        )


def _owners(states: Mapping[Line, LineState]) -> tuple[list[str | None], list[int | None]]:
    owners = [state.owner for state in states.values()]
    return [each and each.log_id for each in owners], [None if each is None else each.partition for each in owners]


_MANY_LINES = 1_000
# Row by row in the order of the ids, see `storage/one_by_one.py`.
LOCK_LINES = f"""
WITH locked AS MATERIALIZED (
    SELECT d.* FROM unnest(%b::text[]) AS wanted(id) CROSS JOIN LATERAL (
        SELECT line_id, since, judged_to, due_at, log_id, partition FROM driver_hours WHERE line_id = wanted.id
        FOR NO KEY UPDATE
    ) AS d
)
SELECT c.locked, l.line_id,
    {_TIME_US.format("l.since")}, {_TIME_US.format("l.judged_to")}, {_TIME_US.format("l.due_at")}, l.log_id, l.partition
FROM (SELECT count(*) AS locked FROM locked) c LEFT JOIN locked l
    ON l.judged_to > {_TIME.format("%s")} OR l.due_at <= {_TIME.format("%s")} OR l.line_id LIKE 'vehicle:%%'
    OR l.log_id IS NOT NULL
"""
MISSING_LINES = """
SELECT wanted.id FROM unnest(%b::text[]) AS wanted(id) LEFT JOIN LATERAL (
    SELECT line_id FROM driver_hours WHERE line_id = wanted.id LIMIT 1
) AS d ON true WHERE d.line_id IS NULL
"""
_SINCE = _TIME.format("w.since_us")
# The change that holds at the time itself is looked up vehicle by vehicle: a driver has few, and a long history.
_CHANGES_OF_DRIVER = f"""
    SELECT * FROM activity_changes WHERE driver_id = w.id AND time >= {_SINCE}
    UNION ALL SELECT held.* FROM (
        WITH RECURSIVE driven (vehicle_id) AS (
            (SELECT min(vehicle_id) FROM activity_changes WHERE driver_id = w.id)
            UNION ALL SELECT (
                SELECT min(a.vehicle_id) FROM activity_changes a
                WHERE a.driver_id = w.id AND a.vehicle_id > driven.vehicle_id
            ) FROM driven WHERE driven.vehicle_id IS NOT NULL
        ) SELECT vehicle_id FROM driven WHERE vehicle_id IS NOT NULL
    ) vehicle JOIN LATERAL (
        SELECT * FROM activity_changes a WHERE a.vehicle_id = vehicle.vehicle_id AND a.time < {_SINCE}
        ORDER BY a.time DESC LIMIT 1
    ) held ON held.driver_id = w.id
"""
_CHANGES_OF_VEHICLE = f"""
    SELECT * FROM activity_changes WHERE vehicle_id = w.id AND driver_id IS NULL AND time >= {_SINCE}
    UNION ALL SELECT * FROM (
        SELECT * FROM activity_changes WHERE vehicle_id = w.id AND time < {_SINCE} ORDER BY time DESC LIMIT 1
    ) held WHERE driver_id IS NULL
"""
_TIMELINE = f"""
SELECT w.id, c.vehicle_id, {_TIME_US.format("c.time")},
       coalesce({_TIME_US.format("n.time")}, {_TIME_US.format("f.time")}), c.activity, v.kind,
       {_TIME_US.format("m.time")}
FROM unnest(%(ids)b::text[], %(since)b::int8[]) AS w(id, since_us)
JOIN LATERAL ({{changes}}) c ON true
LEFT JOIN LATERAL (
    SELECT time FROM activity_changes a WHERE a.vehicle_id = c.vehicle_id AND a.time > c.time ORDER BY a.time LIMIT 1
) n ON true
LEFT JOIN LATERAL (
    SELECT time FROM fixes x WHERE n.time IS NULL AND x.vehicle_id = c.vehicle_id AND x.flags = 0
    ORDER BY x.time DESC LIMIT 1
) f ON true
LEFT JOIN LATERAL (
    SELECT time FROM fixes x WHERE c.activity = 'driving' AND x.vehicle_id = c.vehicle_id AND x.flags = 0
    AND x.time >= c.time AND x.time <= coalesce(n.time, f.time) AND x.speed_kmh >= %(shown_from_kmh)b::float8
    AND x.driver_id IS NOT DISTINCT FROM c.driver_id ORDER BY x.time DESC LIMIT 1
) m ON %(shown_from_kmh)b::float8 IS NOT NULL
LEFT JOIN vehicles v ON v.vehicle_id = c.vehicle_id
"""
_OF_DRIVERS = _TIMELINE.format(changes=_CHANGES_OF_DRIVER)
_OF_VEHICLES = _TIMELINE.format(changes=_CHANGES_OF_VEHICLE)
