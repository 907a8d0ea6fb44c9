"""Plans of statements that the database keeps."""

from __future__ import annotations

from storage.connect import Connection


async def plan_again(connection: Connection) -> None:
    """Let the database plan this session's statements anew, for the tables as large as they are now.

    It keeps the plan of a statement until a table is analyzed. A new database's are made for empty tables, which a
    fleet fills within a minute: each of 10,000 keys was then looked for by reading a whole table, and a batch took
    10 s. Planning all of them again takes some milliseconds. Inside a transaction or outside.
    """
    await connection.execute("DISCARD PLANS")
