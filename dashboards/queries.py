"""What a panel asks: SQL of the views in the schema `panels`, or Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.words import Language, Words

DATABASE = DataSourceRef(type_val="grafana-postgresql-datasource", uid="hanhtrinh")
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")


@dataclass(frozen=True)
class Sql:
    """A query of the database. `format` time_series needs a column "time"; a text column "metric" names the series.

    `budget_ms` is what it may take on the bench data; the tests and the bench read it from the JSON.
    """

    text: str
    format: Literal["table", "time_series"] = "table"
    budget_ms: int = 500

    source = DATABASE

    def target(self, ref_id: str, _language: Language) -> variants.Dataquery:
        return _SqlTarget(self, ref_id)


@dataclass(frozen=True)
class Prom:
    """A query of Prometheus. `legend` may hold its {{labels}}; `instant`: the newest value only, as a table."""

    expression: str
    legend: Words | str = ""
    instant: bool = False

    source = PROMETHEUS

    def target(self, ref_id: str, language: Language) -> variants.Dataquery:
        legend = self.legend.of(language) if isinstance(self.legend, Words) else self.legend
        query = prometheus.Dataquery().expr(self.expression).ref_id(ref_id).datasource(PROMETHEUS)
        if legend:
            query.legend_format(legend)
        if self.instant:
            query.instant().format(PromQueryFormat.TABLE)
        else:
            query.range()
        return query.build()


Query = Sql | Prom


class _SqlTarget(variants.Dataquery):
    """The SDK has no query of this data source (grafana-foundation-sdk issue 447)."""

    def __init__(self, query: Sql, ref_id: str) -> None:
        self._query = query
        self._ref_id = ref_id

    def to_json(self) -> dict[str, object]:
        return {
            "refId": self._ref_id,
            "datasource": DATABASE,
            "editorMode": "code",
            "rawQuery": True,
            "rawSql": self._query.text.strip(),
            "format": self._query.format,
            "budgetMs": self._query.budget_ms,
        }
