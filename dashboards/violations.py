"""Violations: what kinds, how grave, whose, where and when; and the worst vehicles."""

from __future__ import annotations

from grafana_foundation_sdk.builders.barchart import Panel as BarChart

from dashboards.columns import shared
from dashboards.frame import TIME_ZONE, VEHICLE_DAY, Board, Column, day_of
from dashboards.kinds import PLAIN, bars, bars_over_time, number, rows
from dashboards.queries import Sql
from dashboards.rules import BADGE_LEAST_KM, BADGE_PER_1000_KM
from dashboards.variables import OPERATOR, PROVINCE, THEIRS
from dashboards.words import BANDS, GRADES, KINDS, Language, Value, Words

_COUNTED = f"panels.violations WHERE $__timeFilter(started_at) AND {THEIRS}"
_GRADES = "count(*) FILTER (WHERE grade = 'confirmed') AS confirmed, count(*) FILTER (WHERE grade = 'review') AS review"
_GRADE_COLUMNS = {name: Column(value.words, color=value.color) for name, value in GRADES.items()}

# Kilometres are known by the day: whole local days, also of the violations that are divided by them.
_MIDNIGHT = f"date_trunc('day', {{}}::timestamptz, '{TIME_ZONE}')"
_DAYS = f"{{0}} >= {_MIDNIGHT.format('$__timeFrom()')} AND {{0}} < {_MIDNIGHT.format('$__timeTo()')} + INTERVAL '1 day'"
_WHOLE_DAYS = Words(
    "Tính theo ngày trọn vẹn của khoảng thời gian đã chọn.", "Counted over whole days of the chosen time."
)


def dashboard(language: Language) -> Board:
    board = Board(
        "violations",
        Words("Vi phạm", "Violations"),
        Words(
            "Vi phạm theo loại, mức, đơn vị, địa phương và giờ trong ngày. Không tính vi phạm đã rút hoặc được miễn.",
            "Violations by kind, band, operator, province and time of day. Those withdrawn or excused do not count.",
        ),
        language,
        variables=(PROVINCE, OPERATOR),
        time_from="now-7d",
        refresh="1m",
    )
    _numbers(board)
    _kinds(board)
    _bands(board)
    _hours(board)
    _operators_and_provinces(board)
    _worst_vehicles(board)
    _table(board)
    return board


def _numbers(board: Board) -> None:
    board.add(
        number(),
        Sql(f"SELECT count(*) AS violations FROM {_COUNTED}"),
        title=Words("Số vi phạm", "Violations"),
        about=Words(
            "Vi phạm bắt đầu trong khoảng thời gian đã chọn, mọi loại.",
            "Violations of every kind that began in the chosen time.",
        ),
        unit="short",
        width=5,
        height=4,
    )
    board.add(
        number(((None, "green"), (1, "yellow"))),
        Sql(f"SELECT count(*) AS violations FROM {_COUNTED} AND grade = 'review'"),
        title=Words("Trong đó cần xem xét", "Of these, to be reviewed"),
        about=Words(
            "Vi phạm chưa chắc chắn dưới mọi cách hiểu bằng chứng: người có thẩm quyền phải xem lại.",
            "Violations that are not certain under every reading of the evidence: somebody must look at them.",
        ),
        unit="short",
        width=5,
        height=4,
    )
    board.add(
        number(),
        Sql(f"SELECT count(DISTINCT vehicle_id) AS vehicles FROM {_COUNTED}"),
        title=Words("Số xe vi phạm", "Vehicles with violations"),
        about=Words(
            "Số xe có ít nhất một vi phạm trong khoảng thời gian đã chọn.",
            "Vehicles with at least one violation in the chosen time.",
        ),
        unit="short",
        width=4,
        height=4,
    )
    board.add(
        number(PLAIN),
        Sql(
            f"""
            SELECT sum(distance_mm) / 1000000.0 AS km FROM panels.vehicle_days
            WHERE {_DAYS.format("begins_at")} AND {THEIRS}
            """
        ),
        title=Words("Tổng số km", "Kilometres driven"),
        about=Words(
            "Quãng đường của mọi xe, tính từ các vị trí tin cậy. " + _WHOLE_DAYS.vi,
            "Distance of all vehicles, from trusted positions. " + _WHOLE_DAYS.en,
        ),
        empty=Words("Chưa xe nào chạy", "Nothing was driven"),
        unit="suffix: km",
        decimals=0,
        width=5,
        height=4,
    )
    board.add(
        number(PLAIN),
        Sql(
            f"""
            WITH driven AS (
                SELECT sum(distance_mm) / 1000000.0 AS km FROM panels.vehicle_days
                WHERE {_DAYS.format("begins_at")} AND {THEIRS}
            )
            SELECT (SELECT count(*) FROM panels.violations
                WHERE kind = 'speeding' AND {_DAYS.format("started_at")} AND {THEIRS}) * 1000 / km AS rate
            FROM driven WHERE km >= {BADGE_LEAST_KM:g}
            """
        ),
        title=Words("Vi phạm tốc độ trên 1.000 km", "Speeding per 1,000 km"),
        about=Words(
            f"Số vi phạm tốc độ chia cho tổng số km, khi có từ {BADGE_LEAST_KM:g} km. " + _WHOLE_DAYS.vi,
            f"Speeding violations divided by all kilometres, from {BADGE_LEAST_KM:g} km on. " + _WHOLE_DAYS.en,
        ),
        empty=Words(f"Chưa đủ {BADGE_LEAST_KM:g} km", f"Less than {BADGE_LEAST_KM:g} km"),
        unit="none",
        decimals=2,
        width=5,
        height=4,
    )


def _kinds(board: Board) -> None:
    board.add(
        bars_over_time(),
        Sql(
            f"""
            SELECT date_trunc('day', started_at, '{TIME_ZONE}') AS time, kind AS metric, count(*) AS violations
            FROM {_COUNTED} GROUP BY 1, 2 ORDER BY 1, 2
            """,
            format="time_series",
        ),
        title=Words("Vi phạm theo ngày và loại", "Violations by day and kind"),
        about=Words(
            "Số vi phạm bắt đầu trong mỗi ngày (giờ Việt Nam), chồng theo loại.",
            "Violations that began on each day (Vietnam time), stacked by kind.",
        ),
        empty=_NONE,
        unit="short",
        width=14,
        height=9,
        columns={kind: Column(value.words, color=value.color) for kind, value in KINDS.items()},
    )
    board.add(
        _stacked("kind"),
        Sql(f"SELECT kind, {_GRADES} FROM {_COUNTED} GROUP BY 1 ORDER BY count(*) DESC, 1"),
        title=Words("Vi phạm theo loại", "Violations by kind"),
        about=Words(
            "Số vi phạm mỗi loại; phần cần xem xét để riêng.",
            "Violations of each kind; those to be reviewed apart.",
        ),
        empty=_NONE,
        unit="short",
        width=10,
        height=9,
        columns=_GRADE_COLUMNS | {"kind": Column(Words("Loại vi phạm", "Kind"), values=KINDS)},
    )


def _bands(board: Board) -> None:
    board.add(
        bars("band"),
        Sql(
            f"""
            SELECT band, coalesce(sum(violations) FILTER (WHERE fine_band = band), 0) AS fine,
                coalesce(sum(violations) FILTER (WHERE report_band = band), 0) AS report
            FROM unnest(ARRAY[{", ".join(f"'{band}'" for band in BANDS)}]) WITH ORDINALITY AS b (band, place)
            CROSS JOIN (
                SELECT fine_band, report_band, count(*) AS violations
                FROM {_COUNTED} AND kind = 'speeding' GROUP BY 1, 2
            ) AS x
            GROUP BY band, place ORDER BY place
            """
        ),
        title=Words("Vượt tốc độ theo mức", "Speeding by band"),
        about=Words(
            "Số vi phạm tốc độ theo mức vượt, theo hai cách xếp: vượt đúng 20 km/h thuộc mức 10 - 20 khi xử phạt, nhưng"
            " thuộc mức 20 - 35 trong báo cáo nhà nước.",
            "Speeding violations by excess, under both conventions: exactly 20 km/h over is of the band 10 - 20 for the"
            " fine, but of the band 20 - 35 in the state's reports.",
        ),
        empty=Words("Không có vi phạm tốc độ", "No speeding"),
        unit="short",
        width=12,
        height=8,
        columns={
            "band": Column(Words("Mức vượt", "Band"), values=BANDS),
            "fine": Column(Words("Theo mức xử phạt", "As fined"), color="orange"),
            "report": Column(Words("Theo báo cáo", "As reported"), color="blue"),
        },
    )


def _hours(board: Board) -> None:
    board.add(
        _stacked("hour", lying=False),
        Sql(
            f"""
            SELECT to_char(hour, 'FM00') AS hour, count(grade) FILTER (WHERE grade = 'confirmed') AS confirmed,
                count(grade) FILTER (WHERE grade = 'review') AS review
            FROM generate_series(0, 23) AS h (hour) LEFT JOIN (
                SELECT extract(hour FROM started_at AT TIME ZONE '{TIME_ZONE}')::int AS hour, grade FROM {_COUNTED}
            ) AS x USING (hour)
            GROUP BY h.hour ORDER BY h.hour
            """
        ),
        title=Words("Vi phạm theo giờ trong ngày", "Violations by time of day"),
        about=Words(
            "Số vi phạm bắt đầu trong mỗi giờ của ngày, giờ Việt Nam.",
            "Violations that began in each hour of the day, Vietnam time.",
        ),
        empty=_NONE,
        unit="short",
        width=12,
        height=8,
        columns=_GRADE_COLUMNS | {"hour": Column(Words("Giờ", "Hour"))},
    )


def _operators_and_provinces(board: Board) -> None:
    for column, title, about in (
        (
            "operator",
            Words("Vi phạm theo đơn vị vận tải", "Violations by operator"),
            Words(
                "15 đơn vị có nhiều vi phạm nhất, theo đơn vị hiện nay của xe.",
                "The 15 operators with most violations, by the operator that the vehicle has today.",
            ),
        ),
        (
            "province",
            Words("Vi phạm theo tỉnh, thành phố", "Violations by province"),
            Words(
                "15 tỉnh, thành phố có nhiều vi phạm nhất, theo nơi đăng ký của đơn vị vận tải.",
                "The 15 provinces with most violations: the province of the vehicle's operator, not of the place.",
            ),
        ),
    ):
        board.add(
            _stacked(column),
            Sql(
                f"""
                SELECT coalesce({column}, 'unknown') AS {column}, {_GRADES}
                FROM {_COUNTED} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 15
                """
            ),
            title=title,
            about=about,
            empty=_NONE,
            unit="short",
            width=12,
            height=10,
            columns=_GRADE_COLUMNS | {column: Column(title, values=_UNKNOWN)},
        )


def _worst_vehicles(board: Board) -> None:
    board.add(
        rows(),
        Sql(
            f"""
            WITH driven AS (
                SELECT vehicle_id, operator, province, sum(distance_mm) / 1000000.0 AS km FROM panels.vehicle_days
                WHERE {_DAYS.format("begins_at")} AND {THEIRS}
                GROUP BY vehicle_id, operator, province HAVING sum(distance_mm) >= {BADGE_LEAST_KM * 1e6:.0f}
            ), counted AS (
                SELECT vehicle_id, count(*) AS violations FROM panels.violations
                WHERE kind = 'speeding' AND {_DAYS.format("started_at")} AND {THEIRS}
                GROUP BY vehicle_id
            )
            SELECT vehicle_id, violations * 1000 / km AS rate, violations, km, operator, province
            FROM driven JOIN counted USING (vehicle_id)
            WHERE km > 0 ORDER BY rate DESC, vehicle_id LIMIT 50
            """
        ),
        title=Words("Xe vi phạm tốc độ nhiều nhất trên 1.000 km", "Worst vehicles: speeding per 1,000 km"),
        about=Words(
            f"50 xe có nhiều vi phạm tốc độ nhất trên 1.000 km, chỉ tính xe chạy từ {BADGE_LEAST_KM:g} km. Màu đỏ: từ"
            f" {BADGE_PER_1000_KM:g} lần; nếu cả tháng như vậy thì xe bị thu hồi phù hiệu. " + _WHOLE_DAYS.vi,
            f"The 50 vehicles with most speeding per 1,000 km, of those that drove {BADGE_LEAST_KM:g} km or more. Red:"
            f" from {BADGE_PER_1000_KM:g} on, which over a month costs the badge. " + _WHOLE_DAYS.en,
        ),
        empty=Words(
            f"Không có xe nào chạy từ {BADGE_LEAST_KM:g} km mà vi phạm tốc độ",
            f"No vehicle that drove {BADGE_LEAST_KM:g} km or more was speeding",
        ),
        unit="none",
        width=24,
        height=9,
        columns={
            "vehicle_id": Column(Words("Biển số xe", "Vehicle"), link=board.link_to(VEHICLE_DAY, "vehicle_id")),
            "rate": Column(
                Words("Trên 1.000 km", "Per 1,000 km"),
                decimals=2,
                steps=((None, "text"), (BADGE_PER_1000_KM, "red")),
            ),
            "violations": Column(Words("Vi phạm tốc độ", "Speeding")),
            "km": Column(Words("Số km", "Kilometres"), unit="suffix: km", decimals=1),
        }
        | shared(board, "operator", "province"),
    )


def _table(board: Board) -> None:
    board.add(
        rows(),
        Sql(
            f"""
            SELECT started_at, vehicle_id, kind, grade, status, duration_s, top_speed_kmh, limit_kmh, report_band,
                fine_band, actual_s, limit_s, coalesce(driver, driver_id) AS driver, operator, province,
                {day_of("started_at")}
            FROM {_COUNTED} ORDER BY started_at DESC, violation_id LIMIT 500
            """
        ),
        title=Words("Danh sách vi phạm", "List of violations"),
        about=Words(
            "500 vi phạm mới nhất trong khoảng thời gian đã chọn. Bấm vào biển số để xem ngày hôm đó của xe.",
            "The newest 500 violations of the chosen time. A click on the plate shows the vehicle's day.",
        ),
        empty=_NONE,
        unit="none",
        width=24,
        height=14,
        columns=shared(
            board, "started_at", "vehicle_id", "kind", "grade", "status", "duration_s", "top_speed_kmh", "limit_kmh",
            "report_band", "fine_band", "actual_s", "limit_s", "driver", "operator", "province",
        ),
    )  # fmt: skip


def _stacked(category: str, *, lying: bool = True) -> BarChart:
    return bars(category, stacked=True, lying=lying)


_NONE = Words("Không có vi phạm trong khoảng thời gian này", "No violations in this time")
_UNKNOWN = {"unknown": Value(Words("Chưa xác định", "Not known"))}
