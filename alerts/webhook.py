"""Alerts as signed HTTP requests."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from alerts.alert import Alert, encode
from alerts.channel import DeliveryError
from alerts.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

_GONE = 410
_MAX_ANSWER_CHARS = 200


class WebhookChannel:
    """POSTs each alert as JSON to `url`, signed with `secret` (alerts.signature); any 2xx answer is a delivery.

    Everything else is tried again, 4xx too: a wrong password, a missing route or a refused body is as a rule a
    receiver being deployed or repaired, and the number of tries is bounded anyway. The one exception is 410 Gone, by
    which a receiver says that it wants no more: given up at once. Redirects count as failures and are not followed,
    because they could carry the signed body to somebody else. Retry-After in seconds is honoured.
    """

    def __init__(
        self,
        url: str,
        secret: bytes,
        *,
        timeout_s: float = 8.0,
        clock_s: Callable[[], float] = time.time,
        name: str = "webhook",
    ) -> None:
        self.name = name
        self._url = url
        self._secret = secret
        self._clock_s = clock_s
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False)

    async def send(self, alert: Alert) -> None:
        """Signed anew at each try, so that a late repeat is not refused for its age."""
        body = encode(alert)
        timestamp_s = int(self._clock_s())
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": alert.alert_id,
            TIMESTAMP_HEADER: str(timestamp_s),
            SIGNATURE_HEADER: sign(self._secret, timestamp_s, body),
        }
        try:
            answer = await self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise DeliveryError(f"{type(error).__name__}: {error}") from error
        if not answer.is_success:
            raise DeliveryError(
                f"HTTP {answer.status_code}: {answer.text[:_MAX_ANSWER_CHARS]}".strip(),
                permanent=answer.status_code == _GONE,
                retry_after_s=_retry_after_s(answer),
            )

    async def close(self) -> None:
        """Close kept connections."""
        await self._client.aclose()


def _retry_after_s(answer: httpx.Response) -> float | None:
    # The header may also hold a date; that form is rare, and our own wait is a fair answer to it.
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
