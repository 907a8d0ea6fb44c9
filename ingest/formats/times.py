"""Times of many messages at once, where they are written as nearly all trackers write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Bool, Int

_SHAPE = np.frombuffer(b"0000-00-00T00:00:00.000Z", np.uint8)
_DIGITS = np.flatnonzero(ord("0") == _SHAPE)
_MARKS = np.flatnonzero(ord("0") != _SHAPE)
_DATE = 8
"""Digits of year, month and day."""
_MILLISECONDS_A_DAY = 86_400_000


def common_times_us(texts: Sequence[str]) -> tuple[Int, Bool] | None:
    """Microseconds since 1970 of times written like 2026-03-01T01:15:30.250Z, and which of them are times at all.

    None when one is written otherwise.
    """
    together = "".join(texts)
    if set(map(len, texts)) != {len(_SHAPE)} or not together.isascii():
        return None
    # Letter by letter: a column of a thousand is one step, a row of twenty-four is not.
    letters = np.frombuffer(together.encode(), np.uint8).reshape(-1, len(_SHAPE)).T.copy()
    digits = letters[_DIGITS] - np.uint8(ord("0"))
    if (digits > 9).any() or (letters[_MARKS] != _SHAPE[_MARKS, None]).any():
        return None
    year, month, day, hour, minute, second, millisecond = _numbers(digits, (4, 2, 2, 2, 2, 2, 3))
    if (digits[:_DATE] == digits[:_DATE, :1]).all():
        # One day is looked up once.
        year, month, day = year[:1], month[:1], day[:1]
    months = (year - 1970) * 12 + month - 1
    first_day = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    next_month = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    there = (month >= 1) & (month <= 12) & (day >= 1) & (day <= next_month - first_day)
    there = there & (hour <= 23) & (minute <= 59) & (second <= 59)
    in_day = ((hour * 60 + minute) * 60 + second) * 1_000 + millisecond
    time_us: Int = ((first_day + day - 1) * _MILLISECONDS_A_DAY + in_day) * 1_000
    return time_us, there


def _numbers(digits: NDArray[np.uint8], sizes: Sequence[int]) -> list[Int]:
    """The numbers that stand one after the other in the rows of digits, each of so many."""
    numbers, at = [], 0
    for size in sizes:
        number = digits[at].astype(np.int64)
        for digit in digits[at + 1 : at + size]:
            number *= 10
            number += digit
        numbers.append(number)
        at += size
    return numbers
