"""Sessions that stand still and keep others waiting."""

from __future__ import annotations

from storage.connect import Connection

# The server ends a silent transaction by itself, but does not count as silent one that it awaits rows from, nor can it
# cancel that: only ending the session helps. "Active" and reading from its client means just that.
_END = """
    SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = ANY(pg_blocking_pids(%(waiting_pid)s)) AND application_name = current_setting('application_name')
        AND state = 'active' AND wait_event_type = 'Client' AND wait_event = 'ClientRead'
        AND state_change < clock_timestamp() - make_interval(secs => %(silent_s)s)
"""


async def end_silent_blockers(connection: Connection, waiting_pid: int, silent_s: float) -> list[int]:
    """End the sessions that keep `waiting_pid` waiting and whose COPY, begun `silent_s` ago or before, awaits a row.

    Only sessions of this connection's application name; returns the process ids of their backends.

    What such a session had not committed is undone: its worker, once awake, reads it again.
    """
    cursor = await connection.execute(_END, {"waiting_pid": waiting_pid, "silent_s": silent_s})
    return [pid for pid, ended in await cursor.fetchall() if ended]
