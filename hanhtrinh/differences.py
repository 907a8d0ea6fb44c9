"""What judging again would change, told as an office reads it: added, withdrawn, corrected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from hanhtrinh.listing import Column, print_rows
from storage.violation_rows import Row, plain
from storage.violations import Change

_CHANGES = ("added", "withdrawn", "corrected")


class Difference(NamedTuple):
    """One violation: `before` is absent of an added one, `after` of a withdrawn one."""

    change: Literal["added", "withdrawn", "corrected"]
    before: Row | None
    after: Row | None

    @property
    def row(self) -> Row:
        """As it is after, or was before."""
        row = self.after or self.before
        assert row is not None
        return row

    def to_wire(self) -> dict[str, Any]:
        """For a machine."""
        wire: dict[str, Any] = {"change": self.change}
        wire.update(
            {name: self.row[name] for name in ("violation_id", "kind", "vehicle_id", "driver_id", "operator_id")}
        )
        wire.update({name: plain(row) for name, row in (("before", self.before), ("after", self.after)) if row})
        return wire


def differences_of(changes: Iterable[Change]) -> list[Difference]:
    """The outcome of these steps by kind, vehicle and start.

    A violation that takes the place of a withdrawn one is a correction of it. Steps of one violation may repeat: it is
    found by every stretch that its driver's line goes through.
    """
    last = {
        str((each.after or each.before or {})["violation_id"]): each for each in changes if "excuse" not in each.change
    }
    gone = {name: each.before for name, each in last.items() if each.change == "withdrawn"}
    found: list[Difference] = []
    for each in last.values():
        if each.change == "withdrawn":
            continue
        assert each.after is not None
        old = [gone.pop(name) for name in each.after["supersedes"] if name in gone]
        if each.change in ("opened", "restored"):
            found.append(Difference("corrected" if old else "added", old[0] if old else None, each.after))
            found += [Difference("withdrawn", row, None) for row in old[1:]]
        else:
            found.append(Difference("corrected", each.before, each.after))
    found += [Difference("withdrawn", row, None) for row in gone.values()]
    return sorted(found, key=lambda each: (each.row["kind"], each.row["vehicle_id"] or "", each.row["started_at"]))


def print_differences(differences: Sequence[Difference]) -> None:
    """Counts by kind and operator."""
    counts: Counter[tuple[str, str, str]] = Counter(
        (each.row["kind"], each.row["operator_id"] or "none", each.change) for each in differences
    )
    columns = [Column("violation"), Column("operator")]
    columns += [Column(change, number=True) for change in _CHANGES]
    rows = [
        (kind, operator, *(f"{counts[kind, operator, change]:,}" for change in _CHANGES))
        for kind, operator in sorted({key[:2] for key in counts})
    ]
    print_rows(columns, rows)
