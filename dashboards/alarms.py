"""When the pipeline itself needs somebody: one list, from which the rules of Prometheus and of Grafana are written.

An alert in this house is news of a violation; what calls for the people who run the system is an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dashboards import pipeline
from dashboards.words import Words


@dataclass(frozen=True)
class Alarm:
    """Rings while a series of `expression` (PromQL) has been above `above` for `for_s` seconds."""

    name: str
    title: Words
    expression: str
    above: float
    for_s: int
    severity: Literal["critical", "warning"]
    summary: Words
    """What it means for the people, in one sentence; may hold {{ $labels.<name> }}."""
    section: str
    """The section of docs/when-things-fail.md that says what to do."""
    panel: Words
    """The title of the panel of the dashboard Pipeline that shows it."""


def _down(process: str, title: Words, summary: Words, section: str) -> Alarm:
    return Alarm(
        f"Hanhtrinh{process.capitalize()}Down",
        title,
        f'absent(hanhtrinh_healthy{{process="{process}"}})',
        above=0,
        for_s=120,
        severity="critical",
        summary=summary,
        section=section,
        panel=pipeline.PROCESSES,
    )


ALARMS: tuple[Alarm, ...] = (
    _down(
        "bridge",
        Words("Cầu nối không chạy", "No bridge runs"),
        Words(
            "Không có `hanhtrinh bridge` nào chạy: bản tin nằm chờ ở máy chủ MQTT.",
            "No `hanhtrinh bridge` runs: messages wait in the MQTT broker.",
        ),
        "The bridge is killed",
    ),
    _down(
        "worker",
        Words("Bộ xử lý không chạy", "No worker runs"),
        Words(
            "Không có `hanhtrinh work` nào chạy: bản tin nằm chờ trong log, không phát hiện vi phạm.",
            "No `hanhtrinh work` runs: messages wait in the log and no violation is found.",
        ),
        "A worker is killed, or out of memory",
    ),
    _down(
        "notifier",
        Words("Bộ gửi cảnh báo không chạy", "No notifier runs"),
        Words(
            "Không có `hanhtrinh notify` nào chạy: không ai nhận được cảnh báo vi phạm.",
            "No `hanhtrinh notify` runs: nobody is told of violations.",
        ),
        "The notifier is down",
    ),
    _down(
        "maintenance",
        Words("Bộ bảo trì không chạy", "No maintenance runs"),
        Words(
            "Không có `hanhtrinh maintain` nào chạy: số liệu theo giờ và ngày không được cập nhật.",
            "No `hanhtrinh maintain` runs: sums per hour and day are not kept up.",
        ),
        "Maintenance does not run",
    ),
    Alarm(
        "HanhtrinhWorkersMissing",
        Words("Thiếu bộ xử lý", "Workers are missing"),
        'max_over_time(count(hanhtrinh_healthy{process="worker"})[1h:1m]) - count(hanhtrinh_healthy{process="worker"})',
        above=0,
        for_s=300,
        severity="warning",
        summary=Words(
            "Số bộ xử lý đang chạy ít hơn trong một giờ qua; các bộ còn lại làm thay.",
            "Fewer workers run than within the last hour; the others do their work.",
        ),
        section="A worker is killed, or out of memory",
        panel=pipeline.PROCESSES,
    ),
    Alarm(
        "HanhtrinhBridgeCutOff",
        Words("Cầu nối mất kết nối", "The bridge is cut off"),
        'max(1 - hanhtrinh_healthy{process="bridge"})',
        above=0,
        for_s=120,
        severity="critical",
        summary=Words(
            "Cầu nối không tới được máy chủ MQTT hoặc Kafka (xem /healthz): thiết bị phải giữ bản tin lại.",
            "The bridge cannot reach the MQTT broker, or Kafka (its /healthz says which): trackers must keep their"
            " messages.",
        ),
        section="Kafka is down",
        panel=pipeline.PROCESSES,
    ),
    Alarm(
        "HanhtrinhBridgeReconnects",
        Words("Cầu nối kết nối lại liên tục", "The bridge reconnects again and again"),
        "sum(increase(hanhtrinh_bridge_reconnects_total[15m]))",
        above=5,
        for_s=0,
        severity="warning",
        summary=Words(
            "Hơn 5 lần kết nối lại trong 15 phút: mạng chập chờn, hoặc hai cầu nối dùng chung một mã.",
            "More than 5 new connections in 15 minutes: a bad line, or two bridges under one client id.",
        ),
        section="The MQTT broker is down",
        panel=pipeline.RECONNECTS,
    ),
    Alarm(
        "HanhtrinhNothingArrives",
        Words("Không có bản tin nào đến", "Nothing arrives"),
        "sum(increase(hanhtrinh_bridge_received_total[10m])) == bool 0",
        above=0,
        for_s=300,
        severity="critical",
        summary=Words(
            "Cầu nối đang chạy mà 10 phút qua không nhận được bản tin nào của bất kỳ xe nào.",
            "The bridge runs, and for 10 minutes no message of any vehicle has come.",
        ),
        section="All trackers are silent",
        panel=pipeline.MESSAGES,
    ),
    Alarm(
        "HanhtrinhMessagesRefused",
        Words("Có bản tin bị từ chối", "Messages are refused"),
        "sum by (reason) (increase(hanhtrinh_bridge_refused_total[15m]))",
        above=0,
        for_s=0,
        severity="warning",
        summary=Words(
            "Cầu nối từ chối bản tin quá lớn; dòng log của nó nêu tên chủ đề.",
            "The bridge refuses messages that are too large; its log line names the topic.",
        ),
        section="A message that cannot be used",
        panel=pipeline.RECONNECTS,
    ),
    Alarm(
        "HanhtrinhDatabaseAway",
        Words("Không dùng được cơ sở dữ liệu", "The database is away"),
        'max by (process) (1 - hanhtrinh_healthy{process=~"worker|notifier|maintenance"})'
        " unless on () (max(hanhtrinh_worker_stopped_partitions) > 0)",
        above=0,
        for_s=60,
        severity="critical",
        summary=Words(
            "Tiến trình {{ $labels.process }} không ghi được vào cơ sở dữ liệu; bản tin nằm chờ trong log.",
            "The {{ $labels.process }} process cannot use the database; messages wait in the log.",
        ),
        section="The database is down",
        panel=pipeline.PROCESSES,
    ),
    Alarm(
        "HanhtrinhPartitionStopped",
        Words("Một phần của log bị dừng", "A partition is stopped"),
        "max(hanhtrinh_worker_stopped_partitions)",
        above=0,
        for_s=60,
        severity="critical",
        summary=Words(
            "Vị trí đã lưu nằm ngoài log: các xe của phần đó không được xử lý cho tới khi có người quyết định.",
            "A stored position lies outside the log: the vehicles of that partition are not judged until somebody"
            " decides.",
        ),
        section="The log was trimmed past the position",
        panel=pipeline.STOPPED,
    ),
    Alarm(
        "HanhtrinhWorkerStands",
        Words("Bộ xử lý đứng yên", "A worker stands still"),
        "max(hanhtrinh_worker_lag_seconds)",
        above=120,
        for_s=120,
        severity="critical",
        summary=Words(
            "Có bản tin chờ mà hơn 2 phút không lưu được gì.",
            "Messages wait, and nothing has been stored for more than 2 minutes.",
        ),
        section="The workers fall behind",
        panel=pipeline.LAG_SECONDS,
    ),
    Alarm(
        "HanhtrinhFallsBehind",
        Words("Xử lý không kịp", "The workers fall behind"),
        "sum(hanhtrinh_worker_lag_messages) / clamp_min(sum(rate(hanhtrinh_bridge_appended_total[10m])), 1)",
        above=300,
        for_s=600,
        severity="warning",
        summary=Words(
            "Số bản tin chờ nhiều hơn lượng đến trong 5 phút: cảnh báo sẽ đến muộn.",
            "More messages wait than come in 5 minutes: alerts will be late.",
        ),
        section="The workers fall behind",
        panel=pipeline.LAG,
    ),
    Alarm(
        "HanhtrinhLoopStalls",
        Words("Bộ xử lý bị nghẽn", "A worker's event loop stalls"),
        "histogram_quantile(0.99, sum by (le) (rate(hanhtrinh_worker_loop_stall_seconds_bucket[10m])))",
        above=0.25,
        for_s=600,
        severity="warning",
        summary=Words(
            "Vòng lặp của bộ xử lý nghẽn hơn 0,25 giây: nhịp báo sống với Kafka có thể bị trễ.",
            "The event loop of a worker stalls for more than 0.25 s: its heartbeats to Kafka may come late.",
        ),
        section="The workers fall behind",
        panel=pipeline.STALLS,
    ),
    Alarm(
        "HanhtrinhDeadLetters",
        Words("Nhiều bản tin không dùng được", "Many messages cannot be used"),
        "sum(rate(hanhtrinh_worker_dead_letters_total[15m])) / sum(rate(hanhtrinh_worker_messages_total[15m]))",
        above=0.01,
        for_s=900,
        severity="warning",
        summary=Words(
            "Hơn 1 % bản tin không dùng được; bản gốc vẫn được giữ.",
            "More than 1 % of the messages cannot be used; their bytes are kept.",
        ),
        section="A message that cannot be used",
        panel=pipeline.DEAD_LETTERS,
    ),
    Alarm(
        "HanhtrinhRejudgeWaits",
        Words("Xe chờ xét lại quá lâu", "Vehicles wait to be judged again"),
        "max(hanhtrinh_maintenance_oldest_rejudge_mark_seconds)",
        above=900,
        for_s=300,
        severity="warning",
        summary=Words(
            "Có xe chờ xét lại hơn 15 phút sau khi bản tin đến muộn.",
            "A vehicle has waited for more than 15 minutes to be judged again after late messages.",
        ),
        section="The workers fall behind",
        panel=pipeline.REJUDGED,
    ),
    Alarm(
        "HanhtrinhOutboxOld",
        Words("Cảnh báo chưa gửi được", "Alerts do not leave"),
        "max(hanhtrinh_notifier_oldest_seconds)",
        above=300,
        for_s=300,
        severity="critical",
        summary=Words(
            "Có cảnh báo vi phạm chờ gửi hơn 5 phút: một kênh không nhận.",
            "An alert of a violation has waited for more than 5 minutes: a channel does not take it.",
        ),
        section="A webhook, or another channel, is down",
        panel=pipeline.OUTBOX,
    ),
    Alarm(
        "HanhtrinhAlertsGivenUp",
        Words("Cảnh báo bị bỏ", "Alerts are given up"),
        "sum by (channel) (increase(hanhtrinh_notifier_gave_up_total[15m]))",
        above=0,
        for_s=0,
        severity="critical",
        summary=Words(
            "Kênh {{ $labels.channel }} không nhận cảnh báo sau mọi lần thử.",
            "Channel {{ $labels.channel }} did not take alerts after all tries.",
        ),
        section="A webhook, or another channel, is down",
        panel=pipeline.DELIVERIES,
    ),
    Alarm(
        "HanhtrinhMaintenanceStands",
        Words("Số liệu không được cập nhật", "The sums stand still"),
        "time() - max(hanhtrinh_maintenance_last_turn_timestamp_seconds)",
        above=900,
        for_s=300,
        severity="warning",
        summary=Words(
            "Hơn 15 phút số liệu theo giờ và ngày không được cập nhật: báo cáo và bảng theo dõi sẽ cũ.",
            "Sums per hour and day have not been kept up for more than 15 minutes: reports and panels are old.",
        ),
        section="Maintenance does not run",
        panel=pipeline.TURN_AGE,
    ),
)
