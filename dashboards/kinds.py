"""The kinds of panels, as we like them: SDK builders with our defaults, to be changed further by their own methods."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    gauge,
    geomap,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as models
from grafana_foundation_sdk.models.dashboard import FieldColorModeId, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.geomap import MapCenterID

Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first value is None: all that is less."""

PLAIN: Steps = ((None, "blue"),)
ALARM: Steps = ((None, "green"), (1, "red"))
"""Good when there is none."""


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Colours by value."""
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value, color) for value, color in steps])
    )


def number(steps: Steps = PLAIN) -> stat.Panel:
    """One number, large. The query's first row and number."""
    return (
        stat.Panel()
        .reduce_options(_last())
        .graph_mode(models.BigValueGraphMode.NONE)
        .color_mode(models.BigValueColorMode.VALUE)
        .color_scheme(_color(FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds(steps))
    )


def dial(steps: Steps, most: float) -> gauge.Panel:
    """One number on a dial from 0 to `most`."""
    return (
        gauge.Panel()
        .reduce_options(_last())
        .min(0)
        .max(most)
        .color_scheme(_color(FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds(steps))
    )


def meters(steps: Steps, most: float) -> bargauge.Panel:
    """A bar for each row, from 0 to `most`. Columns: a text, a number."""
    return (
        bargauge.Panel()
        .reduce_options(common.ReduceDataOptions().values(True).calcs([]))
        .orientation(models.VizOrientation.HORIZONTAL)
        .display_mode(models.BarGaugeDisplayMode.BASIC)
        .min(0)
        .max(most)
        .color_scheme(_color(FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds(steps))
    )


def lines(fill_percent: int = 10) -> timeseries.Panel:
    """Values over time. Columns: "time", numbers; or "time", the text "metric" that names the series, a number."""
    return (
        timeseries.Panel()
        .line_width(2)
        .fill_opacity(fill_percent)
        .show_points(models.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI))
    )


def bars_over_time() -> timeseries.Panel:
    """Counts over time, stacked. Columns as `lines`."""
    return (
        timeseries.Panel()
        .draw_style(models.GraphDrawStyle.BARS)
        .line_width(1)
        .fill_opacity(80)
        .stacking(common.StackingConfig().mode(models.StackingMode.NORMAL).group("A"))
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI))
    )


def bars(category: str, *, stacked: bool = False, lying: bool = False) -> barchart.Panel:
    """A bar, or one of each number, for every row. Columns: the text `category`, numbers."""
    return (
        barchart.Panel()
        .x_field(category)
        .stacking(models.StackingMode.NORMAL if stacked else models.StackingMode.NONE)
        .orientation(models.VizOrientation.HORIZONTAL if lying else models.VizOrientation.AUTO)
        .show_value(models.VisibilityMode.AUTO)
        .fill_opacity(80)
        .x_tick_label_max_length(24)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI))
    )


def rows() -> table.Panel:
    """A table: every column that is not hidden needs a heading."""
    return table.Panel().show_header(True).cell_height(models.TableCellHeight.SM).min_width(80)


def timeline() -> statetimeline.Panel:
    """States over time. Columns: "time", a text for each line; a state holds until the next row."""
    return (
        statetimeline.Panel()
        .show_value(models.VisibilityMode.AUTO)
        .row_height(0.8)
        .merge_values(True)
        .legend(_legend())
    )


def markers(color_by: str, *, size: int = 5) -> geomap.Panel:
    """A map with a point for each row. Columns: lat, lon and `color_by`, a text whose values have colours."""
    country = geomap.MapViewConfig().id(MapCenterID.COORDS).lat(16).lon(107).zoom(5)
    return map_of(dots(color_by, size=size)).view(country)


def dots(color_by: str, *, size: int = 5) -> common.MapLayerOptions:
    """A layer for `map_of`: a point for each row, as `markers`."""
    style = {
        "color": {"field": color_by, "fixed": "blue"},
        "opacity": 0.8,
        "size": {"fixed": size, "min": 2, "max": 15},
        "symbol": {"mode": "fixed", "fixed": "img/icons/marker/circle.svg"},
    }
    return _layer("markers", "markers", {"style": style, "showLegend": True})


def map_of(*layers: Builder[models.MapLayerOptions]) -> geomap.Panel:
    """A map of these layers, as wide as the first one; the base map is the server's choice (docs/dashboards.md)."""
    # Not all layers: the base map of the country is one too, and as wide as the country.
    as_first = geomap.MapViewConfig().id(MapCenterID.FIT).all_layers(False).layer(layers[0].build().name)
    return (
        geomap.Panel()
        .view(as_first.zoom(15).padding(10))
        .controls(geomap.ControlsOptions().show_zoom(True).mouse_wheel_zoom(True).show_attribution(True))
        .basemap(common.MapLayerOptions().type("default").name("base").tooltip(False))
        .layers(list(layers))
    )


def route(name: str = "route", color: str = "blue") -> common.MapLayerOptions:
    """A layer for `map_of`: one line through the rows in their order. Columns: lat, lon. One vehicle only."""
    return _layer("route", name, {"style": {"color": {"fixed": color}, "lineWidth": 3, "opacity": 1}, "arrow": 0})


def _layer(kind: str, name: str, config: dict[str, object]) -> common.MapLayerOptions:
    place = models.FrameGeometrySource(models.FrameGeometrySourceMode.COORDS, latitude="lat", longitude="lon")
    options = models.MapLayerOptions(kind, name, config, place, tooltip=True)
    builder = common.MapLayerOptions()
    builder._internal = options
    return builder


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().values(False).calcs(["lastNotNull"])


def _color(mode: FieldColorModeId) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(mode)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(models.LegendDisplayMode.LIST)
        .placement(models.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
