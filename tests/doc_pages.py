"""The pages for users as data: blocks with their marks, links, and the commands in them.

A mark is a comment on the line before a block: `file: NAME` (the block is that file), `output` or `output: stderr`
(what the block before it printed), `exit code: N`, `not run: REASON`, `needs: recordings`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

_BLOCK = re.compile(
    r"(?P<marks>(?:^<!-- .*? -->\n)*)^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_MARK = re.compile(r"<!-- (.*?)(?:: (.*))? -->")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str]

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a shell block, continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [shlex.split(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page for users."""
    return [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(
            name_of(page),
            text.count("\n", 0, match.start("text")),
            match["language"],
            match["text"],
            {mark[1]: mark[2] or "" for mark in _MARK.finditer(match["marks"])},
        )
        for match in _BLOCK.finditer(text)
    ]


def links(page: Path) -> list[str]:
    """The targets of all links and pictures outside of blocks."""
    return _LINK.findall(_BLOCK.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_spans(page: Path) -> list[str]:
    """What stands between single backquotes outside of blocks."""
    return _CODE.findall(_BLOCK.sub("", page.read_text("utf-8")))


def calls(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments of every call of a program in a page, in blocks and in the text."""
    for block in blocks(page):
        if block.language == "sh":
            yield from filter(None, (arguments(words, program) for words in block.commands))
    for span in code_spans(page):
        words = _words(span)
        while words and re.match(r"^[A-Z_]+=", words[0]):
            words = words[1:]
        if words[:1] == [program] and words[1:]:
            yield words[1:]


def arguments(words: list[str], program: str) -> list[str]:
    """What follows the program in a command; empty when it is another program's."""
    return words[words.index(program) + 1 :] if program in words else []


def _words(span: str) -> list[str]:
    try:
        return shlex.split(span)
    except ValueError:
        return span.split()


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head; cells stripped."""
    below = text.split(f"\n## {heading}\n", 1)[1]
    rows = re.search(r"^\|.*\n\|[-| ]+\n((?:\|.*\n)+)", below, re.MULTILINE)
    assert rows is not None, heading
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in rows[1].splitlines()]
