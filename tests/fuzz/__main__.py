"""`make fuzz`: every target under a coverage-guided fuzzer. Exit code 1 when something is found."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.targets import Target, targets

_SECONDS_PER_INPUT = 20


@dataclass(frozen=True)
class Result:
    """What became of one target."""

    target: str
    inputs: int
    seconds: float
    edges: int
    slowest_s: int
    """The slowest input, whole seconds as the fuzzer tells it."""
    peak_mib: int
    findings: list[str]
    """Files with the inputs that broke it."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Throw bytes at every reader.")
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="N", help="of all targets together")
    parser.add_argument("--seed", type=int, default=7, help="of the random numbers (default 7)")
    parser.add_argument("--only", metavar="WORD", default="", help="the targets whose name has this word")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder for report.json, logs and findings")
    chosen = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    shutil.rmtree(chosen.out, ignore_errors=True)
    chosen.out.mkdir(parents=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="hanhtrinh-fuzz-") as folder:
        picked = [each for each in targets(Path(folder)) if chosen.only.lower() in each.name.lower()]
        if not picked:
            parser.error(f"no target has {chosen.only!r} in its name")
        shares = sum(each.share for each in picked)

        def fuzzed(target: Target) -> Result:
            inputs = -(-chosen.inputs * target.share // shares)
            return _fuzz(target, inputs, chosen.seed, Path(folder), chosen.out)

        with ThreadPoolExecutor(2) as pool:
            for result in pool.map(fuzzed, picked):
                results.append(result)
                console.print(f"{result.target}: {result.inputs} inputs, {len(result.findings)} findings")
    found = {"seed": chosen.seed, "inputs": sum(each.inputs for each in results), "targets": list(map(asdict, results))}
    (chosen.out / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    console.print(_table(results))
    for each in results:
        for file in each.findings:
            console.print(f"{each.target}: {file}", soft_wrap=True)
    console.print(f"{found['inputs']} inputs, seed {chosen.seed}; written to {chosen.out / 'report.json'}")
    sys.exit(1 if any(each.findings for each in results) else 0)


def _fuzz(target: Target, inputs: int, seed: int, folder: Path, out: Path) -> Result:
    slug = re.sub(r"\W+", "-", target.name.lower())
    home = folder / slug
    corpus = home / "corpus"
    corpus.mkdir(parents=True)
    for number, content in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(content)
    words = home / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    findings, log = out / slug, out / f"{slug}.log"
    findings.mkdir()
    started = time.monotonic()
    with log.open("wb") as file:
        done = subprocess.run(
            [
                sys.executable, "-m", "tests.fuzz.child", target.name, str(home), f"-runs={inputs}", f"-seed={seed}",
                f"-timeout={_SECONDS_PER_INPUT}", "-rss_limit_mb=3072", "-max_len=8192", "-print_final_stats=1",
                "-report_slow_units=5", f"-artifact_prefix={findings}/", str(corpus),
                *([f"-dict={words}"] if target.words else []),
            ],
            stdout=file, stderr=file, check=False,
        )  # fmt: skip
    seconds = time.monotonic() - started
    text = log.read_text(errors="replace")
    broken = sorted(str(path) for path in findings.iterdir() if not path.name.startswith("slow-unit"))
    if done.returncode != 0 and not broken:
        broken = [f"{log} (exit code {done.returncode})"]
    return Result(
        target.name,
        _last(r"number_of_executed_units: (\d+)", text) or _last(r"^#(\d+)", text),
        round(seconds, 1),
        _last(r"cov: (\d+)", text),
        _last(r"slowest_unit_time_sec: *(\d+)", text),
        _last(r"peak_rss_mb: *(\d+)", text),
        broken,
    )


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text, re.MULTILINE)
    return int(found[-1]) if found else 0


def _table(results: list[Result]) -> Table:
    table = Table()
    for name in ("target", "inputs", "seconds", "edges", "slowest s", "peak MiB", "findings"):
        table.add_column(name, justify="left" if name == "target" else "right")
    for each in results:
        table.add_row(
            each.target, f"{each.inputs:,}", f"{each.seconds:g}", str(each.edges), str(each.slowest_s),
            str(each.peak_mib), str(len(each.findings)),
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
