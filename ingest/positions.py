"""What to say when a stored position does not fit the log: the same words for both logs."""

from __future__ import annotations

from ingest.raw import LogExtent


def outside_log(name: str, partition: int, position: int, extent: LogExtent) -> str | None:
    """Why a partition cannot be read from a stored position, with both numbers and the remedy; None when it can."""
    first, end = extent
    if position < first:
        return (
            f"{name}: partition {partition} begins at offset {first}, the stored position is {position}:"
            f" {first - position} messages were deleted before they were read. Restore them, or accept the loss by"
            f" `hanhtrinh position set {partition} start`"
        )
    if position > end:
        return (
            f"{name}: partition {partition} ends at offset {end}, the stored position is {position}: this is another"
            " log, or it was emptied. Point the settings at the right one, or read this one from its beginning by"
            f" `hanhtrinh position set {partition} start`"
        )
    return None
