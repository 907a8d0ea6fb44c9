"""What readers see, in both languages, and the words that several dashboards share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Language = Literal["vi", "en"]
LANGUAGES: tuple[Language, ...] = ("vi", "en")


class Words(NamedTuple):
    """The same in Vietnamese and English."""

    vi: str
    en: str

    def of(self, language: Language) -> str:
        return self.vi if language == "vi" else self.en


class Value(NamedTuple):
    """What stands on the screen for a value of the database, and in which of Grafana's colours."""

    words: Words
    color: str | None = None


NOTHING = Words("Không có dữ liệu", "No data")

KINDS: Mapping[str, Value] = {
    "speeding": Value(Words("Quá tốc độ", "Speeding"), "red"),
    "continuous_driving": Value(Words("Lái xe liên tục quá giờ", "Continuous driving"), "orange"),
    "short_rest": Value(Words("Nghỉ chưa đủ", "Rest too short"), "yellow"),
    "daily_driving": Value(Words("Quá giờ lái trong ngày", "Driving time of the day"), "purple"),
    "weekly_driving": Value(Words("Quá giờ lái trong tuần", "Driving time of the week"), "blue"),
    "fortnight_driving": Value(Words("Quá giờ lái trong hai tuần", "Driving time of two weeks"), "light-blue"),
    "daily_extension": Value(Words("Quá số ngày kéo dài", "One long day too many"), "light-purple"),
    "silence": Value(Words("Mất tín hiệu", "Silent tracker"), "text"),
}
"""Kinds of violations."""

GRADES: Mapping[str, Value] = {
    "confirmed": Value(Words("Đã xác định", "Confirmed"), "red"),
    "review": Value(Words("Cần xem xét", "To be reviewed"), "yellow"),
}

STATUSES: Mapping[str, Value] = {
    "open": Value(Words("Đang diễn ra", "Going on"), "red"),
    "closed": Value(Words("Đã kết thúc", "Ended"), "green"),
}

BANDS: Mapping[str, Value] = {
    "5-10": Value(Words("5 - 10 km/h", "5 - 10 km/h"), "yellow"),
    "10-20": Value(Words("10 - 20 km/h", "10 - 20 km/h"), "orange"),
    "20-35": Value(Words("20 - 35 km/h", "20 - 35 km/h"), "red"),
    "over 35": Value(Words("Trên 35 km/h", "Over 35 km/h"), "dark-red"),
}
"""By how much a speed limit was exceeded."""

STATES: Mapping[str, Value] = {
    "driving": Value(Words("Đang chạy", "Driving"), "green"),
    "over_limit": Value(Words("Vượt tốc độ cho phép", "Over the limit"), "red"),
    "stopped": Value(Words("Đang dừng", "Stopped"), "blue"),
    "silent": Value(Words("Mất tín hiệu", "Silent"), "orange"),
    "unknown": Value(Words("Chưa rõ", "Not known yet"), "text"),
}
"""What a vehicle does now."""

CHECKS: Mapping[str, Value] = {
    "no_fix": Value(Words("Không bắt được vệ tinh", "No satellite fix")),
    "clock": Value(Words("Sai đồng hồ", "Wrong clock")),
    "rollover": Value(Words("Đồng hồ GPS lùi 1024 tuần", "GPS clock 1024 weeks back")),
    "speed": Value(Words("Tốc độ không thể có", "Impossible speed")),
    "jump": Value(Words("Vị trí nhảy xa", "Position jumped")),
    "acceleration": Value(Words("Tốc độ đổi quá nhanh", "Speed changed too fast")),
    "frozen": Value(Words("Vị trí đứng yên khi xe chạy", "Position stands while the speed goes on")),
    "contradiction": Value(Words("Tốc độ không khớp quãng đường", "Speed does not fit the distance")),
}
"""Reasons to distrust a position."""

LIMITS: Mapping[str, Value] = {
    "continuous_driving": Value(Words("Lái liên tục", "Continuous")),
    "daily_driving": Value(Words("Trong ngày", "Day")),
    "weekly_driving": Value(Words("Trong tuần", "Week")),
    "fortnight_driving": Value(Words("Trong hai tuần", "Two weeks")),
}
"""Limits of driving time."""

LIMIT_SOURCES: Mapping[str, Value] = {
    "class": Value(Words("Theo loại xe", "Class of vehicle")),
    "operator": Value(Words("Đặt cho đơn vị vận tải", "Set for the operator")),
    "kind": Value(Words("Đặt cho loại hình kinh doanh", "Set for the kind of business")),
    "vehicle": Value(Words("Của riêng xe", "The vehicle's own")),
    "given": Value(Words("Do người yêu cầu nêu", "Given by who asked")),
    "road": Value(Words("Của đường", "Of the road")),
}
"""Where the limit of a speeding violation came from."""
