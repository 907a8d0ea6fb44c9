"""OwnTracks: JSON on the topic owntracks/<user>/<device>. See docs/formats.md.

The vehicle is "<user>/<device>": the payload names no device, and a device name alone is unique only within its user.
Phones and trackers of the family leave fields out, write numbers as strings and repeat old positions; each
rule for that stands here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detectors.fix import Fix
from ingest.formats.checked import checked_fix, parse_time, wrong
from ingest.formats.decoded import Decoded
from ingest.formats.reasons import FixError, Reject

_PING = "p"
_IGNITION_BY_TRIGGER = {"i": True, "I": False}
_decode_any = msgspec.json.Decoder(Any).decode


def decode(vehicle_id: str, payload: bytes) -> Decoded:
    """The fix of one message of this device (the id from the topic, already checked)."""
    if not payload.strip():
        # An empty retained publish is how OwnTracks users delete a card or a waypoint list.
        return Decoded([], [Reject("empty", "no content, expected a JSON object")])
    try:
        fix = _fix(vehicle_id, _document(payload))
    except FixError as error:
        return Decoded([], [error.reject()])
    return Decoded([], [], ignored=True) if fix is None else Decoded([fix], [])


def ignore(_vehicle_id: str, _payload: bytes) -> Decoded:
    """Sub-topics (event, waypoint, status, cmd...) carry no position of the device."""
    return Decoded([], [], ignored=True)


def _document(payload: bytes) -> dict[str, Any]:
    try:
        document = _decode_any(payload)
    except RecursionError:
        raise FixError("bad_json", "nested too deeply") from None
    except ValueError as error:
        raise FixError("bad_json", f"{error}, expected a JSON object") from None
    if not isinstance(document, dict):
        raise wrong("message", document, "a JSON object", "bad_schema")
    return document


def _fix(vehicle_id: str, document: dict[str, Any]) -> Fix | None:
    kind = document.get("_type")
    if not isinstance(kind, str):
        raise wrong("_type", kind, "the kind of message as a string", "bad_schema")
    if kind == "encrypted":
        raise FixError("bad_schema", "_type: given 'encrypted', expected a message that is not encrypted")
    # A ping carries the old position under a new time, so that it does not look like a duplicate.
    if kind != "location" or document.get("t") == _PING:
        return None
    return checked_fix(
        vehicle_id=vehicle_id,
        time_us=_time_us(document.get("tst")),
        lat=_number(document.get("lat")),
        lon=_number(document.get("lon")),
        # Left out when zero; -1 is what older apps write for unknown.
        speed_kmh=_unless_unknown(_number(document.get("vel", 0))),
        # Left out when zero too, but a vehicle heading exactly north is rarer than a phone without a compass.
        heading_deg=_unless_unknown(_number(document.get("cog"))),
        ignition=_ignition(document),
        odometer_km=_number(document.get("odometer")),
    )


def _number(value: object) -> object:
    """A number that some publishers write as a string; anything else is left for the check to refuse."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _unless_unknown(value: object) -> object:
    return None if value == -1 else value


def _time_us(value: object) -> int:
    seconds = _number(value)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise wrong("tst", value, "seconds since 1970", "bad_schema")
    if not 0 <= seconds < 2**40:
        raise wrong("tst", value, "seconds since 1970 up to the year 2100", "bad_value")
    try:
        return parse_time(round(seconds * 1_000))
    except FixError:
        raise wrong("tst", value, "seconds since 1970 up to the year 2100", "bad_value") from None


def _ignition(document: dict[str, Any]) -> bool | None:
    stated = document.get("ign")
    if isinstance(stated, bool):
        return stated
    if stated in (0, 1):
        return bool(stated)
    trigger = document.get("t")
    return _IGNITION_BY_TRIGGER.get(trigger) if isinstance(trigger, str) else None
