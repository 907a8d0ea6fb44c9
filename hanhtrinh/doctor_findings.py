"""What a check of `hanhtrinh doctor` finds."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """The outcome of one check; `remedy` is empty when all is well."""

    check: str
    detail: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.remedy
