"""Driver: hours against the limits, breaks, days, violations of one driver."""

from __future__ import annotations

from dashboards.columns import shared
from dashboards.frame import TIME_ZONE, Board, Column, day_of
from dashboards.hours import EACH_LIMIT
from dashboards.kinds import Steps, dial, lines, number, rows, timeline
from dashboards.queries import Sql
from dashboards.rules import BREAK_LEAST_S, REST_S
from dashboards.spans import FROM, LAST_MIDNIGHT, MIDNIGHT, TO
from dashboards.variables import DRIVER, OPERATOR, PROVINCE
from dashboards.words import LIMITS, STATES, Language, Words

_IT = DRIVER.chosen("driver_id")
_NEAR: Steps = ((None, "green"), (80, "yellow"), (100, "red"))
_UNHEARD = Words("Chưa có số liệu giờ lái", "No hours known yet")
_NOT_DRIVEN = Words("Không lái xe trong khoảng thời gian này", "Drove nothing in this time")
_NOW = Words(
    " Theo bản tin mới nhất; do chính bộ xét vi phạm tính.",
    " By the newest message, as the judge of violations counts.",
)


def _activity_from(begin: str, end: str = TO) -> str:
    """What the driver did lately enough to reach into the time from `begin` on: no driving lasts a day."""
    return f"panels.activity WHERE {_IT} AND begins_at BETWEEN {begin} - INTERVAL '1 day' AND {end}"


def dashboard(language: Language) -> Board:
    board = Board(
        "driver",
        Words("Lái xe", "Driver"),
        Words("Giờ lái, nghỉ và vi phạm của một người lái xe.", "Hours, breaks and violations of one driver."),
        language,
        variables=(PROVINCE, OPERATOR, DRIVER),
        time_from="now-7d",
        refresh="1m",
    )
    _limits(board)
    _numbers(board)
    _activity(board)
    _days(board)
    _breaks(board)
    _violations(board)
    return board


def _limits(board: Board) -> None:
    for clock, title, about in (
        (
            "continuous",
            Words("Lái liên tục", "Continuous driving"),
            Words("Phần giờ lái liên tục cho phép đã dùng.", "How much of the continuous driving allowed is used up."),
        ),
        (
            "day",
            Words("Lái trong ngày", "Driving of the day"),
            Words("Phần giờ lái trong ngày đã dùng.", "How much of the driving allowed in a day is used up."),
        ),
        (
            "week",
            Words("Lái trong tuần", "Driving of the week"),
            Words("Phần giờ lái trong tuần đã dùng.", "How much of the driving allowed in a week is used up."),
        ),
    ):
        board.add(
            dial(_NEAR, 100),
            Sql(f"SELECT 100 * {clock}_s / {clock}_limit_s AS percent FROM panels.drivers_now WHERE {_IT}"),
            title=title,
            about=Words(about.vi + _NOW.vi, about.en + _NOW.en),
            empty=_UNHEARD,
            unit="percent",
            decimals=0,
            width=4,
            height=7,
        )
    board.add(
        rows(),
        Sql(
            f"""
            SELECT kind, driven_s, clock.limit_s, greatest(0, clock.limit_s - driven_s) AS left_s, at
            FROM {EACH_LIMIT}
            WHERE {_IT} AND clock.limit_s IS NOT NULL ORDER BY place
            """
        ),
        title=Words("Giờ lái so với giới hạn", "Hours against the limits"),
        about=Words(
            "Đã lái, cho phép và còn lại vào thời điểm ghi ở cột cuối. Ngày và tuần là của thời điểm đó, giờ Việt Nam"
            " với bộ quy định Việt Nam.",
            "Driven, allowed and left, at the moment in the last column. Day and week are those of that moment; local"
            " ones under the Vietnamese rules.",
        ),
        empty=_UNHEARD,
        unit="none",
        width=12,
        height=7,
        columns={
            "kind": Column(Words("Giới hạn", "Limit of"), values=LIMITS),
            "driven_s": Column(Words("Đã lái", "Driven"), unit="dthms"),
            "limit_s": Column(Words("Cho phép", "Allowed"), unit="dthms"),
            "left_s": Column(
                Words("Còn lại", "Left"), unit="dthms", steps=((None, "red"), (1, "orange"), (3600, "green"))
            ),
            "at": Column(Words("Lúc", "At"), unit="dateTimeAsLocal"),
        },
    )


def _numbers(board: Board) -> None:
    board.add(
        number(),
        Sql(
            f"""
            SELECT sum(extract(epoch FROM least(ends_at, {TO}) - greatest(begins_at, {FROM})))::float8 AS driven_s
            FROM {_activity_from(FROM)} AND activity = 'driving' AND ends_at > {FROM}
            """
        ),
        title=Words("Thời gian lái", "Time driven"),
        about=Words(
            "Tổng thời gian lái trong khoảng thời gian đã chọn, trên mọi xe.",
            "All driving in the chosen time, in all vehicles.",
        ),
        empty=_NOT_DRIVEN,
        unit="dthms",
        width=8,
        height=4,
    )
    board.add(
        number(),
        Sql(
            f"""
            SELECT count(DISTINCT vehicle_id) AS vehicles
            FROM {_activity_from(FROM)} AND activity = 'driving' AND ends_at > {FROM}
            """
        ),
        title=Words("Số xe đã lái", "Vehicles driven"),
        about=Words(
            "Số xe mà người này đã lái trong khoảng thời gian đã chọn.", "Vehicles that were driven in the chosen time."
        ),
        unit="short",
        width=8,
        height=4,
    )
    board.add(
        number(((None, "green"), (1, "red"))),
        Sql(f"SELECT count(*) AS violations FROM panels.violations WHERE {_IT} AND $__timeFilter(started_at)"),
        title=Words("Số vi phạm", "Violations"),
        about=Words(
            "Vi phạm bắt đầu trong khoảng thời gian đã chọn, mọi loại.",
            "Violations of every kind that began in the chosen time.",
        ),
        unit="short",
        width=8,
        height=4,
    )


def _activity(board: Board) -> None:
    board.add(
        timeline(),
        Sql(
            f"""
            WITH shown AS (
                SELECT *, lead(begins_at) OVER (ORDER BY begins_at, vehicle_id) AS next_at
                FROM {_activity_from(FROM)} AND ends_at > greatest(begins_at, {FROM})
            )
            SELECT greatest(begins_at, {FROM}) AS time, activity, vehicle_id FROM shown
            UNION ALL SELECT ends_at, NULL, NULL FROM shown WHERE ends_at < coalesce(next_at, {TO})
            ORDER BY time
            """
        ),
        title=Words("Hoạt động và xe", "Activity and vehicle"),
        about=Words(
            "Người này làm gì, trên xe nào. Chỗ trống: không xe nào có tên người này, tính là nghỉ.",
            "What the driver did, and in which vehicle. A gap: named by no vehicle, which counts as rest.",
        ),
        empty=_NOT_DRIVEN,
        unit="none",
        width=24,
        height=6,
        columns={
            "activity": Column(Words("Hoạt động", "Activity"), values={name: STATES[name] for name in _ACTIVITIES}),
            "vehicle_id": Column(Words("Xe", "Vehicle"), color="purple"),
        },
    )


_ACTIVITIES = ("driving", "stopped", "unknown")


def _days(board: Board) -> None:
    board.add(
        lines(0),
        Sql(
            f"""
            WITH days AS (
                SELECT day, sum(extract(epoch FROM least(ends_at, day + INTERVAL '1 day') - greatest(begins_at, day)))
                    AS driven_s
                FROM (SELECT * FROM {_activity_from(MIDNIGHT, LAST_MIDNIGHT)} AND activity = 'driving') AS driving
                CROSS JOIN LATERAL generate_series(
                    date_trunc('day', begins_at, '{TIME_ZONE}'), ends_at - INTERVAL '1 microsecond', INTERVAL '1 day'
                ) AS day
                WHERE day >= {MIDNIGHT} AND day < {TO} GROUP BY day
            )
            SELECT day AS time, (driven_s / 3600)::float8 AS driven, n.day_limit_s / 3600 AS most
            FROM days LEFT JOIN (SELECT day_limit_s FROM panels.drivers_now WHERE {_IT}) n ON true ORDER BY day
            """,
            format="time_series",
        ),
        title=Words("Giờ lái theo ngày", "Hours driven by day"),
        about=Words(
            "Giờ lái trong mỗi ngày trọn vẹn (giờ Việt Nam), và giới hạn trong ngày đang áp dụng cho người này. Vượt"
            " giới hạn có phải vi phạm hay không: xem danh sách vi phạm.",
            "Hours driven on each whole day (Vietnam time), and the limit of a day that applies to the driver now."
            " Whether passing it was a violation the list of violations says.",
        ),
        empty=_NOT_DRIVEN,
        unit="suffix: h",
        decimals=1,
        width=12,
        height=9,
        columns={
            "driven": Column(Words("Đã lái", "Driven"), color="blue", options={"drawStyle": "bars", "fillOpacity": 80}),
            "most": Column(Words("Cho phép trong ngày", "Allowed in a day"), color="red"),
        },
    )


def _breaks(board: Board) -> None:
    board.add(
        rows(),
        Sql(
            f"""
            WITH driving AS (
                SELECT begins_at, ends_at, max(ends_at) OVER earlier AS driven_to
                FROM {_activity_from(FROM)} AND activity = 'driving'
                WINDOW earlier AS (ORDER BY begins_at, ends_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
            )
            SELECT driven_to AS began_at, begins_at AS ended_at,
                extract(epoch FROM begins_at - driven_to)::float8 AS duration_s
            FROM driving WHERE begins_at - driven_to >= INTERVAL '{BREAK_LEAST_S:g} seconds' AND begins_at > {FROM}
            ORDER BY driven_to DESC LIMIT 500
            """
        ),
        title=Words("Các lần nghỉ giữa hai lần lái", "Breaks between two drives"),
        about=Words(
            f"Từ lúc thôi lái đến lúc lái lại, từ {BREAK_LEAST_S / 60:g} phút trở lên, mới nhất ở trên. Nghỉ bao lâu"
            f" là đủ do quy định: thường từ {REST_S / 60:g} phút; xe im lặng mà di chuyển thì không tính là nghỉ.",
            f"From the end of driving to driving again, of {BREAK_LEAST_S / 60:g} minutes or more, newest first. How"
            f" long is enough the rules say: {REST_S / 60:g} minutes for most vehicles; no rest is counted while a"
            " silent vehicle moved.",
        ),
        empty=Words(
            f"Không có lần nghỉ nào từ {BREAK_LEAST_S / 60:g} phút", f"No break of {BREAK_LEAST_S / 60:g} minutes"
        ),
        unit="none",
        width=12,
        height=9,
        columns={
            "began_at": Column(Words("Từ", "From"), unit="dateTimeAsLocal"),
            "ended_at": Column(Words("Đến", "To"), unit="dateTimeAsLocal"),
            "duration_s": Column(
                Words("Kéo dài", "Lasted"), unit="dtdurations", steps=((None, "orange"), (REST_S, "green"))
            ),
        },
    )


def _violations(board: Board) -> None:
    board.add(
        rows(),
        Sql(
            f"""
            SELECT started_at, vehicle_id, kind, grade, status, actual_s, limit_s, duration_s, top_speed_kmh, limit_kmh,
                report_band, {day_of("started_at")}
            FROM panels.violations WHERE {_IT} AND $__timeFilter(started_at)
            ORDER BY started_at DESC, violation_id LIMIT 500
            """
        ),
        title=Words("Vi phạm của lái xe", "Violations of the driver"),
        about=Words(
            "Vi phạm bắt đầu trong khoảng thời gian đã chọn, mới nhất ở trên. Không tính vi phạm đã rút hoặc được miễn."
            " Bấm vào biển số để xem ngày hôm đó của xe.",
            "Violations that began in the chosen time, newest first. Those withdrawn or excused do not count. A click"
            " on the plate shows the vehicle's day.",
        ),
        empty=Words("Không có vi phạm trong khoảng thời gian này", "No violations in this time"),
        unit="none",
        width=24,
        height=10,
        columns=shared(
            board, "started_at", "vehicle_id", "kind", "grade", "status", "actual_s", "limit_s", "duration_s",
            "top_speed_kmh", "limit_kmh", "report_band",
        ),
    )  # fmt: skip
