"""What one run of `hanhtrinh run` did, counted in the database when it ends."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hanhtrinh.everything import Progress
from hanhtrinh.listing import Column, print_rows
from hanhtrinh.screen import KIND_NAMES
from storage.connect import Connection, connect

Counts = dict[str, dict[str, int]]

_COUNTS = {
    "fixes": "SELECT 'stored', count(*) FROM fixes",
    "dead_letters": "SELECT reason, count(*) FROM dead_letters GROUP BY reason ORDER BY reason",
    "alerts": "SELECT stage, count(*) FROM alerts GROUP BY stage ORDER BY stage DESC",
    "deliveries": "SELECT status, count(*) FROM deliveries GROUP BY status ORDER BY status",
}
# By time, not by difference: a violation of an earlier run that is withdrawn in this one is none less of this one.
_SINCE = {
    "violations": "SELECT kind, count(*) FROM violations JOIN violation_revisions USING (violation_id)"
    " WHERE revision = 1 AND at >= %s AND status <> 'withdrawn' GROUP BY kind ORDER BY kind",
    "withdrawn": "SELECT kind, count(*) FROM violations WHERE withdrawn_at >= %s GROUP BY kind ORDER BY kind",
}
_HEADINGS = {
    "fixes": "fixes",
    "dead_letters": "dead letters",
    "violations": "violations",
    "withdrawn": "violations withdrawn",
    "alerts": "alerts",
    "deliveries": "alerts on this screen and other channels",
}
_ONLY_WHEN_THERE_ARE_ANY = "withdrawn"


class RunSummary:
    """Counts from its beginning on."""

    def __init__(self, began_at: datetime, before: Counts) -> None:
        self._began_at = began_at
        self._before = before

    @classmethod
    async def begin(cls, url: str) -> RunSummary:
        """Begin now, by the clock of the database."""
        connection = await connect(url)
        try:
            row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
            assert row is not None
            return cls(row[0], await _totals(connection))
        finally:
            await connection.close()

    async def counts(self, url: str) -> Counts:
        """What came since the beginning, by the name of the table and what is told apart in it; never less than 1."""
        connection = await connect(url)
        try:
            after = await _totals(connection)
            since = {name: await _ask(connection, query, [self._began_at]) for name, query in _SINCE.items()}
        finally:
            await connection.close()
        new = {name: _rises(self._before[name], counts) for name, counts in after.items()}
        return {name: (new | since)[name] for name in _HEADINGS}


def counts_seen(progress: Progress) -> Counts:
    """What can be told without the database: what the batches of this process did."""
    letters = {"of any reason": progress.letters} if progress.letters else {}
    opened = {kind: n for (kind, stage), n in progress.stages.items() if stage == "opened"}
    return {"fixes": {"stored": progress.fixes}, "dead_letters": letters, "violations": opened}


def _rises(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What has become more. Less is none of this run's: dropped by its age, or no longer waiting."""
    return {key: n - before.get(key, 0) for key, n in after.items() if n > before.get(key, 0)}


async def _totals(connection: Connection) -> Counts:
    return {name: await _ask(connection, query) for name, query in _COUNTS.items()}


async def _ask(connection: Connection, query: str, values: list[Any] | None = None) -> dict[str, int]:
    return dict(await (await connection.execute(query.encode(), values)).fetchall())


def print_summary(summary: Counts) -> None:
    """What this run did, for a person."""
    rows = []
    for name, counts in summary.items():
        heading = _HEADINGS[name]
        if not counts and name != _ONLY_WHEN_THERE_ARE_ANY:
            rows.append((heading, "0"))
        for key, n in counts.items():
            rows.append((f"{heading}: {KIND_NAMES.get(key, key).replace('_', ' ')}", f"{n:,}"))
    print_rows((Column("what"), Column("count", number=True)), rows, title="This run")
