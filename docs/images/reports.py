"""Pictures of reports: the first page of each spreadsheet as LibreOffice prints it.

    make agree ARGS="--vehicles 40 --interval 60"
    make report-images ARGS=agreement

The pictures go beside this script. Needs LibreOffice (soffice).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pypdfium2

_LONGER_SIDE_PX = 1_400
_COLORS = 32


def main() -> None:
    folder = Path(sys.argv[1])
    sheets = sorted(folder.glob("*.xlsx"))
    if not sheets:
        raise SystemExit(f"{folder}: no .xlsx files; `make agree` writes them")
    with tempfile.TemporaryDirectory() as home:
        command = [
            "soffice",
            f"-env:UserInstallation=file://{home}",
            "--headless",
            "--convert-to",
            "pdf",
            "--outdir",
            home,
        ]
        subprocess.run([*command, *map(str, sheets)], check=True, stdout=subprocess.DEVNULL)
        for sheet in sheets:
            _draw(Path(home) / f"{sheet.stem}.pdf", Path(__file__).parent / f"report-{sheet.stem}.png")


def _draw(pdf: Path, picture: Path) -> None:
    page = pypdfium2.PdfDocument(pdf)[0]
    image = page.render(scale=_LONGER_SIDE_PX / max(page.get_size())).to_pil()
    # A few shades of grey and one of blue: a third of the size.
    image.quantize(_COLORS).save(picture, optimize=True)


if __name__ == "__main__":
    main()
