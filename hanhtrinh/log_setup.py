"""How log lines look: local time with its offset, level, module, then key=value text; always on stderr."""

from __future__ import annotations

import logging
from datetime import datetime
from zoneinfo import ZoneInfo

LOCAL_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
"""The zone of every time on a screen."""

# Libraries that report each reconnect of theirs; what they mean for us is logged by our own modules.
_CHATTY = ("aiokafka", "amqtt", "transitions", "httpx", "httpcore", "asyncio", "apprise")


class _LocalTime(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, LOCAL_ZONE).isoformat(timespec="milliseconds")


def configure_logging(level: str) -> None:
    """Send log lines of `level` (debug, info, warning, error) and above to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LocalTime("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING if level != "debug" else logging.DEBUG)
