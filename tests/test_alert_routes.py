"""The alerts file: what it may say, and the line that a mistake in it becomes."""

from __future__ import annotations

import asyncio
import io
import json
import tomllib
from datetime import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from alerts.apprise import AppriseChannel
from alerts.hours import Hours
from alerts.route import PacedRoute, Route
from hanhtrinh.alert_routes import build_routes
from hanhtrinh.cli import app
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.settings import SettingsError, load_settings
from tests.doc_pages import REPOSITORY, blocks
from tests.mail_server import mail_server

MAIL = "json://localhost"
PACK = load_pack()


@pytest.fixture
def alerts_file(tmp_path: Path) -> Path:
    return tmp_path / "alerts.toml"


@pytest.fixture
def duty_file(alerts_file: Path) -> Path:
    alerts_file.write_text("[[channel]]\nname = 'duty'\nurl = '${OFFICE}'\n", encoding="utf-8")
    return alerts_file


def documented_file() -> str:
    (block,) = [each for each in blocks(REPOSITORY / "docs" / "alerts.md") if each.marks.get("file") == "alerts.toml"]
    return block.text


def routes_of(text: str, alerts_file: Path, **settings: object) -> list[Route | PacedRoute]:
    alerts_file.write_text(text, encoding="utf-8")
    return build_routes(load_settings(alerts_file=alerts_file, **settings), PACK, Console(file=io.StringIO()))


def test_the_documented_file_is_read_with_passwords_from_the_environment(
    alerts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_USER", "office")
    monkeypatch.setenv("MAIL_PASSWORD", "p@ss")
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "123456789:abcdefghijklmnopqrstuvwxyz123456789")
    routes = routes_of(
        documented_file(), alerts_file,
        alert_webhook_url="http://localhost/x", alert_webhook_secret="s",
    )  # fmt: skip
    by_name = {route.channel.name: route for route in routes}
    assert list(by_name) == ["webhook", "duty officer", "night shift", "operators"]
    assert by_name["webhook"].audience.kinds == {"speeding", "continuous_driving"}
    duty, night = by_name["duty officer"], by_name["night shift"]
    assert isinstance(duty, PacedRoute)
    assert isinstance(duty.channel, AppriseChannel)
    assert duty.audience.bands == {"20-35", "over 35"}
    assert (duty.pace.quiet, duty.pace.most_per_minute, duty.pace.zone) == (Hours(time(22), time(6)), 10, PACK.zone)
    assert night.audience.hours == Hours(time(22), time(6))
    assert by_name["operators"].audience.to_operator


def test_the_example_for_docker_is_the_documented_file() -> None:
    example = (REPOSITORY / "deploy" / "alerts" / "alerts.example.toml").read_text("utf-8")
    assert tomllib.loads(example) == tomllib.loads(documented_file())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[channel]]\nname = 'a'\nurl = 'nosuch://x'", "channel 'a': url: is no address that Apprise understands"),
        ("[[channel]]\nname = 'a'\nurl = 'json://${NOT_THERE}'", "channel 'a': url: the environment has no NOT_THERE"),
        (f"[[channel]]\nname = 'a'\nurl = '{MAIL}'\nto = 'operator'", "url and to exclude each other"),
        (f"[[channel]]\nname = 'a'\nurl = '{MAIL}'\nquiet = '22-6'", "channel 'a': quiet: expected local hours like"),
        (f"[[channel]]\nname = 'a'\nurl = '{MAIL}'\nkinds = ['speding']", "kinds: 'speding' is none of"),
        (f"[[channel]]\nname = 'a'\nurl = '{MAIL}'\nbands = ['35+']", "bands: '35+' is none of 10-20, 20-35, 5-10"),
        (f"[[channel]]\nname = 'a'\nurl = '{MAIL}'\nkind = ['speeding']", "channel 'a': kind: Extra inputs"),
        (f"[[channel]]\nname = 'a'\nurl = '{MAIL}'\nmost_per_minute = 0", "most_per_minute: Input should be greater"),
        (f"[[channel]]\nname = 'a'\nurl = '{MAIL}'\n" * 2, "channel 'a' is there twice"),
        ("[[channel]]\nname = 'mqtt'\nstages = ['opened']", "'mqtt' has neither url nor to"),
        ("[[channel]]\nname = 'terminal'\nquiet = '22:00-06:00'", "quiet and most_per_minute are for channels with"),
        (f"[[channel]]\nname = 'terminal'\nurl = '{MAIL}'", "'terminal' is one of the settings'"),
        ("[[channel]]\nurl = 'json://user:secret@host'", "channel 'number 1': name: Field required"),
        ("[channel", "not TOML"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_channel_and_key(text: str, said: str, alerts_file: Path) -> None:
    with pytest.raises(SettingsError) as mistake:
        routes_of(text, alerts_file, alert_terminal=True)
    assert said in str(mistake.value)
    assert str(alerts_file) in str(mistake.value)
    assert "\n" not in str(mistake.value)
    assert "secret" not in str(mistake.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"HANHTRINH_ALERTS_FILE .*nowhere.toml: No such file"):
        build_routes(load_settings(alerts_file=tmp_path / "nowhere.toml"), PACK)


async def test_the_test_command_sends_a_letter_and_says_whether_it_was_taken(
    duty_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANHTRINH_ALERTS_FILE", str(duty_file))
    async with mail_server() as office:
        monkeypatch.setenv("OFFICE", office.address())

        def run(*arguments: str) -> tuple[int, str]:
            result = CliRunner().invoke(app, ["alerts", *arguments])
            return result.exit_code, result.output.splitlines()[-1]

        assert await asyncio.to_thread(run, "test", "duty") == (0, "duty: taken")
        ((_, title, _),) = office.told
        assert title == "TEST | Tin thử kênh cảnh báo: không có vi phạm nào xảy ra"
        office.answer = lambda: "550 no such mailbox"
        code, output = await asyncio.to_thread(run, "test", "duty")
    assert code == 1
    assert output.startswith("duty: not taken: mailto: ")


def test_the_list_command_tells_every_channel_with_what_it_is_told(
    alerts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts_file.write_text(
        f"[[channel]]\nname = 'duty'\nurl = '{MAIL}'\nkinds = ['speeding']\nquiet = '22:00-06:00'\n", encoding="utf-8"
    )
    monkeypatch.setenv("HANHTRINH_ALERTS_FILE", str(alerts_file))
    monkeypatch.setenv("HANHTRINH_ALERT_TERMINAL", "true")
    result = CliRunner().invoke(app, ["alerts", "list", "--json"])
    assert [json.loads(line) for line in result.output.splitlines()] == [
        {"channel": "terminal", "told": {}, "pace": "each at once"},
        {
            "channel": "duty",
            "told": {"kinds": "speeding"},
            "pace": "at most 10 a minute, more in a summary; quiet 22:00-06:00",
        },
    ]
    shown = CliRunner().invoke(app, ["alerts", "list"]).output
    assert "every alert" in shown
    assert "kinds: speeding" in shown
