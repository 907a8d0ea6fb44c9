"""Alerts in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from alerts.alert import Alert
from alerts.message import ENGLISH, describe

SPEEDING: dict[str, Any] = {
    "kind": "speeding",
    "grade": "confirmed",
    "driver_id": "D7",
    "start": {"lat": 21.0285, "lon": 105.8542},
    "end": {"lat": 21.0385, "lon": 105.8642},
    "limit_kmh": 60.0,
    "top_speed_kmh": 72.4,
    "excess_kmh": 12.4,
}


def alert(violation: dict[str, Any], stage: str = "opened", vehicle_id: str | None = "29B-12345") -> Alert:
    return Alert("v1:opened", stage, datetime(2026, 10, 2, 17, 42, 31, 900_000, tzinfo=UTC), vehicle_id, violation)


def test_speeding_is_told_with_local_time_plate_driver_speeds_and_place() -> None:
    assert describe(alert(SPEEDING)) == (
        "2026-10-03 00:42:31+07:00 | speeding: began | 29B-12345 | driver D7 | "
        "72.4 km/h where 60 is allowed (+12.4) | at 21.02850, 105.85420"
    )


def test_the_end_is_told_with_the_place_where_it_ended() -> None:
    line = describe(alert(SPEEDING, stage="closed"))
    assert "speeding: ended" in line
    assert "at 21.03850, 105.86420" in line


def test_driving_time_is_told_in_hours_minutes_and_seconds() -> None:
    line = describe(alert({"kind": "continuous_driving", "grade": "review", "limit_s": 14400.0, "actual_s": 14400.9}))
    assert line == (
        "2026-10-03 00:42:31+07:00 | driving without a rest: began | 29B-12345 | driver unknown | "
        "4:00:00 h where 4:00:00 h is allowed | to be reviewed"
    )


def test_kinds_and_stages_to_come_are_told_by_their_names() -> None:
    line = describe(alert({"kind": "door_open", "grade": "confirmed"}, stage="escalated", vehicle_id=None))
    assert line == "2026-10-03 00:42:31+07:00 | door open: escalated | driver unknown"


def test_another_language_needs_only_other_phrases() -> None:
    vietnamese = replace(
        ENGLISH,
        kinds={"speeding": "chạy quá tốc độ"},
        stages={"opened": "Bắt đầu {kind}"},
        driver="lái xe {driver}",
        speed="{top} km/h, cho phép {limit} km/h (+{excess})",
        place="tại {lat}, {lon}",
        decimal_mark=",",
    )
    assert describe(alert(SPEEDING), vietnamese) == (
        "2026-10-03 00:42:31+07:00 | Bắt đầu chạy quá tốc độ | 29B-12345 | lái xe D7 | "
        "72,4 km/h, cho phép 60 km/h (+12,4) | tại 21.02850, 105.85420"
    )


def test_a_warning_tells_what_was_driven_so_far() -> None:
    near = {"kind": "continuous_driving", "driver_id": "D7", "limit_s": 14400.0, "actual_s": 13500.0, "left_s": 900.0}
    line = describe(alert(near, "warning"))
    assert "driving without a rest: warning" in line
    assert "3:45:00 h where 4:00:00 h is allowed" in line


def test_a_broken_off_rest_tells_the_rest_required() -> None:
    line = describe(alert({"kind": "short_rest", "limit_s": 900.0, "actual_s": 899.0}))
    assert "0:14:59 h where 0:15:00 h is required" in line


def test_a_silence_is_told_as_what_was_not_heard() -> None:
    line = describe(alert({"kind": "silence", "limit_s": 600.0, "actual_s": 1200.0}))
    assert "silent tracker: began" in line
    assert "nothing for 0:20:00 h where 0:10:00 h is allowed" in line
