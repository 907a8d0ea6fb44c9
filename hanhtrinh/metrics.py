"""What the processes count, and the address at which Prometheus and a health check ask for it.

Nothing is labelled by vehicle or driver: ten thousand series would take a fifth of a second to print, with every
other thread waiting. Each method is called once per batch (or per alert), never per fix.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

Health = Callable[[], str | None]
"""None while all is well, else the reason why the process cannot do its work."""

_BATCH_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STALL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
# From "at once" to a tracker's backlog of hours.
_DELAY_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
_SIZES = (1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class MetricsAddressError(Exception):
    """Nothing can listen at the address of the settings; the message names the setting and what was expected."""


class BridgeMetrics:
    """From MQTT into the log."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"hanhtrinh_bridge_{name}", text, labels, registry=registry)

        self._received = counter("received", "Messages received over MQTT.")
        self._appended = counter("appended", "Messages that the log has; acknowledged to the broker after that.")
        self._refused = counter("refused", "Messages refused at the door, by reason.", "reason")
        self._reconnected = counter("reconnects", "New connections to the broker after a lost one.")
        # A series that is born with its first count has not risen: Prometheus would miss that one.
        self.refused("too_large", 0)

    def received(self, n: int) -> None:
        self._received.inc(n)

    def appended(self, n: int) -> None:
        self._appended.inc(n)

    def refused(self, reason: str, n: int) -> None:
        self._refused.labels(reason).inc(n)

    def reconnected(self) -> None:
        self._reconnected.inc()


class WorkerMetrics:
    """From the log into the database."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"hanhtrinh_worker_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"hanhtrinh_worker_{name}", text, buckets=buckets, registry=registry)

        self._messages = counter("messages", "Messages taken from the log and committed.")
        self._fixes = counter("fixes", "New fixes stored.")
        self._late = counter("late_fixes", "Fixes older than the vehicle's newest one.")
        self._duplicates = counter("duplicate_fixes", "Fixes that were stored already.")
        self._dead_letters = counter("dead_letters", "Messages or parts of them that could not be used.", "reason")
        self._violations = counter("violations", "Violations by kind and stage.", "kind", "stage")
        self._rejudged = counter("rejudged_vehicles", "Vehicles whose past was judged again after late fixes.")
        self._batch_s = histogram("batch_seconds", "From fetched to committed.", _BATCH_S)
        self._batch_messages = histogram("batch_messages", "Messages in one transaction.", _SIZES)
        self._rejudge_s = histogram("rejudge_seconds", "Judging one round of late fixes again.", _BATCH_S)
        self._event_to_store = histogram("event_to_store_seconds", "From the fix's own time to its commit.", _DELAY_S)
        self._stall_s = histogram("loop_stall_seconds", "How late the event loop comes back to its tasks.", _STALL_S)
        self._lag = Gauge("hanhtrinh_worker_lag_messages", "Messages in the log not yet taken.", registry=registry)
        self._lag_s = Gauge("hanhtrinh_worker_lag_seconds", "Age of the oldest such message.", registry=registry)
        self._stopped = Gauge(
            "hanhtrinh_worker_stopped_partitions", "Partitions whose position lies outside the log.", registry=registry
        )
        self._last_commit = Gauge("hanhtrinh_worker_last_commit_timestamp_seconds", "Last commit.", registry=registry)

    def batch(self, messages: int, fixes: int, late: int, duplicates: int, seconds: float) -> None:
        """One committed batch; `fixes` counts the new rows."""
        self._messages.inc(messages)
        self._fixes.inc(fixes)
        self._late.inc(late)
        self._duplicates.inc(duplicates)
        self._batch_s.observe(seconds)
        self._batch_messages.observe(messages)
        self._last_commit.set_to_current_time()

    def dead_letters(self, by_reason: Mapping[str, int]) -> None:
        for reason, n in by_reason.items():
            self._dead_letters.labels(reason).inc(n)

    def violations(self, by_kind_and_stage: Mapping[tuple[str, str], int]) -> None:
        for (kind, stage), n in by_kind_and_stage.items():
            self._violations.labels(kind, stage).inc(n)

    def stalled(self, seconds: float) -> None:
        self._stall_s.observe(seconds)

    def lag(self, messages: int, seconds: float) -> None:
        self._lag.set(messages)
        self._lag_s.set(seconds)

    def stopped_partitions(self, n: int) -> None:
        self._stopped.set(n)

    def event_to_store(self, seconds: Iterable[float]) -> None:
        """The delays of a batch; a sample of them is enough when there are thousands."""
        for delay_s in seconds:
            self._event_to_store.observe(delay_s)

    def rejudged(self, vehicles: int, seconds: float) -> None:
        self._rejudged.inc(vehicles)
        self._rejudge_s.observe(seconds)


class NotifierMetrics:
    """From the outbox to people."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"hanhtrinh_notifier_{name}", text, labels, registry=registry)

        self._sent = counter("sent", "Alerts delivered, by channel.", "channel")
        self._failed = counter("failed", "Tries that failed, by channel.", "channel")
        self._gave_up = counter("gave_up", "Alerts given up after all tries, by channel.", "channel")
        self._recorded = counter("recorded", "Alerts kept without sending: old news, or told before.")
        self._waiting = Gauge("hanhtrinh_notifier_waiting", "Deliveries not yet made.", registry=registry)
        self._oldest_s = Gauge("hanhtrinh_notifier_oldest_seconds", "Age of the oldest of them.", registry=registry)
        self._event_to_alert = Histogram(
            "hanhtrinh_notifier_event_to_alert_seconds",
            "From the time of the fix that proved it to the delivery.",
            buckets=_DELAY_S,
            registry=registry,
        )

    def begin(self, channels: Iterable[str]) -> None:
        """Count from 0 for each of the channels, so that the first that happens is seen as a rise."""
        for channel in channels:
            for counter in (self._sent, self._failed, self._gave_up):
                counter.labels(channel)

    def sent(self, channel: str, n: int) -> None:
        self._sent.labels(channel).inc(n)

    def failed(self, channel: str, n: int) -> None:
        self._failed.labels(channel).inc(n)

    def gave_up(self, channel: str, n: int) -> None:
        self._gave_up.labels(channel).inc(n)

    def recorded(self, n: int) -> None:
        self._recorded.inc(n)

    def waiting(self, n: int, oldest_s: float) -> None:
        self._waiting.set(n)
        self._oldest_s.set(oldest_s)

    def event_to_alert(self, seconds: float) -> None:
        self._event_to_alert.observe(seconds)


class MaintenanceMetrics:
    """Sums kept fresh, old rows dropped."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"hanhtrinh_maintenance_{name}", text, registry=registry)

        self._hours = Counter(
            "hanhtrinh_maintenance_counted_hours", "Hours of vehicles whose sums were counted again.", registry=registry
        )
        self._dropped = Counter(
            "hanhtrinh_maintenance_dropped", "Rows or partitions dropped, by table.", ["table"], registry=registry
        )
        self._turn_s = Histogram("hanhtrinh_maintenance_turn_seconds", "One turn.", buckets=_DELAY_S, registry=registry)
        self._published = Counter(
            "hanhtrinh_maintenance_published_drivers", "Drivers whose present hours were published.", registry=registry
        )
        self._published_s = Histogram(
            "hanhtrinh_maintenance_publish_seconds", "Publishing them, one turn.", buckets=_DELAY_S, registry=registry
        )
        self._waiting = gauge("open_hours", "Hours of vehicles that may still grow.")
        self._last_turn = gauge("last_turn_timestamp_seconds", "When the last turn ended.")
        self._database = gauge("database_bytes", "Size of the database on its server's disk.")
        self._marked = gauge("rejudge_marks", "Vehicles that wait to be judged again.")
        self._oldest_mark_s = gauge("oldest_rejudge_mark_seconds", "For how long the first of them waits.")

    def turn(self, hours: int, waiting: int, seconds: float) -> None:
        self._hours.inc(hours)
        self._waiting.set(waiting)
        self._turn_s.observe(seconds)
        self._last_turn.set_to_current_time()

    def published(self, drivers: int, seconds: float) -> None:
        self._published.inc(drivers)
        self._published_s.observe(seconds)

    def state(self, database_bytes: int, marks: int, oldest_mark_s: float) -> None:
        """What the database says of itself after a turn."""
        self._database.set(database_bytes)
        self._marked.set(marks)
        self._oldest_mark_s.set(oldest_mark_s)

    def dropped(self, by_table: Mapping[str, int]) -> None:
        for table, n in by_table.items():
            self._dropped.labels(table).inc(n)


class MetricsServer:
    """Serves /metrics, and /healthz (200 "ok", or 503 with the reason), on a thread of its own."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int, parts: Mapping[str, Health]) -> None:
        """Listens at once; port 0 picks a free one. MetricsAddressError when it cannot. `parts`: what works in this
        process ("bridge", "worker", "notifier", "maintenance"), each with its health."""
        healthy = Gauge("hanhtrinh_healthy", "1: does its work; 0: cannot now.", ["process"], registry=registry)
        for part, of_part in parts.items():
            healthy.labels(part).set_function(partial(_as_number, of_part))

        def health() -> str | None:
            return next((trouble for trouble in (of_part() for of_part in parts.values()) if trouble is not None), None)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                    self._answer(200, content_type, encode(registry))
                elif path == "/healthz":
                    reason = health()
                    self._answer(503 if reason else 200, "text/plain; charset=utf-8", (reason or "ok").encode())
                else:
                    self._answer(404, "text/plain; charset=utf-8", b"there is /metrics and /healthz")

            def _answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """A line per scrape would drown what matters."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        # UnicodeError: a name that cannot be one, such as a..b.
        except (OSError, UnicodeError) as error:
            raise MetricsAddressError(_refusal(host, port, error)) from error
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="metrics", daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _as_number(health: Health) -> float:
    return 0.0 if health() else 1.0


def _refusal(host: str, port: int, error: OSError | UnicodeError) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return (
                f"HANHTRINH_METRICS_PORT: port {port} on {host} is taken by another program;"
                " each process of one machine needs a port of its own (0 picks a free one)"
            )
        case errno.EACCES:
            return f"HANHTRINH_METRICS_PORT: this account may not listen on port {port}; expected a port from 1024 on"
    return f"HANHTRINH_METRICS_HOST: expected an IPv4 address or a name of this machine (given: {host!r}): {error}"
