"""Commands on a terminal of 80 columns, and piped: what a person needs to go on is there whole."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from detectors.fix import to_us
from ingest.raw import RawMessage
from tests.pseudo_terminal import run_on_terminal
from tests.running_worker import PARTITIONS, RECEIVED_US, WorkerRig, journey, make_rig, message, rig
from tests.test_check_command import KNOWS_SPEED, SPEEDER, recording
from tests.timeline_files import HEADER, rows

__all__ = ["make_rig", "rig"]

REPOSITORY = Path(__file__).parents[1]
TRIP = journey("29B-00001", to_us(datetime(2026, 3, 4, 1, tzinfo=UTC)), [60] * 12, driver_id="D1")
ORDERS = "hanhtrinh/51B-\x1b[31m\x1b[2Jred[bold]"


def environment(rig: WorkerRig | None = None) -> dict[str, str]:
    own = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HANHTRINH_LOG_PARTITIONS": str(PARTITIONS)}
    return own if rig is None else {**own, "HANHTRINH_DATABASE_URL": rig.url}


async def on_terminal(*arguments: object, rig: WorkerRig | None = None, columns: int = 80) -> tuple[int, str]:
    """`hanhtrinh` with these arguments; its exit code and what it wrote to the terminal."""
    command = (sys.executable, "-m", "hanhtrinh", *map(str, arguments))
    code, text = await run_on_terminal(columns, *command, env=environment(rig))
    assert "\x1b" not in text
    assert "…" not in text
    return code, text


async def piped(*arguments: object, rig: WorkerRig | None = None) -> str:
    """What another program would read; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hanhtrinh", *map(str, arguments),
        env=environment(rig) | {"COLUMNS": "40"}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return out.decode()


@pytest.fixture
async def letters(rig: WorkerRig) -> list[tuple[str, str, str, str]]:
    """Id, topic, reason and detail of letters, the last received first: one is long, one has orders in its topic."""
    many = b"[" + b",".join(b'{"time":"2026-03-04T08:00:00+07:00","lat":91,"lon":105}' for _ in range(3)) + b"]"
    topics = {ORDERS: many, "hanhtrinh/29B-00002": b"{not json", "hanhtrinh/29B-00003": many}
    await rig.append(RawMessage(topic, text, RECEIVED_US + n) for n, (topic, text) in enumerate(topics.items()))
    await rig.work_off()
    long = "x[0] is given [red]; " * 20 + "the end"
    await rig.connection.execute("UPDATE dead_letters SET detail = %s WHERE reason = 'bad_json'", [long])
    return await rig.rows(
        "SELECT dead_letter_id, topic, reason, detail FROM dead_letters ORDER BY received_at DESC, dead_letter_id"
    )


@pytest.mark.parametrize("columns", [60, 80, 140])
async def test_letters_are_listed_with_an_id_that_can_be_shown(
    rig: WorkerRig, letters: list[tuple[str, str, str, str]], columns: int
) -> None:
    code, text = await on_terminal("dead", "list", rig=rig, columns=columns)
    assert code == 0
    ids = re.findall(r"\b[0-9a-f]{12}\b", text)
    assert sorted(ids) == sorted(letter_id[:12] for letter_id, *_ in letters)
    words = "".join(re.sub("[│┃]", " ", text).split())
    for _, topic, reason, detail in letters:
        assert topic.replace("\x1b", r"\x1b") in text
        assert reason in text
        if columns < 140:
            assert detail in text.replace("\n", "")
    assert words.count("never") == len(letters)
    code, whole = await on_terminal("dead", "show", ids[0], rig=rig)
    assert code == 0
    assert whole.startswith(f"id:       {ids[0]}")


async def test_the_topic_of_a_letter_gives_the_terminal_no_orders(
    rig: WorkerRig, letters: list[tuple[str, str, str, str]]
) -> None:
    letter_id = next(letter_id for letter_id, topic, *_ in letters if topic == ORDERS)
    _, text = await on_terminal("dead", "show", letter_id, rig=rig)
    assert r"topic:    hanhtrinh/51B-\x1b[31m\x1b[2Jred[bold]" in text.splitlines()


async def test_letters_that_are_piped_are_one_line_each_however_long(
    rig: WorkerRig, letters: list[tuple[str, str, str, str]]
) -> None:
    head, *lines, total = (await piped("dead", "list", rig=rig)).splitlines()
    assert head.split() == ["id", "received", "topic", "reason", "detail", "retried"]
    assert sorted(line.split()[0] for line in lines) == sorted(letter_id[:12] for letter_id, *_ in letters)
    for letter_id, topic, reason, detail in letters:
        line = next(line for line in lines if line.startswith(letter_id[:12]))
        assert topic.replace("\x1b", r"\x1b") in line
        assert reason in line
        assert detail in line
    assert total == f"{len(letters)} dead letters"


@pytest.mark.parametrize("columns", [40, 60, 80])
async def test_positions_show_what_waits_and_what_lies_outside_the_log(rig: WorkerRig, columns: int) -> None:
    await rig.append(message(fix) for fix in TRIP[:5])
    await rig.work_off()
    await rig.append(message(fix) for fix in TRIP[5:])
    why = "[red]was \\[poisoned"
    await rig.connection.execute(
        "INSERT INTO position_changes (log_id, partition, changed_by, why, from_offset, to_offset)"
        " SELECT log_id, 0, 'An [bold]', %s, 0, 0 FROM embedded_log",
        [why],
    )
    code, text = await on_terminal("position", "show", rig=rig, columns=columns)
    assert code == 0
    assert text.startswith("┏") == (columns == 80)
    numbers = [re.findall(r"\d+", part) for part in re.findall(r"^│.*?│.*?│.*?│.*?│ +\d+", text, re.MULTILINE)]
    blocks = re.findall(r"partition +(\d+)\nposition +(\d+)\nlog start +(\d+)\nlog end +(\d+)\nlag +(\d+)\n", text)
    assert ["5", "0", "12", "7"] in [list(each[1:]) for each in numbers + blocks]
    assert f", An [bold]: {why}" in text
    await rig.connection.execute("UPDATE embedded_log_partitions SET first_offset = 8 WHERE next_offset = 12")
    code, text = await on_terminal("position", "show", rig=rig, columns=columns)
    assert code == 1
    assert re.search(r"^event time +2026-03-04 08:00:40 \+07\n +OUTSIDE THE LOG$", text, re.MULTILINE)


@pytest.mark.parametrize("columns", [80, 120])
async def test_violations_are_shown_with_their_figures(tmp_path: Path, columns: int) -> None:
    path = recording(tmp_path, [fix._replace(vehicle_id="30E[red]00555") for fix in SPEEDER])
    code, text = await on_terminal("check", path, *KNOWS_SPEED, "--limit-kmh", 80, columns=columns)
    assert code == 0
    assert "30E[red]00555" in text
    assert "2025-03-03" in text
    assert "08:00:10 +07" in text
    assert "confirmed" in text
    figures = "95.0 km/h, limit 80 (given), +15.0"
    assert figures in text if columns == 80 else all(f" {word} " in text for word in figures.split())


async def test_hours_are_shown_with_their_figures(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("\n".join([HEADER, *rows("D5:00:00", driver_id="[red]D1")]) + "\n", encoding="utf-8")
    code, text = await on_terminal("hours", path)
    assert code == 0
    assert re.search(r"^driver +\[red\]D1$", text, re.MULTILINE)
    assert re.search(r"^figures +5:00:00 h driven, limit 4:00:00 h$", text, re.MULTILINE)


async def test_alert_channels_are_a_line_each_with_all_they_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operators = [f"OP-{n}" for n in range(10, 40)]
    (tmp_path / "alerts.toml").write_text(
        f"[[channel]]\nname = 'duty [red]'\nurl = 'json://localhost'\noperators = {operators}\n", encoding="utf-8"
    )
    monkeypatch.setenv("HANHTRINH_ALERTS_FILE", str(tmp_path / "alerts.toml"))
    told = f"operators: {', '.join(operators)}"
    _, line = (await piped("alerts", "list")).splitlines()
    assert line.startswith(f"duty [red]  {told}  at most ")
    _, text = await on_terminal("alerts", "list", columns=40)
    assert f"\nis told  {told}\n" in text
