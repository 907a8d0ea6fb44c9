"""How Grafana would show a value: words, unit and colour by the panel's defaults and the overrides of its column."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.grafana import Json

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
INK = "#24292e"
FAINT = "#8e8e8e"

_SHADES = {
    "green": "#56a64b", "red": "#e02f44", "orange": "#ff780a", "yellow": "#e0b400", "blue": "#3274d9",
    "purple": "#a352cc", "text": "#6e7077", "light-blue": "#8ab8ff", "light-purple": "#ca95e5", "dark-red": "#ad0317",
}  # fmt: skip
_SERIES = ("#3274d9", "#ff780a", "#56a64b", "#e0b400", "#a352cc", "#e02f44")
_SUFFIXES = {
    "velocitykmh": " km/h", "percent": "%", "lengthkm": " km", "lengthm": " m", "s": " s", "h": " h", "m": " min",
    "celsius": " °C",
}  # fmt: skip


def color_of(name: str | None, otherwise: str = INK) -> str:
    """Grafana's colour of this name."""
    return _SHADES.get(name, name if name.startswith("#") else otherwise) if name else otherwise


class Look:
    """One column of one panel."""

    def __init__(self, panel: Json, column: str, number: int = 0) -> None:
        self.column = column
        self._defaults = panel["fieldConfig"]["defaults"]
        self._number = number
        self._own: dict[str, Any] = {}
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"] == {"id": "byName", "options": column}:
                self._own |= {each["id"]: each.get("value") for each in override["properties"]}

    @property
    def hidden(self) -> bool:
        return bool(self._own.get("custom.hideFrom.viz"))

    @property
    def title(self) -> str:
        return str(self._own.get("displayName", self.column))

    @property
    def linked(self) -> bool:
        return "links" in self._own

    @property
    def series_color(self) -> str:
        own = self._own.get("color") or {}
        return color_of(own.get("fixedColor"), _SERIES[self._number % len(_SERIES)])

    def custom(self, name: str) -> Any:
        """What the kind of panel has for this column."""
        return self._own.get(f"custom.{name}", (self._defaults.get("custom") or {}).get(name))

    def text(self, value: Any) -> str:
        mapped = self._mapped(value)
        if mapped is not None and mapped.get("text"):
            return str(mapped["text"])
        if value is None:
            return "-"
        decimals = self._own.get("decimals", self._defaults.get("decimals"))
        return formatted(value, str(self._own.get("unit", self._defaults["unit"])), decimals)

    def color(self, value: Any) -> str:
        """Of a value: by its mapping, else by thresholds."""
        mapped = self._mapped(value)
        if mapped is not None and mapped.get("color"):
            return color_of(mapped["color"])
        thresholds = self._own.get("thresholds", self._defaults.get("thresholds"))
        if thresholds and isinstance(value, int | float):
            steps: Sequence[Json] = thresholds["steps"]
            return color_of([step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1])
        return INK

    def _mapped(self, value: Any) -> Json | None:
        for mapping in self._own.get("mappings", self._defaults.get("mappings")) or []:
            if str(value) in mapping.get("options", {}):
                found: Json = mapping["options"][str(value)]
                return found
        return None


def formatted(value: Any, unit: str, decimals: int | None = None) -> str:
    """In the unit of this id."""
    if isinstance(value, datetime):
        if unit == "dateTimeFromNow":
            return f"{(datetime.now(UTC) - value).total_seconds() / 60:.0f} min"
        return value.astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S")
    if not isinstance(value, int | float):
        return str(value)
    if unit == "dthms":
        whole = round(value)
        return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    if unit == "s" and 0 < value < 10:
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
    if unit in ("dtdurations", "s"):
        return _duration(value)
    if unit == "bytes":
        return f"{value / 2**20:,.1f} MiB"
    number = f"{value:,.{decimals}f}" if decimals is not None else f"{value:,.2f}".rstrip("0").rstrip(".")
    suffix = unit.removeprefix("suffix:") if unit.startswith("suffix:") else _SUFFIXES.get(unit, "")
    return f"{number}{suffix}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    parts = (("d", whole // 86400), ("h", whole // 3600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    there = [f"{count} {name}" for name, count in parts if count]
    return " ".join(there[:2]) or "0 s"
