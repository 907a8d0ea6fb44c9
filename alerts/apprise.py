"""Alerts as letters to people: mail, Telegram, Slack and whatever else Apprise has an address form for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import apprise

from alerts.alert import Alert
from alerts.channel import DeliveryError
from alerts.digest import digest
from alerts.message import Letter, Wording

TO_OPERATOR = "operator"
"""In place of an address: that of the alert's operator."""

_TYPES = {"warning": apprise.NotifyType.WARNING, "opened": apprise.NotifyType.FAILURE}
_MAX_REASON_CHARS = 300
_LETTERS_AT_ONCE = 8


class AppriseChannel:
    """Sends each alert, or a summary of many, to one Apprise address, or to that of each alert's operator."""

    def __init__(self, name: str, url: str, wording: Wording) -> None:
        """`url` is an Apprise address, or TO_OPERATOR."""
        self.name = name
        self._url = url
        self._wording = wording
        # Of its own: Apprise has one small pool for all, which letters to a service that hangs would fill.
        self._threads = ThreadPoolExecutor(_LETTERS_AT_ONCE, thread_name_prefix=f"letters-{name}")

    def recipient(self, alert: Alert) -> str:
        """The address that an alert goes to; "" when its operator has none any more."""
        return (alert.operator_url or "") if self._url == TO_OPERATOR else self._url

    async def send(self, alert: Alert) -> None:
        """Returns when the service has taken the letter."""
        await self._post(self.recipient(alert), self._wording.letter(alert), _type_of([alert]))

    async def send_together(self, alerts: Sequence[Alert]) -> None:
        """One letter about alerts of one recipient, in the order given."""
        letter = self._wording.letter(alerts[0]) if len(alerts) == 1 else digest(alerts, self._wording)
        await self._post(self.recipient(alerts[0]), letter, _type_of(alerts))

    async def close(self) -> None:
        """Nothing is kept open but idle threads."""

    async def _post(self, url: str, letter: Letter, kind: apprise.NotifyType) -> None:
        # No limit on the time: with one, Apprise sends from its own pool. The notifier has one.
        service = apprise.Apprise(asset=apprise.AppriseAsset(service_timeout=0))
        if not url or not service.add(url):
            raise DeliveryError("no Apprise address, or none that Apprise understands", permanent=True)
        result = await asyncio.get_running_loop().run_in_executor(self._threads, _sent, service, letter, kind)
        if not result:
            said = "; ".join(entry.message for each in result.results for entry in each.logs())
            raise DeliveryError(f"{scheme_of(url)}: {said[:_MAX_REASON_CHARS] or 'not taken'}")


def _sent(service: apprise.Apprise, letter: Letter, kind: apprise.NotifyType) -> apprise.AppriseResult:
    return service.notify(
        body=letter.text,
        title=letter.title,
        notify_type=kind,
        body_format=apprise.NotifyFormat.TEXT,
        log_level=logging.WARNING,
    )


def is_address(url: str) -> bool:
    """Whether Apprise knows what to do with an address."""
    return bool(apprise.Apprise().add(url))


def scheme_of(url: str) -> str:
    """The kind of service, which unlike the rest of an address holds no secret."""
    return url.partition("://")[0]


def _type_of(alerts: Sequence[Alert]) -> apprise.NotifyType:
    stages = {alert.stage for alert in alerts}
    return next((kind for stage, kind in reversed(_TYPES.items()) if stage in stages), apprise.NotifyType.INFO)
