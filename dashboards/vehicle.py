"""Vehicle: one day of one vehicle."""

from __future__ import annotations

from dashboards.columns import shared
from dashboards.frame import HIDDEN, Board, Column
from dashboards.kinds import dots, lines, map_of, number, route, rows, timeline
from dashboards.queries import Sql
from dashboards.spans import EXACT_DAYS, FROM, TO, touched_days
from dashboards.variables import OPERATOR, PROVINCE, VEHICLE
from dashboards.vehicle_sql import FAILED_CHECKS, SPEED, TRACK, UNTRUSTED
from dashboards.words import CHECKS, KINDS, LIMIT_SOURCES, STATES, Language, Value, Words

_IT = VEHICLE.chosen("vehicle_id")
_WHOLE_DAYS = Words(
    " Tính cả ngày (giờ Việt Nam) mà khoảng thời gian đã chọn chạm tới.",
    " Whole days (Vietnam time) that the chosen time touches.",
)
_NOT_HEARD = Words("Xe không gửi vị trí trong khoảng thời gian này", "No positions of the vehicle in this time")
_LONG = Words(f" Thời gian dài hơn {EXACT_DAYS} ngày: ", f" Over more than {EXACT_DAYS} days: ")


def dashboard(language: Language) -> Board:
    board = Board(
        "vehicle",
        Words("Xe", "Vehicle"),
        Words("Một ngày của một xe.", "One day of one vehicle."),
        language,
        variables=(PROVINCE, OPERATOR, VEHICLE),
        time_from="now/d",
        time_to="now/d",
    )
    _numbers(board)
    _speed(board)
    _activity(board)
    _track(board)
    _checks(board)
    _violations(board)
    return board


def _numbers(board: Board) -> None:
    for title, about, what, unit, decimals in (
        (
            Words("Quãng đường", "Distance"),
            Words("Tính từ các vị trí tin cậy.", "From trusted positions."),
            "sum(distance_mm) / 1000000.0 AS km",
            "suffix: km",
            1,
        ),
        (
            Words("Thời gian chạy", "Time driven"),
            Words("Tổng thời gian xe chạy.", "How long the vehicle drove in all."),
            "sum(driving_us) / 1000000.0 AS driving_s",
            "dthms",
            None,
        ),
        (
            Words("Tốc độ lớn nhất", "Top speed"),
            Words("Của các vị trí tin cậy.", "Of trusted positions."),
            "max(top_speed_kmh) AS top_speed_kmh",
            "velocitykmh",
            0,
        ),
    ):
        board.add(
            number(),
            Sql(f"SELECT {what} FROM panels.vehicle_days WHERE {_IT} AND {touched_days('begins_at')}"),
            title=title,
            about=Words(about.vi + _WHOLE_DAYS.vi, about.en + _WHOLE_DAYS.en),
            empty=Words("Chưa có số liệu của ngày", "No sums of this day yet"),
            unit=unit,
            decimals=decimals,
            width=4,
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
        width=4,
        height=4,
    )
    board.add(
        number(((None, "green"), (5, "orange"))),
        Sql(UNTRUSTED),
        title=Words("Vị trí không tin cậy", "Positions not trusted"),
        about=Words(
            "Phần vị trí có ít nhất một kiểm tra không đạt: được lưu, nhưng không chứng minh điều gì."
            f"{_LONG.vi}tính theo giờ trọn vẹn.",
            "Share of positions that failed at least one check: stored, but they prove nothing."
            f"{_LONG.en}of whole hours.",
        ),
        empty=_NOT_HEARD,
        unit="percent",
        decimals=1,
        width=4,
        height=4,
    )
    board.add(
        number(((None, "green"), (900, "orange"))),
        Sql("SELECT extract(epoch FROM now() - current_to)::float8 AS age_s FROM panels.sums"),
        title=Words("Số liệu ngày tính cách đây", "Sums of the day counted"),
        about=Words(
            "Quãng đường, thời gian chạy và tốc độ lớn nhất gồm mọi vị trí đã lưu trước lúc đó. Lâu hơn 15 phút: tiến"
            " trình `hanhtrinh maintain` không chạy, các ô bên trái có thể thiếu.",
            "Distance, time driven and top speed hold all positions stored before. Longer ago than 15 minutes:"
            " `hanhtrinh maintain` is not at work, and the panels to the left may miss something.",
        ),
        empty=Words("Chưa tính lần nào: hãy chạy hanhtrinh maintain", "Never: start hanhtrinh maintain"),
        unit="dtdurations",
        width=4,
        height=4,
    )


def _speed(board: Board) -> None:
    board.add(
        lines(0).insert_nulls(300_000).axis_soft_min(0),
        Sql(SPEED, format="time_series"),
        title=Words("Tốc độ và tốc độ cho phép", "Speed against the limit"),
        about=Words(
            "Tốc độ của các vị trí tin cậy, lớn nhất trong mỗi 10 giây; phần tô đỏ là vi phạm tốc độ (không kể vi phạm"
            " được miễn). Đường tốc độ cho phép: trong vi phạm là mức đã dùng để xét; ngoài ra là mức hiện nay của xe"
            " theo đăng ký hoặc theo loại xe, không phải biển báo trên đường, và có thể khác mức của ngày đã chọn. Quá"
            f" 5 phút không có vị trí thì đường bị ngắt.{_LONG.vi}tốc độ lớn nhất của mỗi giờ; màu đỏ là giờ có vi"
            " phạm, cao bằng tốc độ lớn nhất của vi phạm.",
            "Speed of trusted positions, the highest of each 10 seconds; red is a speeding violation (not one that was"
            " excused). The line of the limit: within a violation the limit that judged it; elsewhere the vehicle's"
            " limit of today, by its registration or class. It knows no road signs, and on the chosen day it may have"
            " been another one. After 5 minutes without a position the line is broken."
            f"{_LONG.en}the highest speed of each hour; red is an hour with a violation, as high as its top speed.",
        ),
        empty=_NOT_HEARD,
        unit="velocitykmh",
        decimals=0,
        width=24,
        height=10,
        columns={
            "speed": Column(Words("Tốc độ", "Speed"), color="blue", options={"lineWidth": 1}),
            "speeding": Column(KINDS["speeding"].words, color="red", options={"fillOpacity": 60, "lineWidth": 2}),
            "speed_limit": Column(
                Words("Tốc độ cho phép", "Limit"),
                color="orange",
                options={"lineStyle": {"fill": "dash", "dash": [10, 10]}, "lineInterpolation": "stepAfter"},
            ),
        },
    )


def _activity(board: Board) -> None:
    board.add(
        timeline(),
        Sql(
            f"""
            WITH shown AS (
                (SELECT * FROM panels.activity WHERE {_IT} AND begins_at < {FROM} ORDER BY begins_at DESC LIMIT 1)
                UNION ALL SELECT * FROM panels.activity WHERE {_IT} AND $__timeFilter(begins_at)
            )
            SELECT greatest(begins_at, {FROM}) AS time, activity, coalesce(driver, driver_id, 'nobody') AS driver
            FROM shown WHERE ends_at > {FROM}
            UNION ALL SELECT max(ends_at), NULL, NULL FROM shown HAVING max(ends_at) BETWEEN {FROM} AND {TO}
            ORDER BY time
            """
        ),
        title=Words("Hoạt động và lái xe", "Activity and driver"),
        about=Words(
            "Xe làm gì và ai lái. Không rõ: thiết bị im lặng trong khi xe di chuyển.",
            "What the vehicle did, and who drove. Not known: the tracker was silent while the vehicle moved.",
        ),
        empty=_NOT_HEARD,
        unit="none",
        width=24,
        height=6,
        columns={
            "activity": Column(Words("Hoạt động", "Activity"), values={name: STATES[name] for name in _ACTIVITIES}),
            "driver": Column(
                Words("Lái xe", "Driver"),
                color="purple",
                values={"nobody": Value(Words("Không có tên", "Nobody named"), "text")},
            ),
        },
    )


_ACTIVITIES = ("driving", "stopped", "unknown")


def _track(board: Board) -> None:
    board.add(
        map_of(route(color="text"), dots("state", size=3)),
        Sql(TRACK),
        title=Words("Hành trình trên bản đồ", "Track on the map"),
        about=Words(
            "Các vị trí tin cậy, mỗi 10 giây một điểm; màu đỏ: trong vi phạm tốc độ. Nhiều nhất 20.000 điểm."
            f"{_LONG.vi}vị trí đầu của mỗi giờ, nơi xe bắt đầu chạy hoặc dừng, và nơi vi phạm bắt đầu, nối bằng đường"
            " thẳng.",
            "Trusted positions, one for each 10 seconds; red: within a speeding violation. At most 20,000 points."
            f"{_LONG.en}the first position of each hour, where the vehicle began to drive or to stand, and where"
            " violations began, joined by straight lines.",
        ),
        empty=_NOT_HEARD,
        unit="none",
        width=14,
        height=14,
        columns=shared(board, "speed_kmh")
        | {
            "state": Column(Words("Trạng thái", "State")),
            "time": Column(Words("Lúc", "At"), unit="dateTimeAsLocal"),
            "lat": Column(Words("Vĩ độ", "Latitude")),
            "lon": Column(Words("Kinh độ", "Longitude")),
        },
        values={"speeding": KINDS["speeding"], "driving": STATES["driving"], "stopped": STATES["stopped"]},
    )


def _checks(board: Board) -> None:
    board.add(
        rows(),
        Sql(FAILED_CHECKS),
        title=Words("Kiểm tra không đạt", "Failed checks"),
        about=Words(
            "Vì sao có vị trí không được tin cậy, và bao nhiêu. Một vị trí có thể không đạt nhiều kiểm tra.",
            "Why positions were not trusted, and how many. One position may fail several checks.",
        ),
        empty=Words("Mọi vị trí đều đạt", "Every position passed"),
        unit="none",
        width=10,
        height=14,
        columns={
            "failed": Column(Words("Kiểm tra", "Check"), values=CHECKS),
            "fixes": Column(Words("Số vị trí", "Positions"), width=100),
            "first_at": Column(Words("Lần đầu", "First"), unit="dateTimeAsLocal"),
            "last_at": Column(Words("Lần cuối", "Last"), unit="dateTimeAsLocal"),
        },
    )


def _violations(board: Board) -> None:
    driver = Column(Words("Lái xe", "Driver"), link=board.link_to("hanhtrinh-driver", "driver_id"))
    board.add(
        rows(),
        Sql(
            f"""
            SELECT started_at, kind, grade, status, duration_s, top_speed_kmh, limit_kmh, limit_source,
                report_band, fine_band, actual_s, limit_s, coalesce(driver, driver_id) AS driver, driver_id
            FROM panels.violations WHERE {_IT} AND $__timeFilter(started_at)
            ORDER BY started_at, violation_id LIMIT 500
            """
        ),
        title=Words("Vi phạm của xe", "Violations of the vehicle"),
        about=Words(
            "Vi phạm bắt đầu trong khoảng thời gian đã chọn, theo thứ tự thời gian. Không tính vi phạm đã rút hoặc được"
            " miễn. Bấm vào lái xe để xem giờ lái của người đó.",
            "Violations that began in the chosen time, in their order. Those withdrawn or excused do not count. A click"
            " on the driver shows his or her hours.",
        ),
        empty=Words("Không có vi phạm trong khoảng thời gian này", "No violations in this time"),
        unit="none",
        width=24,
        height=9,
        columns=shared(
            board, "started_at", "kind", "grade", "status", "duration_s", "top_speed_kmh", "limit_kmh", "report_band",
            "fine_band", "actual_s", "limit_s",
        )
        | {
            "limit_source": Column(Words("Nguồn tốc độ cho phép", "Limit by"), values=LIMIT_SOURCES),
            "driver": driver,
            "driver_id": HIDDEN,
        },
    )  # fmt: skip
