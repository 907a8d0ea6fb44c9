"""The dashboards: the JSON is that of the code."""

from __future__ import annotations

from dashboards.catalogue import FOLDER, documents


def test_the_json_is_what_the_code_writes() -> None:
    written = {FOLDER / path: text for path, text in documents()}
    assert set(FOLDER.rglob("*.json")) == set(written), "run `make dashboards`"
    for path, text in written.items():
        assert path.read_text("utf-8") == text, f"{path}: run `make dashboards`"
