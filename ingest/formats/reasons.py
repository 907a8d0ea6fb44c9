"""The closed list of reasons why a message, or one position in it, cannot be used."""

from __future__ import annotations

from typing import Final, NamedTuple

REASONS: Final = {
    "empty": "the message has no content",
    "bad_json": "not a JSON document",
    "bad_schema": "a field has the wrong type, or a required one is missing",
    "bad_value": "a number or a time is outside its range",
    "naive_time": "a time without an offset from UTC",
    "bad_id": "a vehicle or driver id that is too long, has control characters or contradicts the topic",
    "no_position": "no latitude or no longitude",
    "unknown_topic": "no format is known for the topic",
    "too_large": "larger than the bridge takes",
    "conflict": "another fix of the same vehicle and time won",
    "refused_by_database": "the database refused the row",
}


class Reject(NamedTuple):
    """Why something was not used: a code of REASONS, and which field, what was given, what was expected."""

    reason: str
    detail: str


class FixError(ValueError):
    """An untrusted value cannot be part of a Fix."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def reject(self, where: str = "") -> Reject:
        """The same as a Reject; `where` (an index in a list) goes in front of the field."""
        return Reject(self.reason, f"{where}{self.detail}")
