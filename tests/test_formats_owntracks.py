"""OwnTracks: the traps of the format, and a real message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from detectors.fix import Fix
from ingest.formats import Decoded, FormatRegistry
from ingest.raw import RawMessage

TOPIC = "owntracks/qtripp/865284041968706"
# Captured from a Queclink tracker through qtripp (Traccar's OwnTracksProtocolDecoderTest, Apache-2.0).
REAL: dict[str, Any] = {
    "topic": TOPIC,
    "lat": 47.420051,
    "lon": 13.654704,
    "vel": 0,
    "cog": 113,
    "tst": 1736519167,
    "mcc": 232,
    "mnc": 1,
    "lac": "4F4D",
    "cid": "673A",
    "_type": "location",
    "acc": 10,
    "alt": 1113,
    "t": "I",
    "don": 105,
    "tid": "CS",
}


def decode(document: Any, topic: str = TOPIC) -> Decoded:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return FormatRegistry().decode(RawMessage(topic, payload, 0))


def the_fix(document: Any) -> Fix:
    decoded = decode(document)
    assert decoded.rejects == []
    (fix,) = decoded.fixes
    return fix


def without(*fields: str) -> dict[str, Any]:
    return {field: value for field, value in REAL.items() if field not in fields}


def test_a_real_message_becomes_a_fix() -> None:
    assert the_fix(REAL) == Fix(
        "qtripp/865284041968706",
        1_736_519_167_000_000,
        47.420051,
        13.654704,
        speed_kmh=0.0,
        heading_deg=113.0,
        ignition=False,
    )


def test_absent_speed_is_zero_and_minus_one_is_unknown() -> None:
    assert the_fix(without("vel")).speed_kmh == 0.0
    assert the_fix(REAL | {"vel": -1}).speed_kmh is None
    assert the_fix(REAL | {"vel": None}).speed_kmh is None
    assert the_fix(without("cog")).heading_deg is None


def test_numbers_written_as_strings_are_read() -> None:
    fix = the_fix(REAL | {"lat": "10.5", "lon": "106.25", "vel": "63", "tst": "1736519167.5", "cog": "-1"})
    assert (fix.lat, fix.lon, fix.speed_kmh, fix.time_us, fix.heading_deg) == (
        10.5,
        106.25,
        63.0,
        1_736_519_167_500_000,
        None,
    )


@pytest.mark.parametrize(
    ("fields", "ignition"),
    [
        ({"t": "i"}, True),
        ({"t": "I"}, False),
        ({"t": "u"}, None),
        ({"t": 5}, None),
        ({"ign": True}, True),
        ({"ign": 0, "t": "i"}, False),
    ],
)
def test_ignition_comes_from_the_field_or_the_trigger_letter(fields: dict[str, Any], ignition: bool | None) -> None:
    assert the_fix(REAL | fields).ignition is ignition


@pytest.mark.parametrize("kind", ["lwt", "waypoint", "waypoints", "transition", "card", "status", "cmd", "beacon"])
def test_messages_that_are_no_position_are_ignored_by_design(kind: str) -> None:
    assert decode({"_type": kind, "tst": 1}) == Decoded([], [], ignored=True)


def test_a_ping_is_not_a_fix() -> None:
    assert decode(REAL | {"t": "p"}).ignored


def test_sub_topics_are_ignored_by_design() -> None:
    assert decode(REAL, f"{TOPIC}/event").ignored


@pytest.mark.parametrize(
    ("document", "reason", "detail"),
    [
        (b"", "empty", "no content"),
        (b"[" * 50_000, "bad_json", "nested"),
        ([REAL], "bad_schema", "given a list"),
        (without("_type"), "bad_schema", "_type: given nothing"),
        (REAL | {"_type": "encrypted", "data": "xyz"}, "bad_schema", "not encrypted"),
        (without("lat"), "no_position", "lat: given nothing"),
        (without("tst"), "bad_schema", "tst: given nothing"),
        (REAL | {"tst": 1e18}, "bad_value", "tst"),
        (REAL | {"tst": "nan"}, "bad_value", "tst: given 'nan'"),
        (REAL | {"lat": "nan"}, "bad_value", "lat: given nan"),
        (REAL | {"lon": "inf"}, "bad_value", "lon: given inf"),
        (REAL | {"vel": "fast"}, "bad_schema", "speed_kmh: given 'fast'"),
        (REAL | {"vel": -2}, "bad_value", "speed_kmh"),
    ],
)
def test_a_refusal_names_what_was_given(document: Any, reason: str, detail: str) -> None:
    decoded = decode(document)
    assert decoded.fixes == []
    (reject,) = decoded.rejects
    assert reject.reason == reason
    assert detail in reject.detail


@pytest.mark.parametrize(
    ("topic", "device_id", "reason"),
    [
        ("owntracks/a/b", "a/b", None),
        ("owntracks/a/b/event", "a/b", None),
        ("hanhtrinh/51B-1", "51B-1", None),
        ("owntracks/a", None, "unknown_topic"),
        ("hanhtrinh/a/b", None, "unknown_topic"),
        ("hanhtrinh", None, "bad_id"),
        ("hanhtrinh/", None, "bad_id"),
        ("hanhtrinh/" + "x" * 65, None, "bad_id"),
        ("hanhtrinh/a\x07", None, "bad_id"),
        ("sensors/7", None, "unknown_topic"),
        ("", None, "unknown_topic"),
    ],
)
def test_the_topic_decides_device_and_format(topic: str, device_id: str | None, reason: str | None) -> None:
    formats = FormatRegistry()
    assert formats.device_id(topic) == device_id
    rejects = formats.decode(RawMessage(topic, b"{}", 0)).rejects
    if reason is not None:
        assert [reject.reason for reject in rejects] == [reason]
