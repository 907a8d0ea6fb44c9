"""Why a row is no Fix, told by the formats themselves, so that `check` and the chain give one answer."""

from __future__ import annotations

import msgspec

from ingest.formats import FixError, FormatRegistry
from ingest.formats.checked import checked_id
from ingest.raw import RawMessage
from ingest.recordings.chunk import RejectedRow

TOPIC = "hanhtrinh/"
_NOT_IN_TOPICS = frozenset("/+#")


def topic_of(vehicle_id: object) -> str:
    """The topic of a vehicle; the bare prefix, which the formats refuse, when the id cannot be part of a topic."""
    try:
        name = checked_id("vehicle_id", vehicle_id)
    except FixError:
        return TOPIC
    return TOPIC if _NOT_IN_TOPICS.intersection(name) else TOPIC + name


class Rejecter:
    """Makes rejected rows; the reason is what the worker would say of the message."""

    def __init__(self) -> None:
        self._formats = FormatRegistry()

    def values(self, row: int, values: dict[str, object]) -> RejectedRow:
        """A row whose values, by field, are no Fix."""
        known = {name: value for name, value in values.items() if value is not None}
        return self.message(row, topic_of(values.get("vehicle_id")), msgspec.json.encode(known))

    def line(self, row: int, line: bytes, detail: str) -> RejectedRow:
        """A line that is no row at all, published as it stands."""
        return self.message(row, TOPIC + "unknown", line)._replace(detail=detail)

    def message(self, row: int, topic: str, message: bytes) -> RejectedRow:
        """A row whose message is known; it goes to the refused topic when its own would take it."""
        decoded = self._formats.decode(RawMessage(topic, message, 0))
        if not decoded.rejects:
            topic = TOPIC
            decoded = self._formats.decode(RawMessage(topic, message, 0))
        return RejectedRow(row, *decoded.rejects[0], topic, message)
