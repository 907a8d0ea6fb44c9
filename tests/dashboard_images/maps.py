"""The map panel: our outline of the country below, points coloured by state, or one vehicle's way."""

from __future__ import annotations

import json
import math
from typing import Any

from matplotlib.axes import Axes

from dashboards.catalogue import FOLDER
from tests.dashboard_images.look import FAINT, Look, color_of
from tests.grafana import Json
from tests.grafana_reader import Result

_OUTLINE = json.loads((FOLDER.parent / "maps" / "vietnam.geojson").read_text("utf-8"))


def draw_map(axes: Axes, panel: Json, result: Result) -> None:
    """Base map, then the layers in order, as wide as the panel's view says."""
    options = panel["options"]
    for layer in options["layers"]:
        lat, lon = result.of(layer["location"]["latitude"]), result.of(layer["location"]["longitude"])
        style = layer["config"]["style"]
        if layer["type"] == "route":
            axes.plot(lon, lat, color=color_of(style["color"].get("fixed")), linewidth=1.5, zorder=2)
        else:
            field = style["color"].get("field")
            states = result.of(field) if field else [None] * len(lat)
            look = Look(panel, field or "")
            for state in dict.fromkeys(states):
                at = [number for number, each in enumerate(states) if each == state]
                axes.scatter(
                    [lon[each] for each in at], [lat[each] for each in at], style["size"]["fixed"] ** 2 * 1.2,
                    color=look.color(state) if field else color_of(style["color"].get("fixed")),
                    label=look.text(state) if field else None, alpha=0.85, zorder=3,
                )  # fmt: skip
    if options["view"]["id"] == "coords":
        axes.set(xlim=(101.5, 114.5), ylim=(7.8, 23.8))
    _base_map(axes, axes.get_xlim(), axes.get_ylim())
    axes.set_aspect(1 / math.cos(math.radians(sum(axes.get_ylim()) / 2)), adjustable="datalim")
    axes.set_facecolor("#eef3f8")
    axes.spines[:].set_color("#d8d9da")
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    if any(layer["type"] != "route" for layer in options["layers"]):
        axes.legend(fontsize=8, loc="lower left", framealpha=0.9)


def _base_map(axes: Axes, xlim: Any, ylim: Any) -> None:
    for feature in _OUTLINE["features"]:
        geometry = feature["geometry"]
        if geometry["type"] == "Point":
            lon, lat = geometry["coordinates"]
            if xlim[0] < lon < xlim[1] and ylim[0] < lat < ylim[1]:
                axes.plot(lon, lat, ".", color=FAINT, markersize=3, zorder=1)
                name = feature["properties"]["name"]
                axes.annotate(name, (lon, lat), (4, 0), textcoords="offset points", fontsize=7, color=FAINT, zorder=1,
                              va="center", clip_on=True)  # fmt: skip
            continue
        for polygon in geometry["coordinates"]:
            lons, lats = zip(*polygon[0], strict=True)
            axes.fill(lons, lats, facecolor="#ffffff", edgecolor="#aab4c0", linewidth=0.8, zorder=0)
    axes.set(xlim=xlim, ylim=ylim)
