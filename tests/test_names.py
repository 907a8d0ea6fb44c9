"""Names as numbers: each name one number for good, whatever it looks like and however many are asked for at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import names as module
from detectors.columns import UNKNOWN
from detectors.names import Names

SOME = st.text(max_size=20) | st.text("ab", max_size=3) | st.text("AB-1", min_size=15, max_size=17) | st.none()


@given(st.lists(st.lists(SOME, max_size=30) | SOME, max_size=30))
def test_each_name_has_one_number_however_it_is_asked_for(questions: list[list[str | None] | str | None]) -> None:
    names, expected = Names(), dict[str, int]()
    for question in questions:
        asked = question if isinstance(question, list) else [question]
        for name in asked:
            assert names.known(name) == (UNKNOWN if name is None else expected.get(name, UNKNOWN))
        codes = names.codes(asked).tolist() if isinstance(question, list) else [names.code(question)]
        for name, code in zip(asked, codes, strict=True):
            if name is None:
                assert code == UNKNOWN
            else:
                assert expected.setdefault(name, code) == code
    assert sorted(expected.values()) == list(range(len(expected))) == list(range(len(names)))
    assert all(names.name(code) == name and names.known(name) == code for name, code in expected.items())
    assert names.codes(list(expected)).tolist() == list(expected.values())


def test_a_fleet_that_grows_keeps_its_numbers() -> None:
    names = Names()
    fleet = [f"51B-{number:05}" for number in range(20_000)] + [f"xe tải số {number}" for number in range(500)]
    for begin in range(0, len(fleet), 777):
        assert names.codes(fleet[begin : begin + 777]).tolist() == list(range(begin, min(begin + 777, len(fleet))))
    assert names.codes(fleet).tolist() == list(range(len(fleet)))
    assert [names.code(name) for name in fleet[::97]] == list(range(0, len(fleet), 97))
    assert names.known("51B-99999") == UNKNOWN


def test_names_that_want_the_same_place_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for factor in ("_A", "_B", "_C"):
        monkeypatch.setattr(module, factor, 0)
    names = Names()
    fleet = [f"V{number}" for number in range(1_500)]
    assert names.codes(fleet).tolist() == list(range(1_500))
    assert names.codes(fleet[::-1]).tolist() == list(range(1_500))[::-1]
    assert names.codes(["V7", "W", "V1499"]).tolist() == [7, 1_500, 1_499]
