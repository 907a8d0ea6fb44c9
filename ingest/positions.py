"""What to say when a stored position does not fit the log: the same words for both logs."""

from __future__ import annotations

from ingest.log import LogError


def outside_log(name: str, partition: int, position: int, first: int, end: int) -> LogError:
    """The error for a position before the first offset of a partition, or after its end; it names both numbers."""
    if position < first:
        return LogError(
            f"{name}: partition {partition} begins at offset {first}, the stored position is {position}:"
            f" {first - position} messages were deleted before they were read. Restore them, or accept the loss by"
            f" setting log_positions.next_offset to {first}"
        )
    return LogError(
        f"{name}: partition {partition} ends at offset {end}, the stored position is {position}: this is another log,"
        " or it was emptied. Point the settings at the right one, or delete its rows in log_positions to read it from 0"
    )
