"""Control room: what happens now."""

from __future__ import annotations

from dashboards.columns import shared
from dashboards.frame import Board, Column, day_of
from dashboards.hours import EACH_LIMIT
from dashboards.kinds import ALARM, PLAIN, markers, number, rows
from dashboards.queries import Sql
from dashboards.variables import OPERATOR, PROVINCE, THEIRS
from dashboards.words import KINDS, LIMITS, STATES, Language, Value, Words

# News of long ago, that came late, are recorded as alerts too.
_LAST_HOUR = "push AND created_at > now() - INTERVAL '1 hour' AND event_at > now() - INTERVAL '1 hour'"


def dashboard(language: Language) -> Board:
    board = Board(
        "control-room",
        Words("Phòng điều hành", "Control room"),
        Words("Xe đang ở đâu và đang có chuyện gì.", "Where the vehicles are, and what is happening."),
        language,
        variables=(PROVINCE, OPERATOR),
        refresh="10s",
    )
    _numbers(board)
    _map(board)
    _open_violations(board)
    _near_limits(board)
    _silent(board)
    _alerts(board)
    return board


def _numbers(board: Board) -> None:
    board.add(
        number(),
        Sql(f"SELECT count(*) AS vehicles FROM panels.positions WHERE state IN ('driving', 'over_limit') AND {THEIRS}"),
        title=Words("Xe đang chạy", "Vehicles on the road"),
        about=Words(
            "Số xe đang chạy theo bản tin mới nhất, nhận được trong 10 phút vừa qua.",
            "Vehicles that drive, by their newest message, which is at most 10 minutes old.",
        ),
        unit="short",
        width=4,
        height=4,
    )
    board.add(
        number(((None, "green"), (1, "orange"))),
        Sql(f"SELECT count(*) AS vehicles FROM panels.positions WHERE state = 'over_limit' AND {THEIRS}"),
        title=Words("Xe vượt tốc độ cho phép", "Vehicles over the limit"),
        about=Words(
            "Số xe mà bản tin mới nhất có tốc độ cao hơn tốc độ cho phép. Một bản tin chưa phải là vi phạm.",
            "Vehicles whose newest message is faster than their limit. One message is no violation yet.",
        ),
        unit="short",
        width=4,
        height=4,
    )
    board.add(
        number(PLAIN),
        Sql(f"SELECT count(*) AS vehicles FROM panels.positions WHERE state = 'stopped' AND {THEIRS}"),
        title=Words("Xe đang dừng", "Vehicles that stand"),
        about=Words(
            "Số xe đứng yên theo bản tin mới nhất, dù bản tin đó đã lâu: thiết bị thường không gửi khi xe đỗ.",
            "Vehicles that stood at their newest message, however old: many trackers are silent while parked.",
        ),
        unit="short",
        width=4,
        height=4,
    )
    board.add(
        number(((None, "green"), (1, "orange"))),
        Sql(f"SELECT count(*) AS vehicles FROM panels.positions WHERE state = 'silent' AND {THEIRS}"),
        title=Words("Xe mất tín hiệu", "Silent vehicles"),
        about=Words(
            "Số xe đang chạy thì không còn bản tin nào: đã thành vi phạm, hoặc đã quá 10 phút.",
            "Vehicles of which nothing was heard while they drove: a violation already, or for more than 10 minutes.",
        ),
        unit="short",
        width=4,
        height=4,
    )
    board.add(
        number(ALARM),
        Sql(f"SELECT count(*) AS violations FROM panels.violations WHERE status = 'open' AND {THEIRS}"),
        title=Words("Vi phạm đang diễn ra", "Violations going on"),
        about=Words(
            "Số vi phạm chưa kết thúc, kể cả vi phạm cần xem xét.",
            "Violations that have not ended, those to be reviewed among them.",
        ),
        unit="short",
        width=4,
        height=4,
    )
    board.add(
        number(PLAIN),
        Sql(f"SELECT count(*) AS alerts FROM panels.alerts WHERE {_LAST_HOUR} AND {THEIRS}"),
        title=Words("Cảnh báo trong một giờ qua", "Alerts of the last hour"),
        about=Words(
            "Số cảnh báo về việc xảy ra trong một giờ qua, không phụ thuộc khoảng thời gian đã chọn.",
            "Alerts of what happened within the last hour, whatever time range is chosen.",
        ),
        unit="short",
        width=4,
        height=4,
    )


def _map(board: Board) -> None:
    board.add(
        markers("state"),
        Sql(
            f"""
            SELECT vehicle_id, state, speed_kmh, limit_kmh, coalesce(driver, driver_id) AS driver, operator,
                newest_at, lat, lon, {day_of("time")}
            FROM panels.positions WHERE $__timeFilter(newest_at) AND {THEIRS}
            ORDER BY newest_at DESC, vehicle_id LIMIT 5000
            """
        ),
        title=Words("Vị trí cuối cùng", "Last positions"),
        about=Words(
            "Vị trí tin cậy mới nhất của mỗi xe có bản tin trong khoảng thời gian đã chọn, màu theo trạng thái; nhiều"
            " nhất là 5.000 xe có bản tin gần đây nhất.",
            "The newest trusted position of each vehicle heard within the chosen time, coloured by its state; at most"
            " the 5,000 heard last.",
        ),
        empty=Words("Không có xe nào gửi bản tin trong khoảng thời gian này", "No vehicle was heard in this time"),
        unit="none",
        width=12,
        height=20,
        columns=shared(board, "vehicle_id", "state", "speed_kmh", "limit_kmh", "driver", "operator")
        | {
            "newest_at": Column(Words("Bản tin mới nhất", "Newest message"), unit="dateTimeFromNow"),
            "lat": Column(Words("Vĩ độ", "Latitude")),
            "lon": Column(Words("Kinh độ", "Longitude")),
        },
        values=STATES,
    )


def _open_violations(board: Board) -> None:
    board.add(
        rows(),
        Sql(
            f"""
            SELECT started_at, vehicle_id, kind, grade, coalesce(driver, driver_id) AS driver, operator,
                {day_of("started_at")}
            FROM panels.violations WHERE status = 'open' AND {THEIRS}
            ORDER BY started_at DESC, violation_id LIMIT 200
            """
        ),
        title=Words("Danh sách vi phạm đang diễn ra", "List of violations going on"),
        about=Words(
            "Vi phạm chưa kết thúc, mới nhất ở trên; nhiều nhất 200 dòng. Bấm vào biển số để xem ngày hôm đó của xe.",
            "Violations that have not ended, newest first; at most 200 lines. A click on the plate shows the vehicle's"
            " day.",
        ),
        empty=Words("Không có vi phạm nào đang diễn ra", "No violation is going on"),
        unit="none",
        width=12,
        height=10,
        columns=shared(board, "started_at", "vehicle_id", "kind", "grade", "driver", "operator"),
    )


def _near_limits(board: Board) -> None:
    board.add(
        rows(),
        Sql(
            f"""
            SELECT coalesce(driver, driver_id) AS driver, clock.limit_s - driven_s AS left_s, kind, clock.limit_s, at,
                vehicle_id, operator, {day_of("heard_at")}
            FROM {EACH_LIMIT}
            WHERE state = 'driving' AND clock.limit_s - driven_s BETWEEN 0 AND {_NEAR_S}
                AND heard_at > now() - INTERVAL '1 hour' AND {THEIRS}
            ORDER BY left_s, line_id, place LIMIT 100
            """
        ),
        title=Words("Lái xe sắp hết giờ lái", "Drivers near a limit"),
        about=Words(
            "Lái xe đang chạy còn không quá một giờ trước một giới hạn: lái liên tục, trong ngày hoặc trong tuần, mỗi"
            " giới hạn một dòng. Đã vượt thì không còn ở đây mà là vi phạm. Xe không có tên lái xe thì tính theo xe.",
            "Drivers on the road with an hour or less before a limit: continuous, of the day or of the week, a line"
            " for each. One that is passed is no longer here: it is a violation. A vehicle that names no driver counts"
            " for itself.",
        ),
        empty=Words("Không có lái xe nào sắp hết giờ", "No driver is near a limit"),
        unit="none",
        width=12,
        height=10,
        columns=shared(board, "driver", "vehicle_id", "operator")
        | {
            "left_s": Column(
                Words("Còn lại", "Left"), unit="dthms", steps=((None, "red"), (900, "orange"), (1800, "yellow"))
            ),
            "kind": Column(Words("Giới hạn", "Limit"), values=LIMITS),
            "limit_s": Column(Words("Cho phép", "Allowed"), unit="dthms"),
            "at": Column(Words("Tính đến", "As of"), unit="dateTimeFromNow"),
        },
    )


_NEAR_S = 3600


def _silent(board: Board) -> None:
    board.add(
        rows(),
        Sql(
            f"""
            SELECT coalesce(silent_since, newest_at) AS started_at, age_s AS silent_s, vehicle_id,
                coalesce(driver, driver_id) AS driver, operator,
                round(lat::numeric, 5) || ', ' || round(lon::numeric, 5) AS place, {day_of("newest_at")}
            FROM panels.positions WHERE state = 'silent' AND $__timeFilter(newest_at) AND {THEIRS}
            ORDER BY newest_at DESC, vehicle_id LIMIT 200
            """
        ),
        title=Words("Danh sách xe mất tín hiệu", "List of silent vehicles"),
        about=Words(
            "Xe đang chạy thì không còn bản tin nào, trong khoảng thời gian đã chọn; mới nhất ở trên, nhiều nhất 200"
            " dòng.",
            "Vehicles of which nothing more was heard while they drove, within the chosen time; newest first, at most"
            " 200 lines.",
        ),
        empty=Words("Không có xe nào mất tín hiệu", "No vehicle is silent"),
        unit="none",
        width=12,
        height=9,
        columns=shared(board, "started_at", "vehicle_id", "driver", "operator")
        | {
            "started_at": Column(Words("Từ lúc", "Since"), unit="dateTimeAsLocal"),
            "silent_s": Column(Words("Đã", "For"), unit="dtdurations"),
            "place": Column(Words("Vị trí cuối cùng", "Last place")),
        },
    )


_STAGES = {
    "warning": Value(Words("Sắp vi phạm", "Warning"), "yellow"),
    "opened": Value(Words("Bắt đầu", "Began"), "red"),
    "closed": Value(Words("Kết thúc", "Ended"), "green"),
}


def _alerts(board: Board) -> None:
    board.add(
        rows(),
        Sql(
            f"""
            SELECT event_at, stage, kind, vehicle_id, operator, {day_of("event_at")}
            FROM panels.alerts WHERE {_LAST_HOUR} AND {THEIRS}
            ORDER BY event_at DESC, alert_id LIMIT 200
            """
        ),
        title=Words("Danh sách cảnh báo trong một giờ qua", "List of alerts of the last hour"),
        about=Words(
            "Cảnh báo về việc xảy ra trong một giờ qua, mới nhất ở trên; nhiều nhất 200 dòng.",
            "Alerts of what happened within the last hour, newest first; at most 200 lines.",
        ),
        empty=Words("Không có cảnh báo nào trong một giờ qua", "No alerts within the last hour"),
        unit="none",
        width=12,
        height=9,
        columns=shared(board, "vehicle_id", "operator")
        | {
            "event_at": Column(Words("Lúc", "At"), unit="dateTimeAsLocal"),
            "stage": Column(Words("Giai đoạn", "Stage"), values=_STAGES),
            "kind": Column(Words("Loại vi phạm", "Kind"), values=KINDS),
        },
    )
