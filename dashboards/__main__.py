"""Writes every dashboard as JSON, removes what no dashboard is written to any more, and writes the alarms' rules."""

from __future__ import annotations

from dashboards import alarm_files
from dashboards.catalogue import FOLDER, documents


def main() -> None:
    written = dict(documents())
    for path, text in written.items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text, "utf-8")
    for there in FOLDER.rglob("*.json"):
        if there.relative_to(FOLDER) not in written:
            there.unlink()
    for path, text in alarm_files.documents():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    print(f"{len(written)} dashboards written to {FOLDER}")


if __name__ == "__main__":
    main()
