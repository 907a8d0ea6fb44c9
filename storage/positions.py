"""How far each partition of the log is worked off: the only truth about it, and the fence between workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storage.connect import Connection

_TIME = "timestamptz 'epoch' + {} * interval '1 microsecond'"
_TIME_US = "(extract(epoch FROM {}) * 1000000)::int8"


class Fenced(Exception):
    """Another worker moved a partition on: whatever was prepared for it must be thrown away and read again."""


class WrongLog(Exception):
    """The log is not the one whose positions are stored; the message names both."""


class Step(NamedTuple):
    """What one transaction does to one partition: from where to where, and what became of the messages between."""

    partition: int
    start: int
    next: int
    messages: int = 0
    ignored: int = 0
    fixes: int = 0
    doubled: int = 0
    letters: int = 0
    newest_us: int | None = None
    """Time of the newest sound fix in it, its receipt where that is earlier."""


class EventTimes(NamedTuple):
    """How far the stream has come by the times of its fixes (microseconds)."""

    stream_us: int | None
    newest_us: dict[int, int]
    """By partition; absent are those without a fix."""
    silences_judged_us: dict[int, int | None]


class Positions:
    """Positions in one log."""

    def __init__(self, log_id: str, partitions: int, topic_id: str | None = None) -> None:
        """`topic_id` is Kafka's own id of the topic: another one after it was deleted and made again."""
        self.log_id = log_id
        self._partitions = partitions
        self._topic_id = topic_id

    async def register(self, connection: Connection, *, adopt: bool = False) -> None:
        """Note the log at first sight. WrongLog when its partition count has changed since, and when it has taken the
        place of another of its name (another cluster, or the topic was made again), unless told to adopt it."""
        async with connection.transaction():
            if not adopt:
                await self.require_same(connection)
            row = await (
                await connection.execute(
                    "INSERT INTO logs AS l (log_id, partitions, topic_id) VALUES (%s, %s, %s)"
                    " ON CONFLICT (log_id) DO UPDATE SET topic_id = coalesce(excluded.topic_id, l.topic_id)"
                    " RETURNING partitions",
                    (self.log_id, self._partitions, self._topic_id),
                )
            ).fetchone()
            if row is None or row[0] != self._partitions:
                raise WrongLog(
                    f"log {self.log_id} has {self._partitions} partitions, expected {row and row[0]}: a vehicle would"
                    " change partition in mid-journey. Restore the old count, or start a new topic."
                )
            await connection.execute(
                "INSERT INTO log_positions (log_id, partition, next_offset)"
                " SELECT %s, n, 0 FROM generate_series(0, %s - 1) AS n ON CONFLICT DO NOTHING",
                (self.log_id, self._partitions),
            )

    async def require_same(self, connection: Connection) -> None:
        """WrongLog when this log has taken the place of another of its name."""
        cursor = await connection.execute(
            "SELECT log_id = %(mine)s, log_id, topic_id FROM logs WHERE log_id = %(mine)s"
            " OR (log_id NOT LIKE 'embedded/%%' AND %(mine)s NOT LIKE 'embedded/%%'"
            " AND substr(log_id, strpos(log_id, '/')) = substr(%(mine)s, strpos(%(mine)s, '/'))) ORDER BY 1 DESC, 2",
            {"mine": self.log_id},
        )
        rows = await cursor.fetchall()
        if not rows:
            return
        known, log_id, topic_id = rows[0]
        cluster, _, topic = self.log_id.partition("/")
        remedy = (
            "Its offsets are not those of the stored positions. Point the settings at the right one; or, if this one is"
            " to take its place, read it from its beginning by `hanhtrinh position set all start`"
        )
        if not known:
            old_cluster = log_id.partition("/")[0]
            raise WrongLog(f"the Kafka topic {topic} is now in cluster {cluster}, it was in {old_cluster}. {remedy}")
        if self._topic_id is not None and topic_id not in (None, self._topic_id):
            raise WrongLog(f"the Kafka topic {topic} was deleted and made again. {remedy}")

    async def load(self, connection: Connection, partitions: Sequence[int]) -> dict[int, int]:
        """The next offset of each partition."""
        cursor = await connection.execute(
            "SELECT partition, next_offset FROM log_positions WHERE log_id = %s AND partition = ANY(%s)",
            (self.log_id, list(partitions)),
        )
        return dict(await cursor.fetchall())

    async def advance(self, connection: Connection, steps: Sequence[Step], *, held: bool = False) -> None:
        """Compare and set, inside the caller's transaction and first in it. Fenced when any partition stands elsewhere.

        The row locks, taken in partition order, make a competing worker wait here until this transaction ends. `held`:
        the caller has called `hold` with the same offsets in this transaction, which takes its place as the first.
        """
        ordered = sorted(steps)
        if not held:
            await self.hold(connection, {step.partition: step.start for step in ordered})
        columns = list(zip(*ordered, strict=True))
        await connection.execute(
            "UPDATE log_positions p SET next_offset = s.next, messages = p.messages + s.messages,"
            " ignored = p.ignored + s.ignored, fixes = p.fixes + s.fixes, doubled = p.doubled + s.doubled,"
            " letters = p.letters + s.letters, silences_judged_to = NULL, updated_at = clock_timestamp(),"
            f" newest_event_at = greatest(p.newest_event_at, {_TIME.format('s.newest')})"
            f" FROM unnest(%b::int[]{', %b::bigint[]' * 7})"
            " AS s(partition, next, messages, ignored, fixes, doubled, letters, newest)"
            " WHERE p.log_id = %b AND p.partition = s.partition",
            (*(list(columns[n]) for n in (0, 2, 3, 4, 5, 6, 7, 8)), self.log_id),
        )

    async def event_times(self, connection: Connection) -> EventTimes:
        """The event time of the stream, over all logs that were ever read, and of each partition of this one."""
        cursor = await connection.execute(
            f"SELECT log_id = %s, partition, {_TIME_US.format('newest_event_at')},"
            f" {_TIME_US.format('silences_judged_to')} FROM log_positions",
            (self.log_id,),
        )
        rows = await cursor.fetchall()
        ours = [row[1:] for row in rows if row[0]]
        return EventTimes(
            max((row[2] for row in rows if row[2] is not None), default=None),
            {partition: newest_us for partition, newest_us, _ in ours if newest_us is not None},
            {partition: judged_us for partition, _, judged_us in ours},
        )

    async def silences_judged(self, connection: Connection, partitions: Sequence[int], event_us: int | None) -> None:
        """Note in these partitions, held by the caller's transaction, that silences are judged up to an event time.

        None: they must be judged again, because something has changed.
        """
        await connection.execute(
            f"UPDATE log_positions SET silences_judged_to = {_TIME.format('%s::int8')}"
            " WHERE log_id = %s AND partition = ANY(%s)",
            (event_us, self.log_id, list(partitions)),
        )

    async def own(self, connection: Connection, partitions: Sequence[int]) -> None:
        """Show for as long as the connection lives, or until it owns others, that somebody reads these partitions.

        Not the fence: many may own a partition at once. It keeps `take` from it.
        """
        await connection.execute("SELECT pg_advisory_unlock_all()")
        await connection.execute(
            "SELECT pg_advisory_lock_shared(hashtext(%s), n) FROM unnest(%s::int[]) AS n",
            (self.log_id, sorted(partitions)),
        )

    async def take(self, connection: Connection, partition: int) -> bool:
        """Take a partition that nobody reads; whoever begins to read it waits until it is `left`."""
        row = await (
            await connection.execute("SELECT pg_try_advisory_lock(hashtext(%s), %s)", (self.log_id, partition))
        ).fetchone()
        return row is not None and bool(row[0])

    async def leave(self, connection: Connection, partition: int) -> None:
        """Let go of a partition that was taken."""
        await connection.execute("SELECT pg_advisory_unlock(hashtext(%s), %s)", (self.log_id, partition))

    async def hold_as_it_is(self, connection: Connection, partition: int) -> None:
        """Lock a partition for the caller's transaction, wherever it stands."""
        await connection.execute(
            "SELECT FROM log_positions WHERE log_id = %s AND partition = %s FOR UPDATE", (self.log_id, partition)
        )

    async def hold(self, connection: Connection, expected: dict[int, int]) -> None:
        """Lock the partitions for the caller's transaction. Fenced when any does not stand where expected."""
        cursor = await connection.execute(
            "SELECT partition, next_offset FROM log_positions WHERE log_id = %s AND partition = ANY(%s)"
            " ORDER BY partition FOR UPDATE",
            (self.log_id, sorted(expected)),
        )
        found: dict[int, int] = dict(await cursor.fetchall())
        moved = {partition: at for partition, at in found.items() if at != expected[partition]}
        if moved or len(found) != len(expected):
            raise Fenced(f"log {self.log_id}: expected positions {expected}, found {found}")
