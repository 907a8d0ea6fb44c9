"""The dashboards: the JSON is the code's; every query runs on a real database as Grafana's role and suits its panel."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dashboards.catalogue import FOLDER, documents
from dashboards.words import LANGUAGES
from tests.grafana import Query, dashboards, panels, queries, variable_queries, variables_of
from tests.grafana_reader import Reader, at_work, of_nothing
from tests.panel_needs import NEEDS, check_columns_that_are_named

__all__ = ["at_work", "of_nothing"]

# A panel asks for the same in every language.
PANELS = [query for query in queries(FOLDER) if query.language == "en"]
VARIABLES = [query for query in variable_queries(FOLDER) if query.language == "en"]
ALL_QUERIES = [*PANELS, *VARIABLES]


# What the code writes.


def test_the_json_is_what_the_code_writes() -> None:
    written = {FOLDER / path: text for path, text in documents()}
    assert set(FOLDER.rglob("*.json")) == set(written), "run `make dashboards`"
    for path, text in written.items():
        assert path.read_text("utf-8") == text, f"{path}: run `make dashboards`"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_panel_explains_itself(language: str) -> None:
    for path, dashboard in dashboards(FOLDER / language):
        assert dashboard["uid"] == f"hanhtrinh-{path.stem}-{language}"
        assert dashboard["timezone"] == "Asia/Ho_Chi_Minh"
        assert dashboard["description"]
        for panel in panels(dashboard):
            where = f"{path}: {panel['title']}"
            defaults = panel["fieldConfig"]["defaults"]
            assert panel["title"], where
            assert len(panel["description"]) > 10, where
            assert defaults["unit"], where
            assert len(defaults["noValue"]) > 3, where
            assert panel["targets"], where


@pytest.mark.parametrize("language", LANGUAGES)
def test_panels_have_ids_and_titles_of_their_own_and_do_not_overlap(language: str) -> None:
    for path, dashboard in dashboards(FOLDER / language):
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids), path
        titles = [panel["title"] for panel in dashboard["panels"]]
        assert len(set(titles)) == len(titles), path
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, f"{path}: {panel['title']} overlaps"
            assert place["x"] + place["w"] <= 24, f"{path}: {panel['title']} is too wide"
            taken |= cells


def test_the_languages_differ_in_words_only() -> None:
    def without_words(part: Any) -> Any:
        if isinstance(part, dict):
            words = {
                "title",
                "description",
                "noValue",
                "label",
                "text",
                "displayName",
                "legendFormat",
                "tags",
                "uid",
                "url",
            }
            if part.get("id") in ("displayName", "links", "mappings", "noValue"):
                return part["id"]
            return {name: without_words(value) for name, value in part.items() if name not in words}
        return [without_words(each) for each in part] if isinstance(part, list) else part

    vietnamese, english = (dict(dashboards(FOLDER / language)) for language in LANGUAGES)
    assert [path.name for path in vietnamese] == [path.name for path in english]
    for ours, theirs in zip(vietnamese.values(), english.values(), strict=True):
        assert without_words(ours) == without_words(theirs)
        titles = [[panel["title"] for panel in panels(each)] for each in (ours, theirs)]
        assert not {title for title in titles[0] if title in titles[1] and " " in title}


def test_links_between_dashboards_lead_to_dashboards_and_variables_that_exist() -> None:
    known = {dashboard["uid"]: variables_of(dashboard).keys() for _, dashboard in dashboards(FOLDER)}
    for path, dashboard in dashboards(FOLDER):
        for uid, query in re.findall(r"/d/(hanhtrinh-[a-z-]+)(\?[^\"]*)?", json.dumps(dashboard)):
            assert uid in known, f"{path}: {uid}"
            chosen = set(re.findall(r"var-(\w+)=", query))
            assert chosen <= known[uid], f"{path}: {uid}{query}"
            same_language = uid.endswith(f"-{path.parent.name}")
            assert same_language or uid[:-3] == dashboard["uid"][:-3], f"{path}: {uid} is of the other language"


# What the database answers.


@pytest.mark.parametrize("query", PANELS, ids=str)
def test_every_panel_gets_the_columns_it_needs(at_work: Reader, query: Query) -> None:
    result = at_work.run(query)
    NEEDS[query.panel["type"]](query, result)
    if query.target["format"] == "table":
        check_columns_that_are_named(query.panel, result)


@pytest.mark.parametrize("query", ALL_QUERIES, ids=str)
def test_every_query_runs_on_empty_tables(of_nothing: Reader, query: Query) -> None:
    of_nothing.run(query)


@pytest.mark.parametrize("query", VARIABLES, ids=str)
def test_every_variable_finds_values(at_work: Reader, query: Query) -> None:
    result = at_work.run(query)
    assert result.rows
    if len(result.columns) > 1:
        assert list(result.columns) == ["__value", "__text"]
        assert all(value is not None and text is not None for value, text in result.rows)


HOSTILE = ("x') OR true; DROP TABLE fixes; --", "\\', ''); SELECT 1; --", 'a "quoted" name', "''")


@pytest.mark.parametrize("query", ALL_QUERIES, ids=str)
def test_every_choice_is_obeyed_and_none_breaks_out_of_its_quotes(at_work: Reader, query: Query) -> None:
    names = set(re.findall(r"\$\{(\w+):", query.sql))
    everything = at_work.run(query)
    for name in names:
        nobody = at_work.run(query, **{name: ["nobody"]})
        assert len(nobody.rows) <= len(everything.rows)
        for text in HOSTILE:
            assert at_work.run(query, **{name: [text]}).rows == nobody.rows, text
        if query.variables[name].get("multi"):
            assert at_work.run(query, **{name: list(HOSTILE[:2])}).rows == nobody.rows
