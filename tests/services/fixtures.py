"""The fixtures of the servers. One that cannot be had fails the test and says how to get it; nothing is skipped for it.

Servers live for the whole session. A test that kills one starts it again before it ends (`try/finally`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.connect import Connection, connect
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.services.postgres import DatabaseServer, GivenPostgres, Postgres, drop_database, make_database


@pytest.fixture(scope="session")
def services_home() -> Iterator[Path]:
    """A folder that other accounts may pass through (PostgreSQL never runs as root), unlike pytest's own."""
    home = Path(tempfile.mkdtemp(prefix="hanhtrinh-"))
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(services_home: Path) -> Iterator[DatabaseServer]:
    """The database server of the session; `admin_url` may create databases."""
    given = os.environ.get("HANHTRINH_TEST_DATABASE_URL")
    if given:
        yield GivenPostgres(given)
        return
    server = Postgres(services_home / "postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def empty_postgres_url(postgres: DatabaseServer) -> AsyncIterator[str]:
    """The URL of a new database without any table."""
    url = await make_database(postgres, migrated=False)
    yield url
    await drop_database(postgres, url)


@pytest.fixture
async def postgres_url(postgres: DatabaseServer) -> AsyncIterator[str]:
    """The URL of a new database with the whole schema."""
    url = await make_database(postgres)
    yield url
    await drop_database(postgres, url)


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    """A connection to that database, in autocommit mode as everywhere."""
    connection = await connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def kafka(services_home: Path) -> Iterator[Kafka]:
    """A Kafka broker: `.bootstrap`, and `.topic()` for a name of one's own."""
    server = Kafka(services_home / "kafka")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mosquitto(services_home: Path) -> Iterator[Mosquitto]:
    """An MQTT broker: `.host`, `.port`; `.password_port` with `.username` and `.password`."""
    server = Mosquitto(services_home / "mosquitto")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings that live beside the checkout; they are not part of the repository."""
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared recordings are not at {folder}")
    return folder
