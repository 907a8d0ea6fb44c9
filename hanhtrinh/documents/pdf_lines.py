"""The lines of a report on pages: as many on each as it holds, drawn one by one.

The tables of reportlab copy all that is left at every page break: 4,000 lines took 21 s, 8,000 four times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from reportlab.lib import colors
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.textobject import PDFTextObject
from reportlab.platypus import Flowable, Table

FONT, BOLD = "SourceSansPro-Regular", "SourceSansPro-Bold"
SIZE = 7.5
RULE = 0.4
"""Width of the lines between cells."""
SIDE = 2.0
"""Room left and right of a text."""
_LEADING = SIZE * 1.25
_ABOVE = 3.0
"""Room above and below."""
_REMEMBERED = 10_000


class Piece(NamedTuple):
    """A text that fits into its column, and how wide it is."""

    text: str
    width: float


class Line(NamedTuple):
    """The texts of a line, those that are too long for their column broken."""

    cells: Sequence[Sequence[Piece]]
    bold: bool

    @property
    def height(self) -> float:
        return max(map(len, self.cells)) * _LEADING + 2 * _ABOVE


def line_of(texts: Sequence[str], widths: Sequence[float], *, bold: bool = False) -> Line:
    """A line of these texts in columns so wide."""
    return Line([_broken(text, width, bold) for text, width in zip(texts, widths, strict=True)], bold)


class Lines(Flowable):
    """Lines below a head that is repeated on every page."""

    def __init__(
        self, head: Table, widths: Sequence[float], right: Sequence[bool], lines: Sequence[Line], first: int = 0,
        end: int | None = None,
    ) -> None:  # fmt: skip
        """`right` says which columns stand at the right; lines from `first` to before `end` are drawn."""
        super().__init__()
        self._head, self._widths, self._right, self._lines = head, widths, right, lines
        self._first, self._end = first, len(lines) if end is None else end

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:
        """Its size. Of many lines only as many are measured as any page could hold."""
        _, self._head_height = self._head.wrap(aW, aH)
        height = self._head_height
        for number in range(self._first, self._end):
            height += self._lines[number].height
            if height > aH:
                break
        return sum(self._widths), height

    def split(self, aW: float, aH: float) -> list[Flowable]:
        """What fits, and the rest; nothing when not even one line fits."""
        height, at = self._head_height, self._first
        while at < self._end and height + self._lines[at].height <= aH:
            height += self._lines[at].height
            at += 1
        if at == self._first:
            return []
        pieces = [(self._first, at), (at, self._end)]
        return [
            Lines(self._head, self._widths, self._right, self._lines, *piece) for piece in pieces if piece[0] < piece[1]
        ]

    def draw(self) -> None:
        canvas, lines = self.canv, self._lines[self._first : self._end]
        heights = [line.height for line in lines]
        top = sum(heights)
        self._head.drawOn(canvas, 0, top)
        edges = [0.0, *accumulate(self._widths)]
        canvas.setStrokeColor(colors.grey)
        canvas.setLineWidth(RULE)
        bottoms = [top - done for done in accumulate(heights)]
        for line, height, bottom in zip(lines, heights, bottoms, strict=True):
            if line.bold:
                canvas.setFillColor(colors.whitesmoke)
                canvas.rect(0, bottom, edges[-1], height, stroke=0, fill=1)
        canvas.setFillColor(colors.black)
        for bold in (False, True):
            # One text with many origins: as many texts of their own would cost more than all that is in them.
            text = canvas.beginText()
            text.setFont(BOLD if bold else FONT, SIZE)
            for line, height, bottom in zip(lines, heights, bottoms, strict=True):
                if line.bold == bold:
                    self._write(text, line, edges, bottom + height / 2)
            canvas.drawText(text)
        canvas.lines([(0, bottom, edges[-1], bottom) for bottom in bottoms])
        canvas.lines([(edge, 0, edge, top) for edge in edges])

    def _write(self, text: PDFTextObject, line: Line, edges: Sequence[float], middle: float) -> None:
        for number, pieces in enumerate(line.cells):
            baseline = middle + (len(pieces) - 1) * _LEADING / 2 - SIZE * 0.35
            for piece in pieces:
                if piece.text:
                    right = edges[number + 1] - SIDE - piece.width
                    text.setTextOrigin(right if self._right[number] else edges[number] + SIDE, baseline)
                    text.textOut(piece.text)
                baseline -= _LEADING


@lru_cache(_REMEMBERED)
def _broken(text: str, width: float, bold: bool) -> Sequence[Piece]:
    font, room = BOLD if bold else FONT, width - 2 * SIDE
    whole = Piece(text, stringWidth(text, font, SIZE) if text else 0.0)
    if whole.width <= room:
        return (whole,)
    pieces = [piece for line in simpleSplit(text, font, SIZE, room) for piece in _cut(line, font, room)]
    return [Piece(piece, stringWidth(piece, font, SIZE)) for piece in pieces]


def _cut(word: str, font: str, room: float) -> list[str]:
    """A word that is longer than its column, in pieces that are not."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and stringWidth(pieces[-1] + letter, font, SIZE) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces
