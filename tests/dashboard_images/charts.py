"""Charts with axes: values over time, bars by category, states over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tests.dashboard_images.look import FAINT, INK, ZONE, Look
from tests.grafana import Json
from tests.grafana_reader import Result


def draw_lines(axes: Axes, panel: Json, result: Result) -> None:
    """Lines, areas and bars over time."""
    moments, series = _wide(result)
    numbers = date2num(moments)
    stacked = ((panel["fieldConfig"]["defaults"].get("custom") or {}).get("stacking") or {}).get("mode") == "normal"
    below = np.zeros(len(moments))
    width = float(np.diff(np.unique(numbers)).min()) * 0.8 if len(set(moments)) > 1 else 0.8
    for number, (name, values) in enumerate(series.items()):
        look = Look(panel, name, number)
        color, dash = look.series_color, "--" if (look.custom("lineStyle") or {}).get("fill") == "dash" else "-"
        if look.custom("drawStyle") == "bars":
            axes.bar(numbers, np.nan_to_num(values), width, bottom=below, color=color, alpha=0.85, label=look.title)
            below = below + (np.nan_to_num(values) if stacked else 0)
            continue
        axes.plot(numbers, values, dash, color=color, linewidth=float(look.custom("lineWidth") or 1), label=look.title)
        if look.custom("fillOpacity"):
            axes.fill_between(numbers, values, color=color, alpha=float(look.custom("fillOpacity")) / 100)
    locator = AutoDateLocator(tz=ZONE, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=ZONE))
    axes.set_ylim(bottom=0)
    _finish(axes, panel, len(series))


def draw_bars(axes: Axes, panel: Json, result: Result) -> None:
    """Bars by category, standing or lying, beside each other or stacked."""
    options = panel["options"]
    category = Look(panel, options["xField"])
    names = [category.text(value) for value in result.of(options["xField"])]
    columns = [name for name in result.columns if name != options["xField"] and not Look(panel, name).hidden]
    stacked, lying = options["stacking"] == "normal", options["orientation"] == "horizontal"
    at = np.arange(len(names), dtype=float)
    size = 0.7 if stacked else 0.7 / len(columns)
    below = np.zeros(len(names))
    for number, name in enumerate(columns):
        look, values = Look(panel, name, number), np.array(result.of(name), dtype=float)
        shift = 0 if stacked else (number - (len(columns) - 1) / 2) * size
        if lying:
            axes.barh(at + shift, values, size, left=below, color=look.series_color, label=look.title)
        else:
            axes.bar(at + shift, values, size, bottom=below, color=look.series_color, label=look.title)
        below = below + (values if stacked else 0)
    (axes.set_yticks if lying else axes.set_xticks)(at, [name[:30] for name in names])
    if lying:
        axes.invert_yaxis()
    (axes.xaxis if lying else axes.yaxis).set_major_locator(MaxNLocator(6, integer=True))
    _finish(axes, panel, len(columns), units=False)


def draw_states(axes: Axes, panel: Json, result: Result) -> None:
    """A line for each column; a state holds until the next row."""
    looks = [Look(panel, name, number) for number, name in enumerate(result.columns) if name != "time"]
    moments = result.of("time")
    ends = [*moments[1:], moments[-1] + timedelta(seconds=1)]
    for line, look in enumerate(looks):
        for state, begin, end in _merged(result.of(look.column), moments, ends):
            if state is None:
                continue
            mapped = look.color(state)
            span = (float(date2num(begin)), float(date2num(end) - date2num(begin)))
            axes.broken_barh([span], (line - 0.4, 0.8), color=mapped if mapped != INK else look.series_color, alpha=0.8)
            if span[1] > (date2num(ends[-1]) - date2num(moments[0])) / 14:
                axes.text(
                    span[0] + span[1] / 2, line, look.text(state), fontsize=7, color="white", ha="center", va="center"
                )
    axes.set_yticks(range(len(looks)), [look.title for look in looks])
    axes.set_ylim(len(looks) - 0.4, -0.6)
    locator = AutoDateLocator(tz=ZONE, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=ZONE))
    _finish(axes, panel, 0, units=False)


def _merged(
    states: Sequence[Any], begins: Sequence[datetime], ends: Sequence[datetime]
) -> list[tuple[Any, datetime, datetime]]:
    """Neighbours of one state together, as Grafana shows them."""
    found: list[tuple[Any, datetime, datetime]] = []
    for state, begin, end in zip(states, begins, ends, strict=True):
        if found and found[-1][0] == state:
            begin = found.pop()[1]
        found.append((state, begin, end))
    return found


def _wide(result: Result) -> tuple[list[datetime], dict[str, Any]]:
    """The moments, and the values of each series at them: what Grafana makes of rows with a column "metric"."""
    of_time = [
        value if isinstance(value, datetime) else datetime.fromtimestamp(value, ZONE) for value in result.of("time")
    ]
    moments = sorted(set(of_time))
    place = {moment: at for at, moment in enumerate(moments)}
    names = [name for name in result.columns if name not in ("time", "metric")]
    labels = result.of("metric") if "metric" in result.columns else [None] * len(of_time)
    series: dict[str, Any] = {}
    for name in names:
        for moment, label, value in zip(of_time, labels, result.of(name), strict=True):
            values = series.setdefault(label or name, np.full(len(moments), np.nan))
            values[place[moment]] = np.nan if value is None else float(value)
    return moments, series


def _finish(axes: Axes, panel: Json, series: int, units: bool = True) -> None:
    axes.tick_params(labelsize=7.5, colors=INK, length=2)
    axes.grid(visible=True, color="#ececec", linewidth=0.7)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color("#d8d9da")
    axes.xaxis.get_offset_text().set(size=7, color=FAINT)
    if units:
        look = Look(panel, "")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: look.text(float(value))))
    if series > 1:
        axes.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=min(series, 6), frameon=False)
