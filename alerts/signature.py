"""Signatures of webhook requests: HMAC-SHA256 over the time of sending and the body.

The time is signed with the body, so that a captured request cannot be played again later. This file needs only the
standard library: a receiver written in Python may copy it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time

SIGNATURE_HEADER = "X-Hanhtrinh-Signature"
TIMESTAMP_HEADER = "X-Hanhtrinh-Timestamp"
TOLERANCE_S = 300

_PREFIX = "sha256="
# Neither int() nor isdigit() alone will do: both take digits of other scripts, int() underscores and blanks as well.
_SECONDS = re.compile(r"[0-9]{1,15}", re.ASCII)


class SignatureError(Exception):
    """The request does not prove that it comes from the holder of the secret, or it is too old; do not use its body."""


def sign(secret: bytes, timestamp_s: int, body: bytes) -> str:
    """The value of X-Hanhtrinh-Signature for a body sent at `timestamp_s` (Unix seconds)."""
    digest = hmac.new(secret, str(timestamp_s).encode() + b"." + body, hashlib.sha256).hexdigest()
    return _PREFIX + digest


def verify(
    secret: bytes,
    timestamp: str | None,
    signature: str | None,
    body: bytes,
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> None:
    """Return when the two headers and the raw body belong together and are recent; SignatureError otherwise.

    `body` is the bytes as received, before any JSON parsing. None stands for a missing header. `tolerance_s` is how
    far the sender's clock and ours may be apart, in both directions; `now_s` (Unix seconds) defaults to the clock.
    """
    if not timestamp or not signature:
        raise SignatureError(f"headers {TIMESTAMP_HEADER} and {SIGNATURE_HEADER} are both needed")
    if not _SECONDS.fullmatch(timestamp):
        raise SignatureError(f"{TIMESTAMP_HEADER} must be Unix seconds, got {timestamp!r}")
    timestamp_s = int(timestamp)
    expected = sign(secret, timestamp_s, body)
    # As bytes: compare_digest refuses text with characters outside ASCII.
    if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
        raise SignatureError(f"{SIGNATURE_HEADER} does not belong to this body, timestamp and secret")
    age_s = (time.time() if now_s is None else now_s) - timestamp_s
    if abs(age_s) > tolerance_s:
        raise SignatureError(f"signed {age_s:.0f} s ago, more than {tolerance_s:.0f} s away from this clock")
