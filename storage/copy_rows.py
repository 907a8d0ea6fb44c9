"""Rows in PostgreSQL's binary COPY form, made column by column.

A row is its number of fields, and of each field its length and its bytes; a length of -1 is NULL. Rows that are alike
in the lengths of their fields have one layout and are packed together: what a fleet's trackers say differs little, so
there are few. Row by row the same takes three times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 UTC in microseconds since 1970: binary timestamptz counts from there."""

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"

TEXT = "S"
"""The form of a field whose length is its own; other forms are those of numpy, big-endian."""


def texts_of(texts: Sequence[str | None]) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
    """Texts as bytes, and how many each has; None is empty and has -1."""
    with suppress(TypeError):
        # Ids of one fleet are alike in length, and none is missing: cut from one piece of bytes.
        together, sizes = "".join(texts), set(map(len, texts))  # type: ignore[arg-type]
        if together.isascii() and len(sizes) == 1 and (size := sizes.pop()) > 0:
            return np.frombuffer(together.encode(), f"S{size}"), np.full(len(texts), size, dtype=np.int64)
    encoded = [None if text is None else text.encode() for text in texts]
    lengths = np.array([-1 if text is None else len(text) for text in encoded], dtype=np.int64)
    return np.array([text or b"" for text in encoded], dtype=np.bytes_), lengths


def alike(*lengths: NDArray[np.int64]) -> Iterator[tuple[list[int], NDArray[np.intp] | slice]]:
    """The layouts among rows of these lengths, at least one row, and which rows have each."""
    layouts = np.stack(lengths)
    if (layouts == layouts[:, :1]).all():
        yield layouts[:, 0].tolist(), slice(None)
        return
    kinds, kind_of = np.unique(layouts, axis=1, return_inverse=True)
    for number, kind in enumerate(kinds.T.tolist()):
        yield kind, np.flatnonzero(kind_of == number)


def blank_row(forms: Mapping[str, str], sizes: Mapping[str, int]) -> NDArray[np.void]:
    """One row with the number of its fields and their lengths filled in. Field "x" is x, "x bytes" its length.

    `sizes` are those of texts, and -1 for what is NULL.
    """
    shape, lengths = [("fields", ">i2")], {}
    for name, form in forms.items():
        size = sizes[name] if name in sizes else np.dtype(form).itemsize
        lengths[f"{name} bytes"] = size
        shape.append((f"{name} bytes", ">i4"))
        if size > 0:
            shape.append((name, f"S{size}" if form == TEXT else form))
    row = np.zeros(1, dtype=np.dtype(shape))
    row["fields"] = len(forms)
    for name, size in lengths.items():
        row[name] = size
    return row


def filled(blank: NDArray[np.void], columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Rows like the blank one with these columns, times counted from PostgreSQL's epoch."""
    rows = np.repeat(blank, len(next(iter(columns.values()))))
    for name in blank.dtype.names or ():
        if name in columns:
            rows[name] = columns[name]
    return rows.tobytes()
