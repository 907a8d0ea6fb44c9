"""Names of vehicles and drivers as small numbers."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.columns import UNKNOWN, Code, grown, room_for

Keys = NDArray[np.uint64]
"""Plain names as two words each, filled up with zeros."""

_PLAIN_BYTES = 16
_TWO_WORDS = struct.Struct("<QQ")
_WORD = 2**64 - 1
_FREE = -1
# Odd and different in every process, as Python's own hash is: nobody can make up names that all land in one place.
_A, _B, _C = (hash(text) & _WORD | 1 for text in ("first", "second", "third"))


class Names:
    """Gives each name a small number, once and for good: about 160 bytes a name of up to 15 characters (law 7).

    Thousands of names are looked up at once. In a dict of a million each one waits for memory four times over; here all
    of them wait together. Names of at most 16 ASCII characters, as nearly all are, stand in a table of their own; a
    dict holds the others.
    """

    __slots__ = ("_keys", "_odd", "_plain", "_shift", "_slots", "names")

    def __init__(self) -> None:
        self.names: list[str] = []
        self._odd: dict[str, int] = {}
        self._plain = 0
        """Names in the table: never more than half of its slots, so that a search ends soon."""
        self._keys: Keys = np.zeros((0, 2), dtype=np.uint64)
        """By code; zeros for a name that is not plain."""
        self._slots: Code = np.full(1024, _FREE, dtype=np.int32)
        self._shift = 64 - 10

    def __len__(self) -> int:
        return len(self.names)

    def code(self, name: str | None) -> int:
        """The code of a name, new if need be; None is UNKNOWN."""
        if name is None:
            return UNKNOWN
        if not _is_plain(name):
            code = self._odd.setdefault(name, len(self.names))
            if code == len(self.names):
                self.names.append(name)
            return code
        key = _key(name)
        slot, code = self._find(name, key)
        if code != _FREE:
            return code
        code = len(self.names)
        self.names.append(name)
        if code >= len(self._keys):
            size = room_for(code + 1, len(self._keys))
            self._keys = grown(self._keys.reshape(-1), 2 * size, 0).reshape(-1, 2)
        self._keys[code] = key
        self._slots[slot] = code
        self._plain += 1
        if 2 * self._plain > len(self._slots):
            self._make_room()
        return code

    def known(self, name: str | None) -> int:
        """The code of a name, UNKNOWN when it has none."""
        if name is None:
            return UNKNOWN
        return self._find(name, _key(name))[1] if _is_plain(name) else self._odd.get(name, UNKNOWN)

    def codes(self, names: Sequence[str | None]) -> Code:
        """The codes of many names, in their order."""
        keys = _keys_of(names)
        if keys is None:
            plain = [row for row, name in enumerate(names) if name is not None and _is_plain(name)]
            if len(plain) == len(names):
                return np.fromiter(map(self.code, names), np.int32, len(names))
            codes = np.full(len(names), UNKNOWN, dtype=np.int32)
            codes[plain] = self.codes([names[row] for row in plain])
            for row in set(range(len(names))).difference(plain):
                codes[row] = self.code(names[row])
            return codes
        codes = self._search(keys)
        for row in np.flatnonzero(codes == _FREE).tolist():
            codes[row] = self.code(names[row])
        return codes

    def name(self, code: int) -> str | None:
        """The name of a code; None for UNKNOWN."""
        return None if code == UNKNOWN else self.names[code]

    def _find(self, name: str, key: tuple[int, int]) -> tuple[int, int]:
        """Where a plain name is, or would be, and its code."""
        mixed = key[0] * _A ^ key[1] * _B
        mixed = (mixed & _WORD) ^ (mixed & _WORD) >> 32
        slot, last = (mixed * _C & _WORD) >> self._shift, len(self._slots) - 1
        while True:
            code = int(self._slots[slot])
            if code == _FREE or self.names[code] == name:
                return slot, code
            slot = slot + 1 & last

    def _search(self, keys: Keys) -> Code:
        """The codes of keys, _FREE for those that are not there."""
        slots = self._home(keys)
        codes: Code = self._slots[slots]
        # Most are found, or known to be missing, at the first place.
        left = np.flatnonzero((codes != _FREE) & (self._keys[codes] != keys).any(axis=1)) if len(self._keys) else _NONE
        while len(left):
            slots[left] = slots[left] + 1 & len(self._slots) - 1
            codes[left] = found = self._slots[slots[left]]
            left = left[(found != _FREE) & (self._keys[found] != keys[left]).any(axis=1)]
        return codes

    def _home(self, keys: Keys) -> NDArray[np.int64]:
        """The first place to look for each key."""
        mixed = keys[:, 0] * np.uint64(_A) ^ keys[:, 1] * np.uint64(_B)
        mixed ^= mixed >> np.uint64(32)
        return (mixed * np.uint64(_C) >> np.uint64(self._shift)).astype(np.int64)

    def _make_room(self) -> None:
        """Twice as many slots, and everybody in a new one."""
        self._slots = grown(np.empty(0, np.int32), 2 * len(self._slots), _FREE)
        self._shift -= 1
        codes = np.flatnonzero(self._keys[: len(self.names)].any(axis=1)).astype(np.int32)
        slots = self._home(self._keys[codes])
        while len(codes):
            free = self._slots[slots] == _FREE
            # Of several that want a slot the last one is written; the others go on.
            self._slots[slots[free]] = codes[free]
            homeless = self._slots[slots] != codes
            codes, slots = codes[homeless], slots[homeless] + 1 & len(self._slots) - 1


_NONE = np.empty(0, dtype=np.intp)


def _is_plain(name: str) -> bool:
    return 0 < len(name) <= _PLAIN_BYTES and name.isascii() and "\0" not in name


def _key(name: str) -> tuple[int, int]:
    first, second = _TWO_WORDS.unpack(name.encode().ljust(_PLAIN_BYTES, b"\0"))
    return first, second


def _keys_of(names: Sequence[str | None]) -> Keys | None:
    """The keys of these names if all of them are plain."""
    try:
        together = "".join(names)  # type: ignore[arg-type]
    except TypeError:
        # Somebody is nobody.
        return None
    sizes = set(map(len, names))  # type: ignore[arg-type]
    if not sizes or min(sizes) == 0 or max(sizes) > _PLAIN_BYTES or not together.isascii() or "\0" in together:
        return None
    if len(sizes) == 1:
        texts = np.frombuffer(together.encode(), f"S{sizes.pop()}").astype(f"S{_PLAIN_BYTES}")
    else:
        texts = np.array(names, dtype=f"S{_PLAIN_BYTES}")
    return texts.view("<u8").reshape(-1, 2)
