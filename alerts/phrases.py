"""The words of each language that alerts are told in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrases:
    """The words of one language. Templates are filled by `str.format` with the names shown in ENGLISH."""

    kinds: Mapping[str, str]
    stages: Mapping[str, str]
    driver: str
    no_driver: str
    unknown: str
    """After a label."""
    time: str
    """For `strftime`, with {offset} for that from UTC."""
    speed: str
    hours: str
    rest: str
    silence: str
    place: str
    review: str
    decimal_mark: str
    thousands_mark: str
    labels: Mapping[str, str]
    """Of the lines of a letter: vehicle, driver, operator, extent, time, since, place, grade, link."""
    digest: str
    """Title of a summary of many alerts."""
    digest_span: str
    digest_counts: str
    digest_vehicles: str
    digest_lines: str
    digest_more: str


ENGLISH = Phrases(
    kinds={
        "speeding": "speeding",
        "continuous_driving": "continuous driving",
        "short_rest": "rest too short",
        "daily_driving": "driving time of the day",
        "weekly_driving": "driving time of the week",
        "fortnight_driving": "driving time of two weeks",
        "daily_extension": "one long day too many",
        "silence": "silent tracker",
    },
    stages={
        "warning": "{kind}: warning",
        "opened": "{kind}: began",
        "closed": "{kind}: ended",
        "test": "test of an alert channel: nothing has happened",
    },
    driver="driver {driver}",
    no_driver="driver unknown",
    unknown="unknown",
    time="%Y-%m-%d %H:%M:%S{offset}",
    speed="{top} km/h where {limit} is allowed (+{excess})",
    hours="{actual} h where {limit} h is allowed",
    rest="{actual} h where {limit} h is required",
    silence="nothing for {actual} h where {limit} h is allowed",
    place="at {point}",
    review="to be reviewed",
    decimal_mark=".",
    thousands_mark=",",
    labels={
        "vehicle": "Vehicle",
        "driver": "Driver",
        "operator": "Operator",
        "extent": "Extent",
        "time": "Time",
        "since": "Since",
        "place": "Place",
        "grade": "Grade",
        "link": "Details",
    },
    digest="{alerts} alerts, {vehicles} vehicles",
    digest_span="From {first} to {last}.",
    digest_counts="How many of what:",
    digest_vehicles="Most often:",
    digest_lines="One by one:",
    digest_more="... and {more} more, in the list of violations.",
)

VIETNAMESE = Phrases(
    kinds={
        "speeding": "chạy quá tốc độ",
        "continuous_driving": "lái xe liên tục quá thời gian",
        "short_rest": "nghỉ chưa đủ thời gian",
        "daily_driving": "quá thời gian lái xe trong ngày",
        "weekly_driving": "quá thời gian lái xe trong tuần",
        "fortnight_driving": "quá thời gian lái xe trong hai tuần",
        "daily_extension": "quá số ngày được kéo dài thời gian lái xe",
        "silence": "thiết bị giám sát mất tín hiệu",
    },
    stages={
        "warning": "Sắp vi phạm: {kind}",
        "opened": "Bắt đầu vi phạm: {kind}",
        "closed": "Kết thúc vi phạm: {kind}",
        "test": "Tin thử kênh cảnh báo: không có vi phạm nào xảy ra",
    },
    driver="lái xe {driver}",
    no_driver="chưa xác định lái xe",
    unknown="chưa xác định",
    time="%H:%M:%S %d/%m/%Y {offset}",
    speed="{top} km/h, giới hạn {limit} km/h (vượt {excess} km/h)",
    hours="{actual} giờ, cho phép {limit} giờ",
    rest="nghỉ {actual} giờ, tối thiểu {limit} giờ",
    silence="không có dữ liệu trong {actual} giờ, cho phép {limit} giờ",
    place="tại {point}",
    review="cần xem xét",
    decimal_mark=",",
    thousands_mark=".",
    labels={
        "vehicle": "Biển số",
        "driver": "Lái xe",
        "operator": "Đơn vị vận tải",
        "extent": "Mức độ",
        "time": "Thời điểm",
        "since": "Từ lúc",
        "place": "Vị trí",
        "grade": "Ghi chú",
        "link": "Chi tiết",
    },
    digest="{alerts} cảnh báo, {vehicles} xe",
    digest_span="Từ {first} đến {last}.",
    digest_counts="Số lượng theo loại:",
    digest_vehicles="Nhiều nhất:",
    digest_lines="Từng cảnh báo:",
    digest_more="... và {more} cảnh báo khác, xem trong danh sách vi phạm.",
)

LANGUAGES: Mapping[str, Phrases] = {"vi": VIETNAMESE, "en": ENGLISH}
