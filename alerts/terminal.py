"""Alerts on the screen of whoever runs the notifier."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from alerts.alert import Alert
from alerts.message import describe

_STYLES = {"warning": "yellow", "opened": "bold red", "closed": "green"}


class TerminalChannel:
    """Prints one line per alert, as `alerts.message` words it."""

    def __init__(self, console: Console, name: str = "terminal") -> None:
        self._console = console
        self.name = name

    async def send(self, alert: Alert) -> None:
        """Always delivered. Text, not markup: a vehicle may be called [red]."""
        self._console.print(Text(describe(alert), style=_STYLES.get(alert.stage, "")), soft_wrap=True)

    async def close(self) -> None:
        """Nothing to let go of."""
