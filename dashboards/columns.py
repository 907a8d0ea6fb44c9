"""Columns that tables of several dashboards have."""

from __future__ import annotations

from collections.abc import Mapping

from dashboards.frame import HIDDEN, VEHICLE_DAY, Board, Column
from dashboards.words import BANDS, GRADES, KINDS, STATES, STATUSES, Words

SHARED: Mapping[str, Column] = {
    "operator": Column(Words("Đơn vị vận tải", "Operator")),
    "province": Column(Words("Tỉnh, thành phố", "Province")),
    "driver": Column(Words("Lái xe", "Driver")),
    "kind": Column(Words("Loại vi phạm", "Kind"), values=KINDS),
    "grade": Column(Words("Mức xác định", "Grade"), values=GRADES, width=120),
    "status": Column(Words("Trạng thái", "Status"), values=STATUSES, width=110),
    "state": Column(Words("Trạng thái", "State"), values=STATES),
    "started_at": Column(Words("Bắt đầu", "Began"), unit="dateTimeAsLocal", width=160),
    "duration_s": Column(Words("Kéo dài", "Lasted"), unit="dtdurations", width=110),
    "top_speed_kmh": Column(Words("Tốc độ lớn nhất", "Top speed"), unit="velocitykmh", decimals=1, width=120),
    "speed_kmh": Column(Words("Tốc độ", "Speed"), unit="velocitykmh", decimals=0),
    "limit_kmh": Column(Words("Tốc độ cho phép", "Limit"), unit="velocitykmh", decimals=0, width=110),
    "report_band": Column(Words("Mức vượt (báo cáo)", "Band (report)"), values=BANDS, width=120),
    "fine_band": Column(Words("Mức vượt (xử phạt)", "Band (fine)"), values=BANDS, width=120),
    "actual_s": Column(Words("Thời gian lái", "Hours"), unit="dthms", width=110),
    "limit_s": Column(Words("Cho phép", "Allowed"), unit="dthms", width=100),
    "day_from": HIDDEN,
    "day_to": HIDDEN,
}


def shared(board: Board, *names: str) -> dict[str, Column]:
    """These of the columns above; "vehicle_id" leads to the vehicle's day by the hidden columns of `day_of`."""
    chosen = {name: SHARED[name] for name in names if name != "vehicle_id"}
    if "vehicle_id" not in names:
        return chosen
    vehicle = Column(Words("Biển số xe", "Vehicle"), link=board.link_to(VEHICLE_DAY, "vehicle_id", day=True), width=110)
    return {"vehicle_id": vehicle, **chosen, "day_from": HIDDEN, "day_to": HIDDEN}
