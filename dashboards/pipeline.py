"""Pipeline: is every message on its way, and how fast. For those who run the system; all of it from Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from dashboards.frame import HIDDEN, Board, Column
from dashboards.kinds import ALARM, PLAIN, Steps, bars_over_time, lines, number, rows, timeline
from dashboards.queries import Prom
from dashboards.words import KINDS, Language, Value, Words

PROCESSES = Words("Tình trạng các tiến trình", "Can the processes work?")
MESSAGES = Words("Bản tin mỗi giây", "Messages per second")
LAG = Words("Bản tin đang chờ xử lý", "Messages that wait to be judged")
LAG_SECONDS = Words("Bộ xử lý đứng yên đã", "Workers have stood still for")
STOPPED = Words("Phần của log bị dừng", "Stopped partitions")
DEAD_LETTERS = Words("Bản tin không dùng được, theo lý do", "Messages that cannot be used, by reason")
REJUDGED = Words("Xe chờ xét lại", "Vehicles that wait to be judged again")
OUTBOX = Words("Cảnh báo chờ gửi lâu nhất", "Oldest alert that waits")
DELIVERIES = Words("Gửi cảnh báo, theo kênh", "Deliveries of alerts, by channel")
STALLS = Words("Vòng lặp của bộ xử lý bị nghẽn", "Stalls of the workers' event loops")
RECONNECTS = Words("Cầu nối: kết nối lại và từ chối", "Bridge: new connections and refusals")
TURN_AGE = Words("Số liệu được cập nhật cách đây", "Sums were last kept up")
"""Titles that alarms lead to (`dashboards/alarms.py`)."""

_OVER = "[$__rate_interval]"


def dashboard(language: Language) -> Board:
    board = Board(
        "pipeline",
        Words("Đường đi của dữ liệu", "Pipeline"),
        Words(
            "Bản tin có đến, được xử lý, lưu và báo kịp không. Dành cho người vận hành hệ thống.",
            "Do messages arrive, are they judged, stored and told in time. For those who run the system.",
        ),
        language,
        time_from="now-3h",
        refresh="30s",
    )
    _now(board)
    _rates(board)
    _delays(board)
    _trouble(board)
    _alerts(board)
    _machine(board)
    return board


def _now(board: Board) -> None:
    board.add(
        number(_steps(1_000, 100_000)),
        Prom("sum(hanhtrinh_worker_lag_messages)"),
        title=LAG,
        about=Words(
            "Số bản tin đã nằm trong log mà chưa được xử lý.",
            "Messages that the log has and no worker has judged yet.",
        ),
        empty=_NO_PROCESS,
        unit="short",
        decimals=0,
        width=4,
        height=4,
    )
    board.add(
        number(_steps(30, 120)),
        Prom("max(hanhtrinh_worker_lag_seconds)"),
        title=LAG_SECONDS,
        about=Words(
            "Thời gian từ lần lưu cuối cùng khi vẫn còn bản tin chờ; 0 khi không có bản tin nào chờ.",
            "Since the last commit while messages wait; 0 when none waits.",
        ),
        empty=_NO_PROCESS,
        unit="s",
        decimals=0,
        width=4,
        height=4,
    )
    board.add(
        number(ALARM),
        Prom("max(hanhtrinh_worker_stopped_partitions)"),
        title=STOPPED,
        about=Words(
            "Phần của log có vị trí đã lưu nằm ngoài log: xe của phần đó không được xử lý. Phải bằng 0.",
            "Partitions whose stored position lies outside the log: their vehicles are not judged. Must be 0.",
        ),
        empty=_NO_PROCESS,
        unit="short",
        decimals=0,
        width=4,
        height=4,
    )
    board.add(
        number(_steps(60, 300)),
        Prom("max(hanhtrinh_notifier_oldest_seconds)"),
        title=OUTBOX,
        about=Words(
            "Cảnh báo lẽ ra đã gửi mà chờ lâu nhất; không tính cảnh báo chờ hết giờ yên tĩnh.",
            "Of the alerts that should have left by now; those that wait for the end of quiet hours are left out.",
        ),
        empty=_NO_PROCESS,
        unit="s",
        decimals=0,
        width=4,
        height=4,
    )
    board.add(
        number(_steps(300, 900)),
        Prom("time() - max(hanhtrinh_maintenance_last_turn_timestamp_seconds > 0)"),
        title=TURN_AGE,
        about=Words(
            "Thời gian từ lần cập nhật cuối cùng của số liệu theo giờ và ngày, mà báo cáo và bảng theo dõi dùng.",
            "Since the sums per hour and day, which reports and panels read, were kept up last.",
        ),
        empty=_NO_PROCESS,
        unit="s",
        decimals=0,
        width=4,
        height=4,
    )
    board.add(
        number(PLAIN),
        Prom("max(hanhtrinh_maintenance_database_bytes)"),
        title=Words("Dung lượng cơ sở dữ liệu", "Size of the database"),
        about=Words(
            "Trên đĩa của máy chủ cơ sở dữ liệu, mọi bảng và chỉ mục.",
            "On the disk of the database server, all tables and indexes.",
        ),
        empty=_NO_PROCESS,
        unit="bytes",
        decimals=1,
        width=4,
        height=4,
    )
    board.add(
        timeline(),
        Prom("min by (process) (hanhtrinh_healthy)", "{{process}}"),
        title=PROCESSES,
        about=Words(
            "Mỗi tiến trình có làm được việc không: khi không, /healthz của nó nêu lý do. Chỗ trống: không chạy.",
            "Whether each process can do its work: when not, its /healthz says why. A gap: it did not run.",
        ),
        empty=_NO_PROCESS,
        unit="none",
        width=12,
        height=8,
        columns=_PROCESSES,
        values={
            "1": Value(Words("Hoạt động", "Works"), "green"),
            "0": Value(Words("Không làm việc được", "Cannot work"), "red"),
        },
    )
    board.add(
        rows(),
        Prom('sort_desc(max by (alertname, severity) (ALERTS{alertstate="firing"}))', instant=True),
        title=Words("Báo động của hệ thống", "Alarms of the system"),
        about=Words(
            "Luật nào của Prometheus đang báo; docs/when-things-fail.md nêu việc cần làm.",
            "Which rules of Prometheus ring now; docs/when-things-fail.md says what to do.",
        ),
        empty=Words("Không có báo động nào", "No alarm rings"),
        unit="none",
        width=12,
        height=8,
        columns={
            "alertname": Column(Words("Báo động", "Alarm")),
            "severity": Column(Words("Mức độ", "Severity"), values=_SEVERITIES),
            "Time": HIDDEN,
            "Value": HIDDEN,
        },
    )


def _rates(board: Board) -> None:
    board.heading(Words("Bao nhiêu", "How many"))
    board.add(
        lines(),
        Prom(f"sum(rate(hanhtrinh_bridge_received_total{_OVER}))", Words("cầu nối nhận", "received")),
        Prom(f"sum(rate(hanhtrinh_bridge_appended_total{_OVER}))", Words("đã xác nhận", "acknowledged")),
        Prom(f"sum(rate(hanhtrinh_worker_messages_total{_OVER}))", Words("đã xử lý", "judged")),
        title=MESSAGES,
        about=Words(
            "Ba đường trùng nhau khi mọi thứ theo kịp. Bản tin chỉ được xác nhận với máy chủ MQTT khi log đã có nó.",
            "The three lines are one while all keep up. A message is acknowledged to the broker only when the log has"
            " it.",
        ),
        empty=_NO_PROCESS,
        unit="cps",
        width=12,
        height=8,
    )
    board.add(
        lines(),
        Prom(f"sum(rate(hanhtrinh_worker_fixes_total{_OVER}))", Words("vị trí mới", "new")),
        Prom(f"sum(rate(hanhtrinh_worker_late_fixes_total{_OVER}))", Words("đến muộn", "late")),
        Prom(f"sum(rate(hanhtrinh_worker_duplicate_fixes_total{_OVER}))", Words("lặp lại", "doubled")),
        title=Words("Vị trí mỗi giây", "Fixes per second"),
        about=Words(
            "Vị trí được lưu; trong đó vị trí cũ hơn vị trí mới nhất của xe (đến muộn); và vị trí đã có (lặp lại).",
            "Fixes stored; among them those older than the newest of their vehicle (late); and those that were there"
            " already (doubled).",
        ),
        empty=_NO_PROCESS,
        unit="cps",
        width=12,
        height=8,
    )
    board.add(
        lines(),
        Prom("sum(hanhtrinh_worker_lag_messages)", Words("bản tin chờ", "waiting")),
        title=Words("Bản tin chờ theo thời gian", "Waiting messages over time"),
        about=Words(
            "Tăng liên tục nhiều phút: bộ xử lý không kịp, cần thêm bộ xử lý.",
            "Growing for minutes: the workers do not keep up, start more of them.",
        ),
        empty=_NO_PROCESS,
        unit="short",
        width=12,
        height=8,
    )
    board.add(
        bars_over_time(),
        Prom(f'sum by (kind) (increase(hanhtrinh_worker_violations_total{{stage="opened"}}{_OVER}))', "{{kind}}"),
        title=Words("Vi phạm mới phát hiện", "Violations found"),
        about=Words(
            "Số vi phạm bắt đầu, theo loại. Tăng vọt: trước hết hãy xem tốc độ cho phép và loại xe trong danh mục.",
            "Violations that began, by kind. A sudden multiple: look at the limits and kinds in the registry first.",
        ),
        empty=Words("Không có vi phạm mới", "No new violations"),
        unit="short",
        decimals=0,
        width=12,
        height=8,
        columns={kind: Column(value.words, color=value.color) for kind, value in KINDS.items()},
    )


def _delays(board: Board) -> None:
    board.heading(Words("Bao lâu", "How long"))
    board.add(
        lines(0),
        *_quantiles("hanhtrinh_worker_event_to_store_seconds"),
        title=Words("Từ lúc đo đến lúc lưu", "From the fix to the database"),
        about=Words(
            "Từ thời điểm của vị trí đến khi lưu và xét xong. Lớn mà không có bản tin chờ: thiết bị gửi muộn, hoặc sai"
            " đồng hồ.",
            "From the fix's own time until it is judged and stored. Large while nothing waits: trackers send late, or"
            " their clocks are wrong.",
        ),
        empty=_NO_PROCESS,
        unit="s",
        width=8,
        height=8,
    )
    board.add(
        lines(0),
        *_quantiles("hanhtrinh_notifier_event_to_alert_seconds"),
        title=Words("Từ lúc đo đến lúc báo", "From the fix to the alert"),
        about=Words(
            "Từ thời điểm của vị trí chứng minh vi phạm đến khi kênh nhận cảnh báo.",
            "From the fix that proves a violation until a channel has taken the alert.",
        ),
        empty=Words("Chưa gửi cảnh báo nào", "No alert was sent"),
        unit="s",
        width=8,
        height=8,
    )
    board.add(
        lines(0),
        *_quantiles("hanhtrinh_worker_batch_seconds"),
        title=Words("Một lượt của bộ xử lý", "One batch of a worker"),
        about=Words(
            "Từ khi lấy bản tin khỏi log đến khi lưu. Trên một giây kéo dài: cơ sở dữ liệu chậm.",
            "From taken out of the log to committed. Above a second for long: the database is slow.",
        ),
        empty=_NO_PROCESS,
        unit="s",
        width=8,
        height=8,
    )


def _trouble(board: Board) -> None:
    board.heading(Words("Điều không nên có", "What should not be"))
    board.add(
        bars_over_time(),
        Prom(f"sum by (reason) (increase(hanhtrinh_worker_dead_letters_total{_OVER})) > 0", "{{reason}}"),
        title=DEAD_LETTERS,
        about=Words(
            "Bản tin không dùng được vẫn được giữ nguyên cùng lý do: `hanhtrinh dead list`.",
            "What cannot be used is kept with its bytes and the reason: `hanhtrinh dead list`.",
        ),
        empty=Words("Mọi bản tin đều dùng được", "Every message could be used"),
        unit="short",
        decimals=0,
        width=12,
        height=8,
    )
    board.add(
        bars_over_time(),
        Prom(f"sum(increase(hanhtrinh_bridge_reconnects_total{_OVER})) > 0", Words("kết nối lại", "new connections")),
        Prom(
            f"sum by (reason) (increase(hanhtrinh_bridge_refused_total{_OVER})) > 0",
            Words("từ chối: {{reason}}", "refused: {{reason}}"),
        ),
        title=RECONNECTS,
        about=Words(
            "Kết nối lại với máy chủ MQTT sau khi mất kết nối, và bản tin bị từ chối vì quá lớn.",
            "Connections to the broker after a lost one, and messages refused because they are too large.",
        ),
        empty=Words("Kết nối không bị ngắt, không bản tin nào bị từ chối", "No connection was lost, nothing refused"),
        unit="short",
        decimals=0,
        width=12,
        height=8,
    )
    board.add(
        lines(),
        Prom("max(hanhtrinh_maintenance_rejudge_marks)", Words("xe đang chờ", "waiting")),
        Prom(f"sum(increase(hanhtrinh_worker_rejudged_vehicles_total{_OVER}))", Words("xe đã xét lại", "judged again")),
        title=REJUDGED,
        about=Words(
            "Bản tin đến muộn hoặc danh mục thay đổi làm quá khứ của một xe phải xét lại.",
            "Late messages, or a change of the registry, have a vehicle's past judged again.",
        ),
        empty=_NO_PROCESS,
        unit="short",
        decimals=0,
        width=8,
        height=8,
    )
    board.add(
        lines(0),
        *_quantiles("hanhtrinh_worker_rejudge_seconds"),
        title=Words("Một lượt xét lại", "One round of judging again"),
        about=Words(
            "Thời gian xét lại một nhóm xe, bên cạnh việc xử lý bản tin mới.",
            "How long a round of vehicles takes, beside the live work.",
        ),
        empty=Words("Không có gì phải xét lại", "Nothing was judged again"),
        unit="s",
        width=8,
        height=8,
    )
    board.add(
        lines(0),
        *_quantiles("hanhtrinh_worker_loop_stall_seconds"),
        title=STALLS,
        about=Words(
            "Vòng lặp sự kiện quay lại muộn bao lâu. Thường xuyên trên 0,1 giây: giảm HANHTRINH_BATCH_MAX_MESSAGES.",
            "How late an event loop comes back to its tasks. Above 0.1 s often: lower HANHTRINH_BATCH_MAX_MESSAGES.",
        ),
        empty=_NO_PROCESS,
        unit="s",
        width=8,
        height=8,
    )


def _alerts(board: Board) -> None:
    board.heading(Words("Cảnh báo vi phạm", "Alerts of violations"))
    board.add(
        lines(),
        Prom("sum(hanhtrinh_notifier_waiting)", Words("chờ gửi", "waiting")),
        title=Words("Cảnh báo chờ gửi", "Alerts that wait"),
        about=Words(
            "Số lần gửi còn chờ, theo mọi kênh; tính cả cảnh báo chờ hết giờ yên tĩnh.",
            "Deliveries not yet made, over all channels; those that wait for the end of quiet hours among them.",
        ),
        empty=_NO_PROCESS,
        unit="short",
        decimals=0,
        width=12,
        height=8,
    )
    board.add(
        bars_over_time(),
        Prom(
            f"sum by (channel) (increase(hanhtrinh_notifier_sent_total{_OVER})) > 0",
            Words("đã gửi: {{channel}}", "sent: {{channel}}"),
        ),
        Prom(
            f"sum by (channel) (increase(hanhtrinh_notifier_failed_total{_OVER})) > 0",
            Words("lỗi, sẽ thử lại: {{channel}}", "failed, to be tried again: {{channel}}"),
        ),
        Prom(
            f"sum by (channel) (increase(hanhtrinh_notifier_gave_up_total{_OVER})) > 0",
            Words("đã bỏ: {{channel}}", "given up: {{channel}}"),
        ),
        Prom(f"sum(increase(hanhtrinh_notifier_recorded_total{_OVER})) > 0", Words("chỉ ghi lại", "recorded only")),
        title=DELIVERIES,
        about=Words(
            "Kết quả mỗi lần gửi. Tin cũ chỉ được ghi lại, không gửi. `Đã bỏ` phải không có.",
            "What became of each delivery. Old news is recorded and not sent. Nothing should be given up.",
        ),
        empty=Words("Không có cảnh báo nào phải gửi", "There was no alert to send"),
        unit="short",
        decimals=0,
        width=12,
        height=8,
    )


def _machine(board: Board) -> None:
    board.heading(Words("Bảo trì và dung lượng", "Maintenance and size"))
    board.add(
        lines(),
        Prom("max(hanhtrinh_maintenance_database_bytes)", Words("dung lượng", "size")),
        title=Words("Dung lượng cơ sở dữ liệu theo thời gian", "Size of the database over time"),
        about=Words(
            "Chỗ trống còn lại trên đĩa không có ở đây: hãy theo dõi trên máy chủ đó.",
            "The space left on the disk is not known here: watch it on that machine.",
        ),
        empty=_NO_PROCESS,
        unit="bytes",
        width=8,
        height=8,
    )
    board.add(
        lines(0),
        *_quantiles("hanhtrinh_maintenance_turn_seconds", "10m"),
        title=Words("Một lượt cập nhật số liệu", "One turn of keeping sums"),
        about=Words(
            "Trên một phút kéo dài: cơ sở dữ liệu chậm.",
            "Longer than a minute for long: the database is slow.",
        ),
        empty=_NO_PROCESS,
        unit="s",
        width=8,
        height=8,
    )
    board.add(
        bars_over_time(),
        Prom(
            "sum(increase(hanhtrinh_maintenance_counted_hours_total[10m]))", Words("giờ xe tính lại", "counted again")
        ),
        Prom(
            "sum by (table) (increase(hanhtrinh_maintenance_dropped_total[10m])) > 0",
            Words("đã xóa: {{table}}", "dropped: {{table}}"),
        ),
        title=Words("Số liệu tính lại và dữ liệu xóa", "Sums counted again, old rows dropped"),
        about=Words(
            "Trong 10 phút: số giờ của các xe được tính lại; và dữ liệu hết hạn lưu giữ đã xóa.",
            "Within 10 minutes: hours of vehicles that were counted again; and rows whose time to be kept was over.",
        ),
        empty=_NO_PROCESS,
        unit="short",
        decimals=0,
        width=8,
        height=8,
    )


def _quantiles(histogram: str, over: str = "$__rate_interval") -> tuple[Prom, Prom]:
    rates = f"sum by (le) (rate({histogram}_bucket[{over}]))"
    return (
        Prom(f"histogram_quantile(0.5, {rates})", Words("một nửa nhanh hơn", "half are faster than")),
        Prom(f"histogram_quantile(0.99, {rates})", Words("99 % nhanh hơn", "99 % are faster than")),
    )


def _steps(warn: float, alarm: float) -> Steps:
    return ((None, "green"), (warn, "orange"), (alarm, "red"))


_NO_PROCESS = Words("Prometheus không thấy tiến trình nào", "Prometheus sees no process")

_PROCESSES: Mapping[str, Column] = {
    "bridge": Column(Words("Cầu nối", "Bridge")),
    "worker": Column(Words("Bộ xử lý", "Worker")),
    "notifier": Column(Words("Bộ gửi cảnh báo", "Notifier")),
    "maintenance": Column(Words("Bộ bảo trì", "Maintenance")),
}

_SEVERITIES: Mapping[str, Value] = {
    "critical": Value(Words("Nghiêm trọng", "Critical"), "red"),
    "warning": Value(Words("Cần chú ý", "Warning"), "orange"),
}
