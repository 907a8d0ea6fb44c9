"""The own format: what it takes, and the words with which it refuses."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.fix import Fix, to_us
from ingest.formats import REASONS, Decoded, FormatRegistry, Reject
from ingest.formats.hanhtrinh_json import _decode_document, _fast_fix, _slow_fix, single_fixes
from ingest.formats.registry import _route
from ingest.formats.times import common_times_us
from ingest.raw import RawMessage

FULL = {
    "vehicle_id": "51B-12345",
    "driver_id": "790123456789",
    "time": "2026-03-01T08:15:30.25+07:00",
    "lat": 10.776889,
    "lon": 106.700806,
    "speed_kmh": 63.5,
    "heading_deg": 182,
    "ignition": True,
    "door_open": False,
    "odometer_km": 123456.7,
    "satellites": 11,
    "hdop": 0.9,
    "valid": True,
}
LEAST = {"time": 1_772_327_730_250, "lat": 10.5, "lon": 106.5}
TIME_US = to_us(datetime(2026, 3, 1, 1, 15, 30, 250_000, tzinfo=UTC))


def decode(payload: bytes | object, topic: str = "hanhtrinh/51B-12345") -> Decoded:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return FormatRegistry().decode(RawMessage(topic, raw, 0))


def the_fix(payload: bytes | object) -> Fix:
    decoded = decode(payload)
    assert decoded.rejects == []
    (fix,) = decoded.fixes
    return fix


def the_reject(payload: bytes | object, topic: str = "hanhtrinh/51B-12345") -> Reject:
    decoded = decode(payload, topic)
    assert decoded.fixes == []
    (reject,) = decoded.rejects
    assert reject.reason in REASONS
    return reject


def test_every_field_arrives() -> None:
    assert the_fix(FULL) == Fix(
        "51B-12345", TIME_US, 10.776889, 106.700806, 63.5, "790123456789", 182.0, True, False, 123456.7, 11, 0.9, True
    )


def test_the_least_is_time_and_place() -> None:
    assert the_fix(LEAST) == Fix("51B-12345", TIME_US, 10.5, 106.5)


def test_null_means_unknown_and_unknown_fields_are_ignored() -> None:
    nulls = {field: None for field in FULL if field not in LEAST}
    assert the_fix(LEAST | nulls | {"battery": {"deep": [1, 2]}}) == the_fix(LEAST)


def test_numbers_of_a_fix_are_floats_and_whole_numbers_ints() -> None:
    fix = the_fix(LEAST | {"lat": 10, "speed_kmh": 50, "satellites": 7.0, "hdop": 1})
    assert [type(value) for value in (fix.lat, fix.speed_kmh, fix.hdop, fix.satellites)] == [float, float, float, int]


@pytest.mark.parametrize("satellites", [7, 7.0])
def test_minus_zero_is_zero_so_that_two_fixes_that_differ_only_so_are_one(satellites: float) -> None:
    """Law 1: which of the two arrived first would show in every place that is printed."""
    names = ("lat", "lon", "speed_kmh", "heading_deg", "odometer_km", "hdop")
    rest = {"time": 1_772_000_000_000, "satellites": satellites}
    plus, minus = (the_fix(rest | dict.fromkeys(names, zero)) for zero in (0.0, -0.0))
    assert repr(plus) == repr(minus)


def test_an_empty_driver_is_nobody() -> None:
    assert the_fix(LEAST | {"driver_id": ""}).driver_id is None


def test_a_list_is_a_backlog_whose_bad_items_do_not_spoil_the_good_ones() -> None:
    bad = [{"time": "2026-03-01T08:15:30"} | {"lat": 1, "lon": 2}, 7, LEAST | {"lat": 91}, [LEAST]]
    decoded = decode([LEAST, bad[0], FULL, *bad[1:]])
    assert decoded.fixes == [the_fix(LEAST), the_fix(FULL)]
    assert [(reject.reason, reject.detail.split(":")[0]) for reject in decoded.rejects] == [
        ("naive_time", "[1] time"),
        ("bad_schema", "[3] message"),
        ("bad_value", "[4] lat"),
        ("bad_schema", "[5] message"),
    ]


@pytest.mark.parametrize(
    "time",
    [
        "2026-03-01T01:15:30.25Z",
        "2026-03-01t01:15:30.250z",
        "2026-03-01 08:15:30.250000+07:00",
        "2026-03-01T08:15:30.25+0700",
        "2026-02-28T20:15:30.2500000-05:00",
        1_772_327_730_250,
        1_772_327_730_250.0,
    ],
)
def test_times_are_turned_into_utc(time: object) -> None:
    assert the_fix(LEAST | {"time": time}).time_us == TIME_US


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (b"", "empty", "no content"),
        (b" \n", "empty", "no content"),
        (b"[]", "empty", "a list without positions"),
        (b"{", "bad_json", "truncated"),
        (b"\xef\xbb\xbf{}", "bad_json", "invalid character"),
        (b'{"driver_id": "\xff"}', "bad_json", "utf-8"),
        (b"{} {}", "bad_json", "trailing"),
        (b"[" * 100_000, "bad_json", "nested too deeply"),
        (b'{"x":' * 100_000, "bad_json", "nested too deeply"),
        (b'{"time": 1, "lat": NaN, "lon": 1}', "bad_json", "invalid character"),
        (b'{"time": 1, "lat": Infinity, "lon": 1}', "bad_json", "invalid character"),
        (b'{"time": 1, "lat": 1e400, "lon": 1}', "bad_value", "too large"),
        (b'{"time": 1, "lat": 1, "lon": 1, "driver_id": "\\ud800"}', "bad_json", "truncated|surrogate"),
        (b'"hello"', "bad_schema", "given 'hello', expected a JSON object"),
        (b"null", "bad_schema", "given nothing"),
        ({}, "bad_schema", "time: given nothing"),
        ({"time": 1}, "no_position", "lat: given nothing, expected a number -90 to 90"),
        (LEAST | {"lon": None}, "no_position", "lon: given nothing"),
        (LEAST | {"lat": 90.01}, "bad_value", r"lat: given 90\.01, expected a number -90 to 90"),
        (LEAST | {"lon": -180.5}, "bad_value", "lon: given -180.5"),
        (LEAST | {"lat": "10.5"}, "bad_schema", "lat: given '10.5', expected a number"),
        (LEAST | {"lat": True}, "bad_schema", "lat: given True"),
        (LEAST | {"speed_kmh": -1}, "bad_value", "speed_kmh: given -1, expected a number 0 to 1000"),
        (LEAST | {"speed_kmh": 10**30}, "bad_value", "speed_kmh: given 1000"),
        (LEAST | {"speed_kmh": 10**200}, "bad_value", "speed_kmh: given an integer of 665 bits"),
        (LEAST | {"heading_deg": 361}, "bad_value", "heading_deg"),
        (LEAST | {"odometer_km": 1e9}, "bad_value", "odometer_km"),
        (LEAST | {"satellites": 7.5}, "bad_schema", "satellites: given 7.5, expected a whole number"),
        (LEAST | {"satellites": 101}, "bad_value", "satellites"),
        (LEAST | {"hdop": -0.1}, "bad_value", "hdop"),
        (LEAST | {"ignition": 1}, "bad_schema", "ignition: given 1, expected true or false"),
        (LEAST | {"valid": "yes"}, "bad_schema", "valid: given 'yes'"),
        (LEAST | {"time": "2026-03-01T08:15:30"}, "naive_time", "expected an offset"),
        (LEAST | {"time": "2026-12-31T23:59:60Z"}, "bad_value", "23:59:60"),
        (LEAST | {"time": "2026-02-30T00:00:00Z"}, "bad_value", "RFC 3339"),
        (LEAST | {"time": "1772327730250"}, "bad_value", "RFC 3339"),
        (LEAST | {"time": "2026-03-01"}, "bad_value", "RFC 3339"),
        (LEAST | {"time": "0001-01-01T00:00:00+14:00"}, "bad_value", "years 1970 to 2100"),
        (LEAST | {"time": "9999-12-31T23:59:59-14:00"}, "bad_value", "years 1970 to 2100"),
        (LEAST | {"time": "1970-01-01T00:00:00+07:00"}, "bad_value", "years 1970 to 2100"),
        (LEAST | {"time": -1}, "bad_value", "years 1970 to 2100"),
        (LEAST | {"time": 10**30}, "bad_value", "time: given 1000"),
        (LEAST | {"time": 1.5}, "bad_schema", "whole number"),
        (LEAST | {"time": False}, "bad_schema", "time: given False"),
        (LEAST | {"vehicle_id": "other"}, "bad_id", "vehicle_id: given 'other', expected the topic's '51B-12345'"),
        (LEAST | {"vehicle_id": 7}, "bad_schema", "vehicle_id: given 7"),
        (LEAST | {"driver_id": "x" * 65}, "bad_id", r"1 to 64 characters \(has 65\)"),
        (LEAST | {"driver_id": "a\nb"}, "bad_id", "no control characters"),
        (LEAST | {"driver_id": "a\x00"}, "bad_id", "no control characters"),
        (LEAST | {"driver_id": "a\x7f"}, "bad_id", "no control characters"),
        (LEAST | {"driver_id": 790}, "bad_schema", "driver_id: given 790, expected a string"),
    ],
)
def test_a_refusal_names_field_given_and_expected(payload: bytes | object, reason: str, detail: str) -> None:
    reject = the_reject(payload)
    assert reject.reason == reason
    assert re.search(detail, reject.detail), reject.detail


def test_ids_of_64_characters_of_any_script_are_fine() -> None:
    for driver_id in ("Nguyễn Văn Á", "x" * 64, "运" * 64, "a\u200db", "\U0010ffff"):
        assert the_fix(LEAST | {"driver_id": driver_id}).driver_id == driver_id


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def near_misses() -> st.SearchStrategy[dict[str, Any]]:
    """Documents most of whose fields are right, some on the edge and some wrong."""
    times = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=7)), timezone(-timedelta(hours=12))]))
    ids = st.text(max_size=66) | st.just("51B-12345")
    number = st.floats(-400, 1200) | st.integers(-400, 1200)
    fields: dict[str, st.SearchStrategy[Any]] = {
        "time": times.map(datetime.isoformat)
        | times.map(lambda time: time.isoformat(timespec="milliseconds")[:23] + "Z")
        | st.from_regex(r"(19|20|21)\d\d-[01]\d-[0-3]\d[Tt ][0-2]\d:[0-6]\d:[0-6]\d\.\d\d\dZ", fullmatch=True)
        | st.integers(-1, 4_133_980_800_001)
        | st.floats(0, 1e13)
        | st.sampled_from(["2026-03-01T08:15:30Z\n", "2026-03-01T08:15:30,5Z", "2100-12-31T23:59:59-07:00"]),
        "lat": st.floats(-91, 91) | st.integers(-91, 91),
        "lon": st.floats(-181, 181) | st.integers(-181, 181),
        "vehicle_id": ids,
        "driver_id": ids | st.sampled_from(["a\n", "a\x85", "\x7f"]),
        "speed_kmh": number,
        "heading_deg": number,
        "ignition": st.booleans(),
        "door_open": st.booleans(),
        "odometer_km": number,
        "satellites": st.integers(-1, 102) | st.integers(0, 100).map(float) | st.floats(0, 100),
        "hdop": number,
        "valid": st.booleans(),
        "other": JUNK,
    }
    optional = {field: values | st.none() for field, values in fields.items() if field not in LEAST}
    required = {field: fields[field] for field in LEAST}
    right = st.fixed_dictionaries(required, optional=optional)
    spoiled = st.tuples(right, st.sampled_from(list(fields)), JUNK).map(lambda parts: parts[0] | {parts[1]: parts[2]})
    return right | spoiled


@given(near_misses())
def test_the_fast_way_is_the_slow_way_sooner(document: dict[str, Any]) -> None:
    payload = json.dumps(document).encode()
    try:
        fast = _fast_fix("51B-12345", _decode_document(payload))
    except ValueError:
        fast = None
    if fast is not None:
        slow = _slow_fix("51B-12345", payload)
        assert fast == slow
        assert repr(fast) == repr(slow)  # types and the signs of zeros too


@given(st.text(max_size=80) | st.text("51B-/ é\x7f", min_size=60, max_size=70))
def test_a_topic_read_at_a_glance_is_read_as_it_would_be_at_length(vehicle_id: str) -> None:
    topic = f"hanhtrinh/{vehicle_id}"
    assert FormatRegistry().device_id(topic) == _route(topic).device_id


@given(
    st.binary(max_size=200)
    | near_misses().map(lambda document: json.dumps(document).encode())
    | JUNK.map(lambda value: json.dumps(value).encode())
)
def test_no_payload_raises(payload: bytes) -> None:
    for topic in ("hanhtrinh/51B-12345", "owntracks/user/phone"):
        decoded = FormatRegistry().decode(RawMessage(topic, payload, 0))
        table, rows = FormatRegistry().single_fixes([topic], [payload])
        assert not len(rows) or decoded == Decoded([table.fix(0)], [])
        assert bool(decoded.fixes or decoded.rejects) != decoded.ignored
        for reject in decoded.rejects:
            assert reject.reason in REASONS
            assert "\x00" not in reject.detail
            reject.detail.encode()


@given(st.lists(near_misses() | JUNK, max_size=12))
def test_many_messages_at_once_are_read_as_each_by_itself(documents: list[Any]) -> None:
    payloads = [json.dumps(document).encode() for document in documents]
    table, rows = single_fixes(["51B-12345"] * len(payloads), payloads)
    assert len(table) == len(rows)
    for number, row in enumerate(rows.tolist()):
        expected = decode(payloads[row])
        assert expected == Decoded([table.fix(number)], [])
        assert repr(expected.fixes[0]) == repr(table.fix(number))  # types and the signs of zeros too
    # Nothing that the typed way takes is left to the slow one.
    typed = [row for row, payload in enumerate(payloads) if _typed(payload) is not None]
    assert rows.tolist() == typed


TOPICS = [
    "hanhtrinh/51B-12345", "hanhtrinh/51B-12346", "owntracks/a/b", "foo", "", "hanhtrinh/", "hanhtrinh/a/b",
    "hanhtrinh/xe số 1", "hanhtrinh/a\nhanhtrinh/b", "foo\nhanhtrinh/b", "hanhtrinh/" + "x" * 65,
]  # fmt: skip


MILLISECONDS = 31_536_000_000, 4_133_000_000_000
"""From 1971 to 2100."""


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1_000, UTC).replace(microsecond=milliseconds % 1_000 * 1_000)


@given(st.lists(st.integers(*MILLISECONDS).map(_moment), min_size=1, max_size=8), st.booleans())
def test_times_of_one_day_and_of_several_are_read_as_each_by_itself(moments: list[datetime], one_day: bool) -> None:
    """All in the common shape: the day is looked up once where it is the same for all, and not where it is not."""
    if one_day:
        moments = [moments[0].replace(hour=each.hour, minute=each.minute) for each in moments]
    found = common_times_us([each.isoformat(timespec="milliseconds").replace("+00:00", "Z") for each in moments])
    assert found is not None
    time_us, there = found
    assert there.tolist() == [True] * len(moments)
    assert time_us.tolist() == list(map(to_us, moments))


@given(st.lists(st.sampled_from(TOPICS), max_size=4))
def test_every_message_among_many_belongs_to_the_vehicle_of_its_own_topic(topics: list[str]) -> None:
    payload = json.dumps(LEAST).encode()
    table, rows = FormatRegistry().single_fixes(topics, [payload] * len(topics))
    found = dict(zip(rows.tolist(), table.vehicle_ids, strict=True))
    for row, topic in enumerate(topics):
        decoded = FormatRegistry().decode(RawMessage(topic, payload, 0))
        if row in found:
            assert [fix.vehicle_id for fix in decoded.fixes] == [found[row]]
        # Messages of plain ids are never left to the slow way.
        assert (row in found) == (topic in TOPICS[:2])


def _typed(payload: bytes) -> Fix | None:
    try:
        return _fast_fix("51B-12345", _decode_document(payload))
    except ValueError:
        return None
