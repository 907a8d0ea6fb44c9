"""The order of Vietnamese words: sorted by code points, Đà Nẵng would come after Vĩnh Long."""

from __future__ import annotations

import unicodedata

_LETTERS = "aăâbcdđeêfghijklmnoôơpqrstuưvwxyz"
_TONES = "\u0300\u0309\u0303\u0301\u0323"
"""Huyền, hỏi, ngã, sắc, nặng; a syllable without comes before."""


def vietnamese_order(text: str) -> tuple[list[tuple[bool, int]], list[int]]:
    """What to sort a text by: its letters, and the tones only where all letters are alike. Case does not count."""
    letters: list[str] = []
    tones: list[int] = []
    for character in unicodedata.normalize("NFD", text.casefold()):
        if character in _TONES:
            tones[-1:] = [_TONES.index(character) + 1]
        elif unicodedata.combining(character) and letters:
            letters[-1] = unicodedata.normalize("NFC", letters[-1] + character)
        else:
            letters.append(character)
            tones.append(0)
    return [_rank(letter) for letter in letters], tones


def _rank(letter: str) -> tuple[bool, int]:
    # Spaces and digits come before letters, so that a shorter word comes before a longer one.
    return (True, _LETTERS.index(letter)) if letter in _LETTERS else (False, ord(letter[0]))
