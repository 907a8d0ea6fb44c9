"""The MQTT broker of the settings, as publishers need it."""

from __future__ import annotations

import ssl

from hanhtrinh.settings import Settings
from ingest.publisher import Broker


def broker_of(settings: Settings) -> Broker:
    """Address, account and TLS of the broker."""
    tls = ssl.create_default_context(cafile=settings.mqtt_ca_file) if settings.mqtt_tls else None
    password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
    return Broker(settings.mqtt_host, settings.mqtt_port, settings.mqtt_username, password, tls)
