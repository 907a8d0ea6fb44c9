"""The frame of a dashboard: title, choices, links, and panels laid out from left to right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.kinds import Steps, thresholds
from dashboards.queries import DATABASE, Query
from dashboards.variables import Variable
from dashboards.words import LANGUAGES, NOTHING, Language, Value, Words

TIME_ZONE = "Asia/Ho_Chi_Minh"
_COLUMNS = 24

VEHICLE_DAY = "hanhtrinh-vehicle"
"""The dashboard of one vehicle; rows link to it with the columns vehicle_id, day_from and day_to."""


@dataclass(frozen=True)
class Column:
    """How a column of a query, or a series of that name, is shown."""

    title: Words | None = None
    unit: str | None = None
    decimals: int | None = None
    color: str | None = None
    values: Mapping[str, Value] | None = None
    """Words and colours for the values of the database."""
    steps: Steps | None = None
    """Colours by value: see `dashboards.kinds.Steps`."""
    link: str | None = None
    """Where a click leads: see `Board.link_to`."""
    hidden: bool = False
    """Asked for by links or colours, not shown."""
    width: int | None = None
    options: Mapping[str, object] | None = None
    """Of this series or column alone: what the kind of panel calls `custom`, by Grafana's names."""


HIDDEN = Column(hidden=True)


def day_of(moment: str) -> str:
    """SQL: the columns day_from and day_to of the local day of a moment, for `Board.link_to`."""
    midnight = f"date_trunc('day', {moment}, '{TIME_ZONE}')"
    return (
        f"(extract(epoch FROM {midnight}) * 1000)::int8::text AS day_from, "
        f"(extract(epoch FROM {midnight} + INTERVAL '1 day') * 1000 - 1)::int8::text AS day_to"
    )


class Board:
    """A dashboard in one language. Panels come in reading order, in rows 24 columns wide and as high as their highest;
    beside that one, others of one width stand below each other."""

    def __init__(
        self,
        name: str,
        title: Words,
        about: Words,
        language: Language,
        *,
        variables: Sequence[Variable] = (),
        time_from: str = "now-24h",
        time_to: str = "now",
        refresh: str = "",
    ) -> None:
        self.name = name
        self.language = language
        self._panels: list[models.Panel | models.RowPanel] = []
        self._x = self._y = self._row_height = 0
        self._last: models.GridPos | None = None
        self._dashboard = models.Dashboard(
            uid=f"hanhtrinh-{name}-{language}",
            title=title.of(language),
            description=about.of(language),
            tags=["hanhtrinh", f"hanhtrinh-{language}"],
            timezone=TIME_ZONE,
            editable=False,
            graph_tooltip=models.DashboardCursorSync.CROSSHAIR,
            time=models.DashboardDashboardTime(time_from, time_to),
            refresh=refresh,
            week_start="monday",
            panels=self._panels,
            templating=models.DashboardDashboardTemplating([variable.build(language) for variable in variables]),
            links=[self._siblings(), *self._same_in_other_languages()],
        )

    def add(
        self,
        panel: Builder[models.Panel],
        *queries: Query,
        title: Words,
        about: Words,
        unit: str,
        width: int,
        height: int,
        empty: Words = NOTHING,
        decimals: int | None = None,
        columns: Mapping[str, Column] | None = None,
        values: Mapping[str, Value] | None = None,
    ) -> None:
        """Place a panel of `dashboards.kinds` to the right of the last one, or below it, or in the next row.

        `unit` is one of Grafana's ids ("none" for plain text); `empty` stands where there is nothing to show;
        `columns` names and styles columns or series, `values` gives words and colours to all values of the panel.
        """
        place = self._place(width, height)
        built = panel.build()
        built.id_val = len(self._panels) + 1
        built.title = title.of(self.language)
        built.description = about.of(self.language)
        built.datasource = queries[0].source if queries else DATABASE
        built.targets = [query.target(chr(ord("A") + at), self.language) for at, query in enumerate(queries)]
        built.grid_pos = place
        config = built.field_config = built.field_config or models.FieldConfigSource()
        config.defaults.unit = unit
        config.defaults.decimals = decimals
        config.defaults.no_value = empty.of(self.language)
        config.defaults.mappings = [self._mapping(values)] if values else config.defaults.mappings
        config.overrides += [self._override(name, column) for name, column in (columns or {}).items()]
        self._panels.append(built)

    def heading(self, title: Words) -> None:
        """A line between panels."""
        self._next_row()
        self._panels.append(
            models.RowPanel(
                collapsed=False,
                title=title.of(self.language),
                id_val=len(self._panels) + 1,
                grid_pos=models.GridPos(h=1, w=_COLUMNS, x=0, y=self._y),
                panels=[],
            )
        )
        self._y += 1

    def link_to(self, uid: str, *columns: str, day: bool = False) -> str:
        """The address of another of our dashboards in this language, with the row's values of these columns.

        The columns of variables are called <variable>_id. With `day`, the time range is the row's: columns day_from and
        day_to, milliseconds as text; else it is kept.
        """
        choices = "".join(
            f"&var-{column.removesuffix('_id')}=${{__data.fields.{column}:percentencode}}" for column in columns
        )
        span = "from=${__data.fields.day_from}&to=${__data.fields.day_to}" if day else "${__url_time_range}"
        return f"/d/{uid}-{self.language}?{span}{choices}"

    def build(self) -> models.Dashboard:
        return self._dashboard

    def _place(self, width: int, height: int) -> models.GridPos:
        last = self._last
        if self._x + width > _COLUMNS:
            if last and last.w == width and last.y + last.h + height <= self._y + self._row_height:
                self._last = models.GridPos(h=height, w=width, x=last.x, y=last.y + last.h)
                return self._last
            self._next_row()
        self._last = models.GridPos(h=height, w=width, x=self._x, y=self._y)
        self._x += width
        self._row_height = max(self._row_height, height)
        return self._last

    def _next_row(self) -> None:
        self._y += self._row_height
        self._x = self._row_height = 0

    def _mapping(self, values: Mapping[str, Value]) -> models.ValueMap:
        return models.ValueMap(
            {
                code: models.ValueMappingResult(text=value.words.of(self.language), color=value.color, index=index)
                for index, (code, value) in enumerate(values.items())
            }
        )

    def _override(self, name: str, column: Column) -> models.DashboardFieldConfigSourceOverrides:
        properties: dict[str, object] = {}
        if column.title is not None:
            properties["displayName"] = column.title.of(self.language)
        if column.unit is not None:
            properties["unit"] = column.unit
        if column.decimals is not None:
            properties["decimals"] = column.decimals
        if column.color is not None:
            properties["color"] = {"mode": "fixed", "fixedColor": column.color}
        if column.values is not None:
            properties["mappings"] = [self._mapping(column.values)]
            if any(value.color for value in column.values.values()):
                properties["custom.cellOptions"] = {"type": "color-text"}
        if column.steps is not None:
            properties["thresholds"] = thresholds(column.steps).build()
            properties["custom.cellOptions"] = {"type": "color-text"}
            properties["color"] = {"mode": "thresholds"}
        if column.link is not None:
            properties["links"] = [{"title": _OPEN.of(self.language), "url": column.link}]
        if column.hidden:
            # Grafana ignores the one that the kind of panel does not know: tables have the first only.
            properties["custom.hideFrom.viz"] = True
            properties["custom.hideFrom"] = {"viz": True, "legend": True, "tooltip": True}
        if column.width is not None:
            properties["custom.width"] = column.width
        properties |= {f"custom.{option}": value for option, value in (column.options or {}).items()}
        return models.DashboardFieldConfigSourceOverrides(
            matcher=models.MatcherConfig("byName", name),
            properties=[models.DynamicConfigValue(key, value) for key, value in properties.items()],
        )

    def _siblings(self) -> models.DashboardLink:
        return _ShownLink(
            title="",
            type_val=models.DashboardLinkType.DASHBOARDS,
            tags=[f"hanhtrinh-{self.language}"],
            include_vars=True,
            keep_time=True,
        )

    def _same_in_other_languages(self) -> list[models.DashboardLink]:
        return [
            _ShownLink(
                title=_NAMES.of(other),
                type_val=models.DashboardLinkType.LINK,
                icon="external link",
                url=f"/d/hanhtrinh-{self.name}-{other}",
                include_vars=True,
                keep_time=True,
            )
            for other in LANGUAGES
            if other != self.language
        ]


class _ShownLink(models.DashboardLink):
    """A link beside the title; the SDK puts every link into a menu."""

    def to_json(self) -> dict[str, object]:
        return {name: value for name, value in super().to_json().items() if name != "placement"}


_OPEN = Words("Mở chi tiết", "Open details")
_NAMES = Words("Tiếng Việt", "English")
