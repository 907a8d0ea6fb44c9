"""What Grafana does with a dashboard's queries: variables first, in the browser (grafana/scenes: formatRegistry), then
macros, in the server (grafana/grafana: pkg/tsdb/grafana-postgresql-datasource/macros.go).

Only what our dashboards may use is known here; anything else is an error, as it would be a surprise in Grafana.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Json = dict[str, Any]
ALL = "$__all"

_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\[\[.*?\]\]|\$(?!__)(\w+)")
_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Query:
    """One SQL target of one panel, or the query of a variable."""

    dashboard: str
    language: str
    panel: Json
    target: Json
    variables: Mapping[str, Json] = field(repr=False)

    @property
    def sql(self) -> str:
        return str(self.target["rawSql"])

    def __str__(self) -> str:
        return f"{self.language}/{self.dashboard}: {self.panel['title']} ({self.target['refId']})"


@dataclass(frozen=True)
class View:
    """What a reader has chosen: a time range, and the values of variables; those that are not named: everything."""

    begin: datetime
    end: datetime
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    timescaledb: bool = False

    def expand(self, sql: str, variables: Mapping[str, Json]) -> str:
        """The SQL as it reaches the server. ValueError at what Grafana, or this, does not know."""
        text = _VARIABLE.sub(lambda match: self._value(match, variables), sql)
        return _MACRO.sub(lambda match: self._macro(match[1], [each.strip() for each in match[2].split(",")]), text)

    def _value(self, match: re.Match[str], variables: Mapping[str, Json]) -> str:
        name, form = match[1], match[2]
        if name is None or form != "sqlstring":
            raise ValueError(f"{match[0]}: variables are written ${{name:sqlstring}}")
        if name not in variables:
            raise ValueError(f"{match[0]}: the dashboard has no such variable")
        variable = variables[name]
        values = self.chosen.get(name, [ALL] if variable.get("includeAll") else [""])
        if list(values) == [ALL]:
            if not variable.get("allValue"):
                raise ValueError(f"{name}: without a value of its own, all is every single value")
            return str(variable["allValue"])
        return ",".join("'" + value.replace("'", "''").replace('"', '\\"') + "'" for value in values)

    def _macro(self, name: str, arguments: list[str]) -> str:
        begin, end = (moment.astimezone(UTC).isoformat().replace("+00:00", "Z") for moment in (self.begin, self.end))
        if name == "__timeFilter":
            return f"{arguments[0]} BETWEEN '{begin}' AND '{end}'"
        if name in ("__timeFrom", "__timeTo"):
            return f"'{begin if name == '__timeFrom' else end}'"
        if name in ("__timeGroup", "__timeGroupAlias"):
            interval = arguments[1].strip("'")
            seconds = int(interval[:-1]) * _SECONDS[interval[-1]]
            bucket = f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}"
            if self.timescaledb:
                bucket = f"time_bucket('{seconds:.3f}s',{arguments[0]})"
            return bucket + (' AS "time"' if name.endswith("Alias") else "")
        raise ValueError(f"${name}: no macro that this knows")


def dashboards(folder: Path) -> Iterator[tuple[Path, Json]]:
    """Every dashboard below a folder."""
    for path in sorted(folder.rglob("*.json")):
        yield path, json.loads(path.read_text("utf-8"))


def panels(dashboard: Json) -> Iterator[Json]:
    """Its panels, without the headings between them."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def is_sql(part: Json) -> bool:
    return bool(part.get("datasource", {}).get("uid") == "hanhtrinh")


def queries(folder: Path) -> list[Query]:
    """Every SQL query of every panel."""
    found = []
    for path, dashboard in dashboards(folder):
        variables = variables_of(dashboard)
        for panel in panels(dashboard):
            found += [
                Query(path.stem, path.parent.name, panel, target, variables)
                for target in panel["targets"]
                if is_sql(target)
            ]
    return found


def variable_queries(folder: Path) -> list[Query]:
    """The queries that find the values of variables."""
    return [
        Query(path.stem, path.parent.name, {"title": f"variable {name}", "type": "variable"},
              {"rawSql": variable["query"], "refId": name, "budgetMs": 500}, variables_of(dashboard))
        for path, dashboard in dashboards(folder)
        for name, variable in variables_of(dashboard).items()
        if variable["type"] == "query" and is_sql(variable)
    ]  # fmt: skip


def variables_of(dashboard: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in dashboard["templating"].get("list", [])}
