"""Settings: read from the environment and .env, checked at once, and every wrong one named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hanhtrinh.settings import Settings, SettingsError, load_settings


def test_everything_has_a_default() -> None:
    settings = load_settings()
    assert settings.log == "embedded"
    assert settings.database_url is None
    assert settings.mqtt_topics == ("hanhtrinh/+", "owntracks/+/+")


def test_variables_of_the_environment_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANHTRINH_MQTT_PORT", "8883")
    monkeypatch.setenv("HANHTRINH_MQTT_TOPICS", "a/+, b/#,")
    monkeypatch.setenv("HANHTRINH_RULES", "")
    settings = load_settings()
    assert settings.mqtt_port == 8883
    assert settings.mqtt_topics == ("a/+", "b/#")
    assert settings.rules == ()


def test_a_dotenv_file_counts_less_than_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(Settings.model_config, "env_file", str(tmp_path / ".env"))
    (tmp_path / ".env").write_text("HANHTRINH_MQTT_HOST=from-file\nHANHTRINH_MQTT_PORT=1\nPOSTGRES_PASSWORD=other\n")
    monkeypatch.setenv("HANHTRINH_MQTT_PORT", "2")
    settings = load_settings()
    assert (settings.mqtt_host, settings.mqtt_port) == ("from-file", 2)


def test_an_argument_counts_more_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANHTRINH_MQTT_PORT", "1")
    assert load_settings(mqtt_port=2).mqtt_port == 2


def test_a_misspelt_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANHTRINH_MQTT_PROT", "1883")
    with pytest.raises(SettingsError, match="unknown setting HANHTRINH_MQTT_PROT"):
        load_settings()


def test_each_wrong_value_is_named_on_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANHTRINH_MQTT_PORT", "http")
    monkeypatch.setenv("HANHTRINH_LOG", "kafak")
    monkeypatch.setenv("HANHTRINH_ALERT_RETRY_S", "nan")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    lines = str(caught.value).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == [
        "HANHTRINH_ALERT_RETRY_S",
        "HANHTRINH_LOG",
        "HANHTRINH_MQTT_PORT",
    ]
    assert any("(given: 'http')" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("HANHTRINH_ALERT_WEBHOOK_URL", "http://127.0.0.1/hook", "HANHTRINH_ALERT_WEBHOOK_SECRET"),
        ("HANHTRINH_KAFKA_SECURITY", "SASL_SSL", "HANHTRINH_KAFKA_USERNAME"),
    ],
)
def test_settings_that_belong_together_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, other: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=other):
        load_settings()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANHTRINH_DATABASE_URL", "postgresql://u:hidden@host/db")
    monkeypatch.setenv("HANHTRINH_MQTT_PASSWORD", "hidden")
    settings = load_settings()
    assert "hidden" not in repr(settings)
    assert settings.mqtt_password is not None
    assert settings.mqtt_password.get_secret_value() == "hidden"


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValidationError):
        load_settings().mqtt_port = 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql//u:secretpw@127.0.0.1/x",
        "postgresql+asyncpg://u:secretpw@127.0.0.1/x",
        "postgresql://u:secretpw@127.0.0.1/x?foo=1",
        "postgresql://u:secretpw@127.0.0.1/x?connect_timeout=soon",
        "postgresql://u:secretpw@127.0.0.1:0/x",
        "postgresql://u:secretpw and more@127.0.0.1/x",
        "postgresql://u:pw@secretpw@127.0.0.1/x",
        "postgresql://u:pw/secretpw@127.0.0.1/x",
        "postgresql://u:12/secretpw@127.0.0.1/x",
        "postgresql://u:secretpw%zz@127.0.0.1/x",
        " ",
    ],
)
def test_a_database_url_that_cannot_be_read_is_refused_without_the_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HANHTRINH_DATABASE_URL", url)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    said = str(caught.value)
    assert said.startswith("HANHTRINH_DATABASE_URL: cannot be read")
    assert "expected postgresql://user:password@host:port/name" in said
    assert "secretpw" not in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss@h:5432/x?sslmode=verify-full&connect_timeout=5",
        "postgresql://u:se?cr#t@h,h2:5433/x",
        "postgres://[::1]/x",
        "postgresql://postgres@/hanhtrinh?host=%2Ftmp%2Fsocket",
        "host=h dbname=x user=u password=p@ss/w",
    ],
)
def test_every_way_to_write_a_database_url_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HANHTRINH_DATABASE_URL", url)
    database_url = load_settings().database_url
    assert database_url is not None
    assert database_url.get_secret_value() == url


def test_a_folder_of_a_user_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANHTRINH_DATA_DIR", "~nobody-of-this-name/data")
    with pytest.raises(SettingsError, match="HANHTRINH_DATA_DIR: expected a folder; there is no such user"):
        load_settings()


@pytest.fixture
def dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    monkeypatch.setitem(Settings.model_config, "env_file", str(path))
    return path


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_a_dotenv_file_that_is_not_utf_8_is_refused_by_its_name(dotenv: Path, encoding: str) -> None:
    dotenv.write_bytes("HANHTRINH_MQTT_PASSWORD=m\u00f9a\n".encode(encoding))
    with pytest.raises(SettingsError, match=r"\.env: not in UTF-8 .*: save it as UTF-8$"):
        load_settings()


@pytest.mark.parametrize("name", ["HANHTRINH_LOGG", "hanhtrinh_logg"])
def test_a_misspelt_setting_in_dotenv_is_refused_by_its_name_and_that_of_the_file(dotenv: Path, name: str) -> None:
    dotenv.write_text(f"HANHTRINH_LOG=embedded\n{name}=kafka\n")
    with pytest.raises(SettingsError, match=rf"unknown setting HANHTRINH_LOGG in {dotenv}: see \.env\.example"):
        load_settings()


def test_a_dotenv_file_made_of_the_example_with_what_compose_asks_for_is_taken(dotenv: Path) -> None:
    example = (Path(__file__).parents[1] / ".env.example").read_text("utf-8")
    dotenv.write_text(example.replace("#GRAFANA", "GRAFANA").replace("#HANHTRINH_LOG=", "HANHTRINH_LOG=") + "X=1\n")
    assert load_settings().log == "embedded"
