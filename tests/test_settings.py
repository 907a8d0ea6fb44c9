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
