"""Names stand in the order of a Vietnamese dictionary."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from storage.reports.alphabet import vietnamese_order

PROVINCES = [
    "An Giang", "Bà Rịa", "Bắc Giang", "Bắc Ninh", "Cà Mau", "Cao Bằng", "Cần Thơ", "Dak", "Đà Nẵng", "Đắk Lắk",
    "Điện Biên", "Đồng Nai", "Đồng Tháp", "Gia Lai", "Hà Giang", "Hà Nội", "Hải Phòng", "Huế", "Khánh Hòa",
    "Lạng Sơn", "Lào Cai", "Ninh Bình", "Phú Thọ", "Quảng Ngãi", "Thanh Hóa", "Vĩnh Long",
]  # fmt: skip


def test_a_letter_with_a_mark_comes_after_the_one_without() -> None:
    letters = list("aăâbcdđeêghiklmnoôơpqrstuưvxy")
    assert sorted(random.Random(1).sample(letters, len(letters)), key=vietnamese_order) == letters


def test_tones_decide_only_where_the_letters_are_alike() -> None:
    assert sorted(["ma", "mạ", "má", "mã", "mả", "mà", "mab"], key=vietnamese_order) == [
        "ma", "mà", "mả", "mã", "má", "mạ", "mab",
    ]  # fmt: skip


def test_provinces_stand_where_a_reader_looks_for_them() -> None:
    mixed = random.Random(2).sample(PROVINCES, len(PROVINCES))
    assert sorted(mixed, key=vietnamese_order) == PROVINCES


@given(st.lists(st.text(max_size=8), max_size=12))
def test_any_texts_can_be_ordered_and_an_order_is_kept(texts: list[str]) -> None:
    once = sorted(texts, key=vietnamese_order)
    assert sorted(once, key=vietnamese_order) == once
