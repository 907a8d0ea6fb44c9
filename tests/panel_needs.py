"""What each kind of panel needs of a query's result: columns by name, type and order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from tests.grafana import Json, Query
from tests.grafana_reader import Result

NUMBERS = {"int2", "int4", "int8", "float4", "float8", "numeric"}
TEXTS = {"text", "varchar", "bpchar"}
MOMENTS = {"timestamptz"}


def check_columns_that_are_named(panel: Json, result: Result) -> None:
    named_ones = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["id"] == "byName"
    }
    linked = set(re.findall(r"__data\.fields\.(\w+)", json.dumps(panel)))
    assert linked <= set(result.columns), f"links need {linked}, there are {list(result.columns)}"
    for name, words in words_of_columns(panel).items():
        # A single word is for what is missing; several are all there are.
        if name in result.columns and len(words) > 1:
            strange = set(result.of(name)) - words - {None}
            assert not strange, f"{panel['title']}: no words for {strange} in {name}"
    if panel["type"] in ("table", "geomap", "barchart"):
        assert named_ones <= set(result.columns), f"named: {named_ones}, there are {list(result.columns)}"


def words_of_columns(panel: Json) -> dict[str, set[str]]:
    """The values of the database that have words, by column; that of a map's colours by the panel's own."""

    def values(mappings: Sequence[Json]) -> set[str]:
        return {value for mapping in mappings for value in mapping["options"]}

    found = {
        layer["config"]["style"]["color"]["field"]: values(panel["fieldConfig"]["defaults"].get("mappings", []))
        for layer in panel.get("options", {}).get("layers", [])
        if layer["config"]["style"]["color"].get("field")
    }
    for override in panel["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if each["id"] == "mappings":
                found[override["matcher"]["options"]] = values(each["value"])
    return found


def one_number(_query: Query, result: Result) -> None:
    assert len(result.rows) <= 1, "one number is shown"
    assert any(kind in NUMBERS for kind in result.columns.values()), result.columns


def a_number_for_each_row(_query: Query, result: Result) -> None:
    kinds = list(result.columns.values())
    assert any(kind in NUMBERS for kind in kinds), result.columns
    assert any(kind in TEXTS for kind in kinds), result.columns
    assert result.rows


def values_over_time(query: Query, result: Result) -> None:
    assert query.target["format"] == "time_series"
    kinds = dict(result.columns)
    assert kinds.pop("time") in MOMENTS | NUMBERS, result.columns
    assert set(kinds.values()) <= NUMBERS | TEXTS, result.columns
    texts = [name for name, kind in kinds.items() if kind in TEXTS]
    assert texts in ([], ["metric"]), "Grafana names a series by the column metric alone"
    assert any(kind in NUMBERS for kind in kinds.values()), result.columns
    assert result.rows
    assert result.of("time") == sorted(result.of("time")), "Grafana needs them in order"


def states_over_time(_query: Query, result: Result) -> None:
    kinds = dict(result.columns)
    assert kinds.pop("time") in MOMENTS, result.columns
    assert kinds, "there is no state"
    assert result.rows
    assert result.of("time") == sorted(result.of("time")), "Grafana needs them in order"


def bars_by_category(query: Query, result: Result) -> None:
    category = query.panel["options"]["xField"]
    kinds = dict(result.columns)
    assert kinds.pop(category) in TEXTS, result.columns
    assert kinds, "there is no number"
    assert set(kinds.values()) <= NUMBERS, result.columns
    assert result.rows


def lines_of_a_table(query: Query, result: Result) -> None:
    for name in result.columns:
        properties = {
            each["id"]
            for override in query.panel["fieldConfig"]["overrides"]
            if override["matcher"] == {"id": "byName", "options": name}
            for each in override["properties"]
        }
        assert properties & {"displayName", "custom.hideFrom.viz"}, f"column {name} has no heading"
    assert result.rows


def points_on_a_map(query: Query, result: Result) -> None:
    for layer in query.panel["options"]["layers"]:
        place = layer["location"]
        assert place["mode"] == "coords"
        assert {result.columns[place["latitude"]], result.columns[place["longitude"]]} == {"float8"}
        color = layer["config"]["style"]["color"]
        assert color.get("field", place["latitude"]) in result.columns, result.columns
    assert query.panel["options"]["basemap"]["type"] == "default", "a base map of the server's choice"
    assert result.rows


NEEDS: Mapping[str, Callable[[Query, Result], None]] = {
    "stat": one_number,
    "gauge": one_number,
    "bargauge": a_number_for_each_row,
    "timeseries": values_over_time,
    "state-timeline": states_over_time,
    "barchart": bars_by_category,
    "table": lines_of_a_table,
    "geomap": points_on_a_map,
}
