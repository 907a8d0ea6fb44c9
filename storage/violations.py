"""Violations with their revisions, and the alerts that go with them: one row per violation and stage."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from detectors.fix import from_us, to_us
from detectors.hours import Line
from detectors.rules.driving_time import HoursKind
from detectors.violation import Excuse, Violation
from storage.connect import Connection
from storage.one_by_one import one_by_one
from storage.violation_rows import (
    COLUMNS,
    EXCUSE,
    JUDGED,
    Row,
    adapted,
    differs,
    excuse_of,
    excuse_values,
    history,
    is_graver,
    overlap,
    row_of,
)

_TIME = "timestamptz 'epoch' + {} * interval '1 microsecond'"
WHOLE_FROM = "fixes_from + interval '31 days'"
"""Of `upkeep`: an episode, a working day or a week that was under way when fixes were dropped has ended by then."""


class Stretch(NamedTuple):
    """Starts of violations in [from_us, before_us); None is unbounded."""

    from_us: int | None
    before_us: int | None


class Change(NamedTuple):
    """A step in the history of a violation: what it was, and what it is now."""

    change: str
    before: Row | None
    after: Row | None


class StageCount(NamedTuple):
    """An alert written: for the metrics."""

    kind: str
    stage: str


class _Alert(NamedTuple):
    """An alert on its way; once it is written the cursor tells whether it was there before."""

    cursor: psycopg.AsyncCursor[Any]
    stage: StageCount


class ViolationStore:
    """Writes violations inside the caller's transaction. Writing the same again changes nothing."""

    def __init__(self, connection: Connection, noted: Callable[[Change], None] | None = None) -> None:
        """`noted` is told of every revision as it is written."""
        self._connection = connection
        self._noted = noted

    async def record(
        self, violations: Sequence[Violation], received_us: Callable[[Violation], int], why: str
    ) -> list[StageCount]:
        """Insert or update violations as judged now, with revisions and alerts. `why` explains corrections."""
        if not violations:
            return []
        ids = [violation.violation_id for violation in violations]
        stored, told = await self._load(ids), await self._told(ids)
        alerts: list[_Alert] = []
        # Nothing is asked from here on: one answer for all of it instead of one for each row.
        async with self._connection.pipeline():
            for violation in violations:
                old = stored.get(violation.violation_id)
                if old is not None:
                    # Whose it was stays written: history does not follow a vehicle that is sold.
                    operator_id = old["operator_id"] or violation.operator_id
                    violation = replace(violation, excused=excuse_of(old), operator_id=operator_id)
                row = row_of(violation)
                if old is None:
                    await self._open(row, why)
                elif differs(old, row):
                    await self._update(row, old)
                    await self._revise_update(row, old, why)
                stored[violation.violation_id] = row
                alerts += await self._alert(violation, received_us(violation), told)
        stages = [stage for cursor, stage in alerts if cursor.rowcount]
        if stages:
            await self._connection.execute("NOTIFY hanhtrinh_alerts")
        return stages

    async def reconcile(
        self,
        standing: Sequence[Row],
        judged: Sequence[Violation],
        received_us: Callable[[Violation], int],
        why: str,
    ) -> list[StageCount]:
        """Make the standing rows equal what was judged: update in place, add, or withdraw and name the successor.

        What began when fixes were dropped, or shortly after, stands as it is: it cannot be judged whole.
        """
        whole_us = await self._whole_from_us() if judged else None
        judged = [each for each in judged if whole_us is None or each.started_us >= whole_us]
        kept = {violation.violation_id for violation in judged}
        gone = [row for row in standing if row["violation_id"] not in kept]
        before = {row["violation_id"] for row in standing}
        for row in gone:
            await self._connection.execute(
                "UPDATE violations SET status = 'withdrawn', withdrawn_at = clock_timestamp(),"
                " updated_at = clock_timestamp() WHERE violation_id = %s",
                (row["violation_id"],),
            )
            await self._revise(row, "withdrawn", why, row)
        new = [each for each in judged if each.violation_id not in before]
        old = [each for each in judged if each.violation_id in before]
        return await self.record(old, received_us, why) + await self.succeed(gone, new, received_us, why)

    async def succeed(
        self,
        gone: Sequence[Row],
        violations: Sequence[Violation],
        received_us: Callable[[Violation], int],
        why: str,
    ) -> list[StageCount]:
        """Record violations of which some take the place of withdrawn ones: those name them and are not told again."""
        successors = []
        for violation in violations:
            replaced = [row for row in gone if overlap(row, violation)]
            names = tuple(sorted(row["violation_id"] for row in replaced))
            excuses = [excuse_of(row) for row in replaced]
            excuse = None if None in excuses else next(iter(excuses), None)
            if replaced:
                operator_id = replaced[0]["operator_id"] or violation.operator_id
                violation = replace(violation, supersedes=names, excused=excuse, operator_id=operator_id)
            successors.append(violation)
            if replaced and not any(is_graver(violation, row) for row in replaced):
                await self._told_already(successors[-1])
        return await self.record(successors, received_us, why)

    async def standing_of_vehicle(self, vehicle_id: str, kinds: Sequence[str], stretch: Stretch) -> list[Row]:
        """Violations of these kinds of a vehicle that are not withdrawn and start in a stretch."""
        return await self._standing("vehicle_id = %s AND kind = ANY(%s)", (vehicle_id, list(kinds)), stretch)

    async def standing_hours(self, line: Line, since_us: int) -> list[Row]:
        """Driving-time violations of a line that are not withdrawn and start at a time or later."""
        whose = "driver_id = %s" if line.driver_id is not None else "driver_id IS NULL AND vehicle_id = %s"
        subject = line.driver_id if line.driver_id is not None else line.vehicle_id
        kinds = [kind.value for kind in HoursKind]
        return await self._standing(f"kind = ANY(%s) AND {whose}", (kinds, subject), Stretch(since_us, None))

    async def standing_silences(self, vehicle_ids: Sequence[str]) -> list[Row]:
        """The silences of these vehicles that stand open."""
        return await self._standing(
            # Not = ANY, which goes through the array row by row where the plan was made for a small table.
            "vehicle_id IN (SELECT unnest(%s::text[])) AND kind = 'silence' AND status = 'open'",
            (list(vehicle_ids),),
            Stretch(None, None),
        )

    async def withdrawn_silences(self, vehicle_ids: Sequence[str]) -> list[Row]:
        """The latest silence of each of these vehicles, if it is withdrawn."""
        cursor = await self._connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM (SELECT DISTINCT ON (vehicle_id) * FROM violations"
            " WHERE vehicle_id = ANY(%s) AND kind = 'silence' ORDER BY vehicle_id, started_at DESC) v"
            " WHERE status = 'withdrawn'",
            (list(vehicle_ids),),
        )
        return [dict(zip(COLUMNS, row, strict=True)) for row in await cursor.fetchall()]

    async def open_silences(self, vehicle_ids: Sequence[str]) -> dict[str, int]:
        """Since when (microseconds) each of these vehicles is silent; absent are those that are not."""
        return {row["vehicle_id"]: to_us(row["started_at"]) for row in await self.standing_silences(vehicle_ids)}

    async def operators(self, vehicle_ids: Sequence[str]) -> dict[str, str]:
        """The operator of each registered vehicle."""
        cursor = await self._connection.execute(
            "SELECT vehicle_id, operator_id FROM vehicles WHERE vehicle_id = ANY(%s) AND operator_id IS NOT NULL",
            (list(vehicle_ids),),
        )
        return dict(await cursor.fetchall())

    async def _standing(self, where: str, subject: tuple[Any, ...], stretch: Stretch) -> list[Row]:
        cursor = await self._connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM violations WHERE status <> 'withdrawn' AND {where}"
            f" AND started_at >= coalesce({_TIME.format('%s::int8')}, '-infinity')"
            f" AND started_at < coalesce({_TIME.format('%s::int8')}, 'infinity')"
            f" AND started_at >= (SELECT {WHOLE_FROM} FROM upkeep)",
            (*subject, stretch.from_us, stretch.before_us),
        )
        return [dict(zip(COLUMNS, row, strict=True)) for row in await cursor.fetchall()]

    async def _whole_from_us(self) -> int | None:
        """From when on violations can be judged whole; None while nothing was ever dropped."""
        cursor = await self._connection.execute(
            f"SELECT (extract(epoch FROM {WHOLE_FROM}) * 1000000)::int8 FROM upkeep WHERE isfinite(fixes_from)"
        )
        row = await cursor.fetchone()
        return None if row is None else row[0]

    async def _load(self, ids: Sequence[str]) -> dict[str, Row]:
        cursor = await self._connection.execute(
            one_by_one(", ".join(COLUMNS), "violations", "violation_id"), (list(ids),)
        )
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in await cursor.fetchall()]
        return {row["violation_id"]: row for row in rows}

    async def locked(self, violation_id: str) -> Row | None:
        """The row, kept from changing until the caller's transaction ends; None when there is none."""
        cursor = await self._connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM violations WHERE violation_id = %s FOR UPDATE", (violation_id,)
        )
        row = await cursor.fetchone()
        return None if row is None else dict(zip(COLUMNS, row, strict=True))

    async def set_excuse(self, row: Row, excuse: Excuse | None, why: str) -> None:
        """Excuse the violation of a locked row, or withdraw its excuse."""
        values = excuse_values(excuse)
        await self._connection.execute(
            f"UPDATE violations SET {', '.join(f'{name} = %s' for name in EXCUSE)}, updated_at = clock_timestamp()"
            " WHERE violation_id = %s",
            (*values, row["violation_id"]),
        )
        after = {**row, **dict(zip(EXCUSE, values, strict=True))}
        await self._revise(after, "excuse withdrawn" if excuse is None else "excused", why, row)

    async def _open(self, row: Row, why: str) -> None:
        await self._insert(row)
        await self._revise(row, "opened", why, None)
        if excuse_of(row):
            await self._revise(row, "excused", "takes the place of an excused one", row)

    async def _revise_update(self, row: Row, old: Row, why: str) -> None:
        """A revision of an update, but for a violation that goes on as it was."""
        if excuse_of(row):
            why += "; it stays excused"
        if old["status"] == "withdrawn":
            await self._revise(row, "restored", why, old)
        elif old["status"] != row["status"]:
            await self._revise(row, "closed" if row["status"] == "closed" else "corrected", why, old)
        elif row["status"] == "closed":
            await self._revise(row, "corrected", why, old)

    async def _insert(self, row: Row) -> None:
        await self._connection.execute(
            f"INSERT INTO violations ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})",
            [adapted(row[name]) for name in COLUMNS],
        )

    async def _update(self, row: Row, old: Row) -> None:
        row["supersedes"] = sorted({*old["supersedes"], *row["supersedes"]})
        names = JUDGED[1:]
        await self._connection.execute(
            f"UPDATE violations SET {', '.join(f'{name} = %s' for name in names)},"
            " updated_at = clock_timestamp(), withdrawn_at = NULL WHERE violation_id = %s",
            [*(adapted(row[name]) for name in names), row["violation_id"]],
        )

    async def _revise(self, row: Row, change: str, why: str, before: Row | None) -> None:
        after = None if change == "withdrawn" else row
        if self._noted is not None:
            self._noted(Change(change, before, after))
        await self._connection.execute(
            "INSERT INTO violation_revisions (violation_id, revision, change, why, before, after)"
            " SELECT %s, coalesce(max(revision), 0) + 1, %s, %s, %s, %s"
            " FROM violation_revisions WHERE violation_id = %s",
            (row["violation_id"], change, why, history(before), history(after), row["violation_id"]),
        )

    async def _told(self, ids: Sequence[str]) -> set[str]:
        """The alerts that these violations have. Most were told before: asked for once, not one by one."""
        alert_ids = [f"{each}:{stage}" for each in ids for stage in ("opened", "closed")]
        cursor = await self._connection.execute(one_by_one("alert_id", "alerts", "alert_id"), (alert_ids,))
        return {alert_id for (alert_id,) in await cursor.fetchall()}

    async def _alert(self, violation: Violation, received_us: int, told: Container[str]) -> list[_Alert]:
        """Write the alert rows this violation should have by now; those that are there stay as they are."""
        stages = [("opened", violation.proven_us)]
        if violation.closed_us is not None:
            stages.append(("closed", violation.closed_us))
        written = []
        for stage, event_us in stages:
            if f"{violation.violation_id}:{stage}" in told:
                continue
            cursor = await self._connection.execute(
                "INSERT INTO alerts (alert_id, violation_id, stage, vehicle_id, event_at, received_at, push, body)"
                " VALUES (%s, %s, %s, %s, %s, %s, true, %s) ON CONFLICT DO NOTHING",
                (
                    f"{violation.violation_id}:{stage}",
                    violation.violation_id,
                    stage,
                    violation.vehicle_id,
                    from_us(event_us),
                    from_us(received_us),
                    Jsonb(violation.to_wire()),
                ),
            )
            written.append(_Alert(cursor, StageCount(violation.kind, stage)))
        return written

    async def _told_already(self, violation: Violation) -> None:
        """A violation that was told under another id opens silently: its row says recorded, not pushed."""
        row = row_of(violation)
        if violation.violation_id not in await self._load([violation.violation_id]):
            await self._open(row, "takes the place of a withdrawn one")
        await self._connection.execute(
            "INSERT INTO alerts (alert_id, violation_id, stage, vehicle_id, event_at, received_at, push, body)"
            " VALUES (%s, %s, 'opened', %s, %s, clock_timestamp(), false, %s) ON CONFLICT DO NOTHING",
            (
                f"{violation.violation_id}:opened",
                violation.violation_id,
                violation.vehicle_id,
                from_us(violation.proven_us),
                Jsonb(violation.to_wire()),
            ),
        )
