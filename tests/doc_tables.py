"""Tables of the pages that are made from the program: `python -m tests.doc_tables` writes them, a test compares."""

from __future__ import annotations

from collections.abc import Callable

from hanhtrinh.settings import PREFIX, Settings
from tests.doc_pages import pages


def filled(text: str) -> str:
    """The page with its generated tables as they must be now."""
    for name, make in _TABLES.items():
        begin, end = f"<!-- table: {name} -->\n", f"<!-- end of table: {name} -->"
        before, found, rest = text.partition(begin)
        if found:
            text = f"{before}{begin}{make()}{end}{rest.partition(end)[2]}"
    return text


def _settings() -> str:
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_shown(field.default)} | {field.description or ''} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return "\n| variable | default | meaning |\n|---|---|---|\n" + "".join(rows) + "\n"


def _shown(default: object) -> str:
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{','.join(default)}`" if isinstance(default, tuple) else f"`{default}`"


_TABLES: dict[str, Callable[[], str]] = {"settings": _settings}


def main() -> None:
    for page in pages():
        text = page.read_text("utf-8")
        if filled(text) != text:
            page.write_text(filled(text), "utf-8")


if __name__ == "__main__":
    main()
