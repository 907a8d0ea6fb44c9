"""What the reader may choose at the top of a dashboard, and the SQL that obeys."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import QueryVariable
from grafana_foundation_sdk.models.dashboard import VariableModel, VariableOption, VariableRefresh, VariableSort

from dashboards.queries import DATABASE
from dashboards.words import Language, Words

_ALL = "''"
"""Put into the SQL as it stands when everything is chosen: no row has the empty text."""


@dataclass(frozen=True)
class Variable:
    """A choice among the values that a query finds (columns "__value" and "__text", or one column)."""

    name: str
    label: Words
    query: str
    single: bool = False
    """One value, and no "all"."""

    def chosen(self, column: str) -> str:
        """The condition that a row is among the chosen. Values come quoted by Grafana: no text can break out."""
        if self.single:
            return f"{column} = ${{{self.name}:sqlstring}}"
        values = f"${{{self.name}:sqlstring}}"
        return f"('' IN ({values}) OR {column} IN ({values}))"

    def build(self, language: Language) -> VariableModel:
        variable = (
            QueryVariable(self.name)
            .label(self.label.of(language))
            .datasource(DATABASE)
            .query(self.query)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        )
        if not self.single:
            everything = Words("Tất cả", "All").of(language)
            variable.multi(True).include_all(True).all_value(_ALL).current(
                VariableOption(selected=True, text=[everything], value=["$__all"])
            )
        return variable.build()


PROVINCE = Variable(
    "province",
    Words("Tỉnh, thành phố", "Province"),
    "SELECT DISTINCT province FROM panels.operators WHERE province IS NOT NULL",
)
OPERATOR = Variable(
    "operator",
    Words("Đơn vị vận tải", "Operator"),
    "SELECT operator_id AS __value, operator AS __text FROM panels.operators WHERE " + PROVINCE.chosen("province"),
)

THEIRS = f"{PROVINCE.chosen('province')} AND {OPERATOR.chosen('operator_id')}"
"""The condition that a row with province and operator_id is of the chosen ones."""

VEHICLE = Variable(
    "vehicle", Words("Biển số xe", "Vehicle"), f"SELECT vehicle_id FROM panels.vehicles WHERE {THEIRS}", single=True
)
DRIVER = Variable(
    "driver",
    Words("Lái xe", "Driver"),
    "SELECT driver_id AS __value, driver_id || coalesce(' - ' || driver, '') AS __text"
    f" FROM panels.drivers WHERE {THEIRS}",
    single=True,
)
