"""Rows of many keys, each looked up by itself.

A batch asks for thousands of keys at once. `key = ANY(array)` is planned as if there were ten, and on a table that was
small when it was planned goes through the whole array for each row there is by now. One by one the index is taken as
soon as a table has a few pages.
"""

from __future__ import annotations


def one_by_one(columns: str, table: str, key: str, condition: str = "true") -> str:
    """The statement that reads `columns` of the rows whose `key` is one of the texts in its only parameter, in the
    order of these texts; those without a row are left out."""
    return (
        f"SELECT found.* FROM unnest(%b::text[]) AS wanted(id) CROSS JOIN LATERAL"
        # OFFSET keeps it from being turned into a join.
        f" (SELECT {columns} FROM {table} WHERE {key} = wanted.id AND {condition} OFFSET 0) AS found"
    )
