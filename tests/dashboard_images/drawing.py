"""One dashboard as a picture: its panels on its grid, each drawn by its kind."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle, Wedge
from PIL import Image

from tests.dashboard_images.charts import draw_bars, draw_lines, draw_states
from tests.dashboard_images.look import FAINT, INK, Look
from tests.dashboard_images.maps import draw_map
from tests.grafana import Json
from tests.grafana_reader import Result

_COLUMN_IN, _ROW_IN, _DPI = 0.62, 0.36, 80
_GAP = 0.08
_LETTER_IN = 0.073
"""As wide as most letters of a table are."""


class Panel(NamedTuple):
    """A panel and what its query gave; None: it does not ask the database."""

    json: Json
    result: Result | None


def draw(title: str, panels: Sequence[Panel], target: Path) -> None:
    """Write the dashboard as PNG."""
    height = max((each.json["gridPos"]["y"] + each.json["gridPos"]["h"] for each in panels), default=1) + 1.5
    width_in, height_in = 24 * _COLUMN_IN, height * _ROW_IN
    figure = plt.figure(figsize=(width_in, height_in), dpi=_DPI, facecolor="#f4f5f5")
    figure.text(0.008, 1 - 0.75 / height, title, fontsize=15, color=INK, va="center", weight="bold")
    for panel in panels:
        place = panel.json["gridPos"]
        left, top = place["x"] * _COLUMN_IN + _GAP / 2, (place["y"] + 1.5) * _ROW_IN + _GAP / 2
        box_in = (place["w"] * _COLUMN_IN - _GAP, place["h"] * _ROW_IN - _GAP)
        frame = figure.add_axes(
            (left / width_in, 1 - (top + box_in[1]) / height_in, box_in[0] / width_in, box_in[1] / height_in)
        )
        _panel(frame, panel, box_in)
    target.parent.mkdir(parents=True, exist_ok=True)
    with BytesIO() as picture:
        figure.savefig(picture, dpi=_DPI, facecolor=figure.get_facecolor())
        exact = Image.open(picture).convert("RGB")
        exact.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)
    plt.close(figure)


def _panel(frame: Axes, panel: Panel, box_in: tuple[float, float]) -> None:
    frame.set(xlim=(0, box_in[0]), ylim=(box_in[1], 0))
    frame.axis("off")
    frame.add_patch(Rectangle((0, 0), *box_in, facecolor="white", edgecolor="#d8d9da"))
    frame.text(0.12, 0.22, panel.json["title"], fontsize=9.5, color=INK, va="center", weight="bold", clip_on=True)
    result = panel.result
    if result is None or not _says_something(result):
        nothing = panel.json["fieldConfig"]["defaults"]["noValue"] if result is not None else "Prometheus"
        text = textwrap.fill(nothing, max(12, int(box_in[0] * 11)))
        frame.text(box_in[0] / 2, 0.2 + box_in[1] / 2, text, fontsize=9, color=FAINT, ha="center", va="center")
        return
    rows = [tuple(float(value) if isinstance(value, Decimal) else value for value in row) for row in result.rows]
    _KINDS[panel.json["type"]](frame, panel.json, Result(result.columns, rows), box_in)


def _says_something(result: Result) -> bool:
    return any(value is not None for row in result.rows for value in row)


def _inside(frame: Axes, box_in: tuple[float, float], left_in: float = 0.55, bottom_in: float = 0.55) -> Axes:
    """Axes for a chart inside a panel, below its title."""
    width, height = box_in
    return frame.inset_axes(
        (left_in, 0.42, width - left_in - 0.25, height - 0.42 - bottom_in), transform=frame.transData
    )


def _number(frame: Axes, panel: Json, result: Result, box_in: tuple[float, float]) -> None:
    looks = [Look(panel, name) for name in result.columns]
    shown = [
        (look, value)
        for look, value in zip(looks, result.rows[0], strict=True)
        if isinstance(value, int | float) or (value is not None and len(looks) == 1)
    ]
    for at, (look, value) in enumerate(shown):
        middle = box_in[0] * (at + 0.5) / len(shown)
        frame.text(
            middle,
            0.25 + box_in[1] / 2,
            look.text(value),
            fontsize=24,
            color=look.color(value),
            ha="center",
            va="center",
        )


def _dial(frame: Axes, panel: Json, result: Result, box_in: tuple[float, float]) -> None:
    [value, look] = next(
        (value, Look(panel, name))
        for name, value in zip(result.columns, result.rows[0], strict=True)
        if isinstance(value, int | float)
    )
    most = float(panel["fieldConfig"]["defaults"].get("max") or 100)
    share = min(1.0, max(0.0, value / most))
    middle, radius = (box_in[0] / 2, box_in[1] * 0.68), min(box_in[0] * 0.4, box_in[1] * 0.42)
    # Upside down, as the axes are: from the left over the top to the right.
    frame.add_patch(Wedge(middle, radius, 180, 360, width=radius * 0.25, facecolor="#e9e9ea"))
    frame.add_patch(Wedge(middle, radius, 180, 180 + 180 * share, width=radius * 0.25, facecolor=look.color(value)))
    frame.text(*middle, look.text(value), fontsize=17, color=look.color(value), ha="center", va="bottom")


def _meters(frame: Axes, panel: Json, result: Result, box_in: tuple[float, float]) -> None:
    most = float(panel["fieldConfig"]["defaults"].get("max") or 100)
    number_at = next(at for at, value in enumerate(result.rows[0]) if isinstance(value, int | float))
    look, step = Look(panel, list(result.columns)[number_at]), (box_in[1] - 0.5) / len(result.rows)
    for line, row in enumerate(result.rows):
        name = next(str(value) for value in row if isinstance(value, str))
        top, value = 0.45 + line * step, row[number_at]
        share = min(1.0, max(0.0, value / most))
        frame.text(0.12, top + step * 0.4, name, fontsize=8, color=INK, va="center")
        left, width = box_in[0] * 0.35, box_in[0] * 0.5
        frame.add_patch(Rectangle((left, top), width, step * 0.8, facecolor="#e9e9ea"))
        frame.add_patch(Rectangle((left, top), width * share, step * 0.8, facecolor=look.color(value)))
        frame.text(
            box_in[0] * 0.87, top + step * 0.4, look.text(value), fontsize=8, color=look.color(value), va="center"
        )


def _table(frame: Axes, panel: Json, result: Result, box_in: tuple[float, float]) -> None:
    looks = [(at, Look(panel, name)) for at, name in enumerate(result.columns)]
    looks = [(at, look) for at, look in looks if not look.hidden]
    lines = result.rows[: max(1, int((box_in[1] - 0.75) / 0.27))]
    texts = [[look.text(row[at]) for at, look in looks] for row in lines]
    widths = [max([5, *(len(line[number]) for line in texts)]) + 2 for number in range(len(looks))]
    letters = int((box_in[0] - 0.2) / _LETTER_IN)
    for number, (_, look) in enumerate(looks):
        widths[number] += max(0, min(len(look.title) + 2 - widths[number], letters - sum(widths)))
    while sum(widths) > letters:
        widths[widths.index(max(widths))] -= 1
    left = 0.12
    for number, (at, look) in enumerate(looks):
        room = widths[number]
        frame.text(left, 0.56, _cut(look.title, room), fontsize=8, color=FAINT, va="center", weight="bold")
        for line, row in enumerate(lines):
            color = "#1f62e0" if look.linked else look.color(row[at])
            frame.text(left, 0.82 + line * 0.27, _cut(texts[line][number], room), fontsize=8, color=color, va="center")
        left += room * _LETTER_IN
    frame.plot((0.1, box_in[0] - 0.1), (0.68, 0.68), color="#e0e0e0", linewidth=0.8)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 2] + "…"


def _chart(drawing: Callable[[Axes, Json, Result], None]) -> Callable[[Axes, Json, Result, tuple[float, float]], None]:
    def draw_inside(frame: Axes, panel: Json, result: Result, box_in: tuple[float, float]) -> None:
        lying = panel.get("options", {}).get("orientation") == "horizontal" or panel["type"] == "state-timeline"
        drawing(_inside(frame, box_in, 2.3 if lying and panel["type"] == "barchart" else 0.85), panel, result)

    return draw_inside


def _on_a_map(frame: Axes, panel: Json, result: Result, box_in: tuple[float, float]) -> None:
    draw_map(_inside(frame, box_in, 0.1, 0.1), panel, result)


_KINDS: Mapping[str, Callable[[Axes, Json, Any, tuple[float, float]], None]] = {
    "stat": _number,
    "gauge": _dial,
    "bargauge": _meters,
    "table": _table,
    "timeseries": _chart(draw_lines),
    "barchart": _chart(draw_bars),
    "state-timeline": _chart(draw_states),
    "geomap": _on_a_map,
}
