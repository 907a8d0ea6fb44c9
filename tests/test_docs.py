"""README and docs/: what they show runs, and the names in them exist. tests/test_docs_facts.py compares tables.

docs/alerts.md and docs/formats.md have tests of their own for what they show; here only their links and options.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml

from hanhtrinh.cli import COMMANDS, load_command
from tests.doc_pages import REPOSITORY, Block, anchors, blocks, calls, code_spans, links, name_of, pages
from tests.services.mosquitto import Mosquitto
from tests.services.process import free_port

TESTED_ELSEWHERE = {"docs/alerts.md", "docs/formats.md", "docs/add-a-detector.md"}
PAGES = [page for page in pages() if name_of(page) not in TESTED_ELSEWHERE]

LANGUAGES = {"sh", "json", "python", "sql", "csv", "text", "conf", "toml"}
MARKS = {"file", "output", "exit code", "not run", "needs"}
# Why a block is not run, and the words with which all its commands then begin.
NOT_RUN = {
    "runs until stopped": r"(HANHTRINH_METRICS_PORT=\d+ )?"
    r"hanhtrinh (bridge|work|notify|maintain|run|simulate .*--mqtt)\b",
    "asks a running process": r"curl \S+/(healthz|metrics)",
    "needs a violation": r"hanhtrinh excuse ",
    "needs stored fixes": r"hanhtrinh (rejudge |report journey )",
    "needs a log": r"hanhtrinh position (show|set)\b",
    "starts from nothing": r"git clone |cd |make ",
    "needs an administrator": r"CREATE ROLE|ALTER ROLE",
    "changes the code": r"make (format|lock|env-example|dashboards|dashboard-images|bench|fuzz)\b"
    r"|python -m |\.venv/bin/python docs/",
}
CHECKED_ONLY = ("make", "docker")
COMPOSE_OPTIONS = {
    "-d": 0,
    "--build": 0,
    "-T": 0,
    "--rm": 0,
    "--follow": 0,
    "--volume": 1,
    "--scale": 1,
    "--no-deps": 0,
}
COMPOSE_COMMANDS = {"up", "ps", "exec", "run", "logs", "restart", "stop", "start", "down"}


def is_run(block: Block) -> bool:
    return block.language == "sh" and "not run" not in block.marks and block.commands[0][0] not in CHECKED_ONLY


@pytest.fixture
def user(tmp_path: Path, postgres_url: str, mosquitto: Mosquitto) -> dict[str, str]:
    """The environment of a stranger who has installed the program and has a broker and a database."""
    home = tmp_path / "bin"
    home.mkdir()
    program = home / "hanhtrinh"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hanhtrinh "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {
        **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")},
        "PATH": f"{home}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "HANHTRINH_DATABASE_URL": postgres_url,
        "HANHTRINH_MQTT_HOST": mosquitto.host,
        "HANHTRINH_MQTT_PORT": str(mosquitto.port),
        "MQTT_TRACKER_PASSWORD": mosquitto.password,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the stranger stands."""
    path = tmp_path / "work"
    path.mkdir()
    shutil.copy(REPOSITORY / ".env.example", path)
    return path


def run(block: Block, folder: Path, user: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a shell block as it stands; only the broker's address is that of the test's broker."""
    script = block.text.replace("-h localhost -p 1883", '-h 127.0.0.1 -p "$BROKER_PORT"')
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=user,
        capture_output=True,
        text=True,
        timeout=120,
    )
    expected = int(block.marks.get("exit code", 0))
    assert done.returncode == expected, f"{block}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def same(shown: Block, done: subprocess.CompletedProcess[str]) -> None:
    printed = done.stderr if shown.marks["output"] == "stderr" else done.stdout
    lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
    assert lines == [line.rstrip() for line in shown.text.strip("\n").splitlines()], f"{shown} shows something else"


def walk(chosen: list[Block], folder: Path, user: dict[str, str]) -> None:
    """What a reader does from the top of the page: make the files, run the commands, look at the output."""
    done: subprocess.CompletedProcess[str] | None = None
    for block in chosen:
        if "file" in block.marks:
            (folder / block.marks["file"]).write_text(block.text)
        elif "output" in block.marks:
            assert done is not None, f"{block}: there is no run block before it"
            same(block, done)
        elif "not run" in block.marks:
            continue
        elif is_run(block):
            done = run(block, folder, user)
        elif block.language == "python":
            paths = user | {"PYTHONPATH": str(REPOSITORY)}
            subprocess.run([sys.executable, "-c", block.text], cwd=folder, env=paths, check=True, timeout=60)
        elif block.language == "sql":
            with psycopg.connect(user["HANHTRINH_DATABASE_URL"]) as connection:
                connection.execute(block.text.encode())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_shows_runs_from_top_to_bottom(
    page: Path, folder: Path, user: dict[str, str], mosquitto: Mosquitto
) -> None:
    user["BROKER_PORT"] = str(mosquitto.password_port)
    walk([block for block in blocks(page) if "needs" not in block.marks], folder, user)


def test_the_recordings_are_judged_as_the_pages_say(
    folder: Path, user: dict[str, str], shared_data: Path, mosquitto: Mosquitto
) -> None:
    user["RECORDINGS"] = str(shared_data)
    needing = [block for page in PAGES for block in blocks(page) if block.marks.get("needs") == "recordings"]
    assert len(needing) > 4
    walk(needing, folder, user)


@contextmanager
def running(command: str, user: dict[str, str], folder: Path) -> Iterator[None]:
    """A process of the program, ended with SIGTERM."""
    process = subprocess.Popen(
        ["hanhtrinh", command],
        env={**user, "HANHTRINH_METRICS_PORT": str(free_port())},
        cwd=folder,
        executable=shutil.which("hanhtrinh", path=user["PATH"]),
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_tracker_connected_as_described_is_found_by_the_described_query(
    folder: Path, user: dict[str, str], mosquitto: Mosquitto
) -> None:
    user["BROKER_PORT"] = str(mosquitto.password_port)
    here = blocks(REPOSITORY / "docs" / "install.md")
    (publish,) = [block for block in here if "mosquitto_pub" in block.text]
    query = next(block for block in here if block.language == "sql")
    with running("bridge", user, folder), running("work", user, folder):
        deadline = time.monotonic() + 30
        found: list[tuple[object, ...]] = []
        while not found and time.monotonic() < deadline:
            run(publish, folder, user)
            time.sleep(1)
            with psycopg.connect(user["HANHTRINH_DATABASE_URL"]) as connection:
                found = connection.execute(query.text.encode()).fetchall()
    assert found[0][0] == "51B-12345"
    assert found[0][2:] == (63.5, 0)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{name_of(page)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)}: {link}: headings are {sorted(anchors(target))}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_name_their_language_and_bear_known_marks_only(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block}: {block.language!r}"
        assert block.marks.keys() <= MARKS, block
        if block.language == "json":
            json.loads(block.text)
        if "not run" in block.marks:
            allowed = NOT_RUN[block.marks["not run"]]
            for words in block.commands:
                assert re.match(allowed, " ".join(words)), f"{block}: {' '.join(words)}"


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_command_and_option_exists(page: Path) -> None:
    every_option = {option for name in available() for option in options([name])}
    for words in calls(page, "hanhtrinh"):
        if words[0].startswith("-") or not re.fullmatch(r"[a-z]+", words[0]):
            continue
        assert words[0] in COMMANDS, f"{name_of(page)}: hanhtrinh {' '.join(words)}"
        for word in words[1:]:
            if word.startswith("-"):
                assert word.partition("=")[0] in options(words), f"{name_of(page)}: hanhtrinh {' '.join(words)}"
    for span in code_spans(page):
        if span.startswith("--"):
            known = every_option | set(COMPOSE_OPTIONS)
            assert span.split()[0].partition("=")[0] in known, f"{name_of(page)}: {span}"


def available() -> list[str]:
    return [
        name
        for name in COMMANDS
        if (REPOSITORY / "hanhtrinh" / "commands" / f"{'import_' if name == 'import' else name}.py").exists()
    ]


def options(words: list[str]) -> set[str]:
    """The options of the command that these words call; of all of a group when only that is named."""
    command = load_command(words[0])
    members = getattr(command, "commands", {})
    if members and len(words) > 1:
        assert words[1] in members, f"hanhtrinh {' '.join(words)}"
    named = [members[words[1]]] if members and len(words) > 1 else [command, *members.values()]
    return {option for each in named for parameter in each.params for option in parameter.opts} | {"--help"}


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for words in calls(page, "make"):
        named = [word for word in words if not re.match(r"^[A-Z]+=", word)]
        assert named, f"{name_of(page)}: make {' '.join(words)}"
        assert set(named) <= targets, f"{name_of(page)}: make {' '.join(words)}"


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_docker_compose_is_called_with_services_that_exist(page: Path) -> None:
    services = set(yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"])
    for block in blocks(page):
        for words in block.commands if block.language == "sh" else []:
            if words[:2] != ["docker", "compose"]:
                continue
            assert words[2] in COMPOSE_COMMANDS, block
            rest, named = words[3:], list[str]()
            while rest:
                word = rest.pop(0)
                if word.startswith("-"):
                    value = rest.pop(0) if COMPOSE_OPTIONS[word] else ""
                    named += [value.partition("=")[0]] if word == "--scale" else []
                elif words[2] in ("exec", "run"):
                    named.append(word)
                    assert rest, f"{block}: nothing to run"
                    if word == "migrate":
                        assert rest[0] in COMMANDS, block
                    break
                else:
                    named.append(word)
            assert set(named) <= services, f"{block}: {named}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_and_settings_that_are_named_exist(page: Path) -> None:
    settings = re.findall(r"^#(HANHTRINH_\w+)=", (REPOSITORY / ".env.example").read_text(), re.MULTILINE)
    for name in re.findall(r"HANHTRINH_[A-Z0-9_]*[A-Z0-9]", page.read_text("utf-8")):
        assert name in settings or name == "HANHTRINH_TEST_DATABASE_URL", f"{name_of(page)}: {name}"
    for span in code_spans(page):
        if re.match(
            r"(tests|docs|detectors|ingest|storage|alerts|hanhtrinh|deploy|dashboards|benchmarks)/[\w./-]*$", span
        ):
            assert (REPOSITORY / span).exists(), f"{name_of(page)}: {span}"
