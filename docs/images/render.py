"""A picture of a terminal: runs a program and writes its output, colours and all, as SVG.

    .venv/bin/python docs/images/render.py demo.svg hanhtrinh run --demo --vehicles 40 --for 60s

The file goes beside this script. The font is the reader's own: nothing is fetched when the picture is shown.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 150


def main() -> None:
    name, *command = sys.argv[1:]
    with tempfile.TemporaryDirectory() as data_dir:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HANHTRINH_DATA_DIR": data_dir,
            "FORCE_COLOR": "1",
            "COLUMNS": str(WIDTH),
        }
        output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ {' '.join(command)}", style="bold"))
    console.print(Text.from_ansi(output.rstrip()), soft_wrap=True)
    svg = console.export_svg(title=command[0], unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    target = Path(__file__).parent / name
    target.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
