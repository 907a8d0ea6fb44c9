"""What stands at the foot of every report: how it was counted where the law leaves it open."""

from __future__ import annotations

from detectors.rules import ReportNumbers
from storage.reports.scope import ZONE, Scope


def notes(scope: Scope, numbers: ReportNumbers, *more: str) -> list[str]:
    """The readings that all reports share, and those of one."""
    return [
        "Ngày và tháng theo giờ Việt Nam; vi phạm thuộc tháng mà nó bắt đầu.",
        "Không tính vi phạm đã được miễn trừ"
        + (" và vi phạm cần xem xét." if scope.confirmed_only else "; tính cả vi phạm cần xem xét."),
        "Xe thuộc đơn vị vận tải theo đăng ký hiện nay.",
        *more,
        *_as_of(scope),
    ]


def _as_of(scope: Scope) -> list[str]:
    if scope.as_of is None:
        return []
    running = ", khi tháng chưa kết thúc" if scope.as_of < scope.ends_at else ""
    return [f"Số liệu lúc {scope.as_of.astimezone(ZONE):%H:%M ngày %d/%m/%Y}{running}."]


def rate_note(numbers: ReportNumbers) -> str:
    """How violations per 1,000 km are counted."""
    return (
        f"Số lần/1.000 km không tính cho dòng dưới {numbers.badge_least_km:g} km; dòng cộng tính trên mọi vi phạm và"
        " mọi km của các xe."
    )


def stop_note(numbers: ReportNumbers) -> str:
    """What counts as a stop, and in which month."""
    return f"Dừng đỗ: xe đứng yên từ {numbers.stop_least_s / 60:g} phút, thuộc tháng mà lần dừng bắt đầu."


BAND_NOTE = (
    "Mức vượt theo quy ước báo cáo QCVN 31:2014 (vượt đúng 20 km/h thuộc mức 20-35), tính theo tốc độ lớn nhất;"
    " mức phạt theo Nghị định 168/2024 xếp vượt đúng 20 km/h vào mức 10-20."
)
