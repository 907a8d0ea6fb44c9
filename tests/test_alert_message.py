"""Alerts in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from alerts.alert import Alert
from alerts.message import Wording, describe
from alerts.phrases import ENGLISH, VIETNAMESE
from detectors.violation import DRIVING_TIME_KINDS

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
        "2026-10-03 00:42:31+07:00 | continuous driving: began | 29B-12345 | driver unknown | "
        "4:00:00 h where 4:00:00 h is allowed | to be reviewed"
    )


def test_kinds_and_stages_to_come_are_told_by_their_names() -> None:
    line = describe(alert({"kind": "door_open", "grade": "confirmed"}, stage="escalated", vehicle_id=None))
    assert line == "2026-10-03 00:42:31+07:00 | door open: escalated | driver unknown"


def test_vietnamese_is_told_with_its_own_words_and_decimal_comma() -> None:
    assert describe(alert(SPEEDING), VIETNAMESE) == (
        "00:42:31 03/10/2026 +07:00 | Bắt đầu vi phạm: chạy quá tốc độ | 29B-12345 | lái xe D7 | "
        "72,4 km/h, giới hạn 60 km/h (vượt 12,4 km/h) | tại 21.02850, 105.85420"
    )


def test_each_language_has_words_for_all_that_another_has() -> None:
    assert set(VIETNAMESE.kinds) == set(ENGLISH.kinds) == {"speeding", "silence"} | DRIVING_TIME_KINDS
    assert set(VIETNAMESE.stages) == set(ENGLISH.stages)
    assert set(VIETNAMESE.labels) == set(ENGLISH.labels)


def test_a_letter_labels_every_figure_and_links_to_the_vehicles_day() -> None:
    wording = Wording(VIETNAMESE, dashboards_url="https://grafana.example.org/")
    told = alert(SPEEDING | {"started_at": "2026-10-02T17:42:01Z", "operator_id": "HTX-1"})
    title, text = wording.letter(told._replace(operator_name="HTX Thành Công"))
    assert title == ("29B-12345 | Bắt đầu vi phạm: chạy quá tốc độ | 72,4 km/h, giới hạn 60 km/h (vượt 12,4 km/h)")
    assert text.splitlines() == [
        "Bắt đầu vi phạm: chạy quá tốc độ",
        "Biển số: 29B-12345",
        "Lái xe: D7",
        "Đơn vị vận tải: HTX Thành Công",
        "Mức độ: 72,4 km/h, giới hạn 60 km/h (vượt 12,4 km/h)",
        "Thời điểm: 00:42:31 03/10/2026 +07:00",
        "Từ lúc: 00:42:01 03/10/2026 +07:00",
        "Vị trí: 21.02850, 105.85420",
        "Chi tiết: https://grafana.example.org/d/hanhtrinh-vehicle-vi"
        "?var-vehicle=29B-12345&from=1790961121000&to=1790964751900",
    ]


def test_a_letter_leaves_out_what_is_unknown_but_says_that_the_driver_is() -> None:
    title, text = Wording(ENGLISH).letter(alert({"kind": "silence", "limit_s": 600.0, "actual_s": 1200.0}))
    assert title == "29B-12345 | silent tracker: began | nothing for 0:20:00 h where 0:10:00 h is allowed"
    assert "Driver: unknown" in text.splitlines()
    assert "Details" not in text
    assert "Place" not in text


def test_a_vehicle_id_can_break_neither_title_nor_text() -> None:
    title, text = Wording(ENGLISH).letter(alert(SPEEDING, vehicle_id="29B\r\nBcc: everybody"))
    assert "\n" not in title
    assert "\r" not in title + text
    assert "Vehicle: 29B??Bcc: everybody" in text.splitlines()


def test_a_warning_tells_what_was_driven_so_far() -> None:
    near = {"kind": "continuous_driving", "driver_id": "D7", "limit_s": 14400.0, "actual_s": 13500.0, "left_s": 900.0}
    line = describe(alert(near, "warning"))
    assert "continuous driving: warning" in line
    assert "3:45:00 h where 4:00:00 h is allowed" in line


def test_a_broken_off_rest_tells_the_rest_required() -> None:
    line = describe(alert({"kind": "short_rest", "limit_s": 900.0, "actual_s": 899.0}))
    assert "0:14:59 h where 0:15:00 h is required" in line


def test_a_silence_is_told_as_what_was_not_heard() -> None:
    line = describe(alert({"kind": "silence", "limit_s": 600.0, "actual_s": 1200.0}))
    assert "silent tracker: began" in line
    assert "nothing for 0:20:00 h where 0:10:00 h is allowed" in line
