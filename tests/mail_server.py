"""A real mail server that keeps what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP


class MailServer:
    """Takes mail for anybody; `answer` may refuse one by another reply than 250."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[EmailMessage] = []
        self.answer: Callable[[], str] = lambda: "250 OK"

    def address(self, to: str = "duty@example.org") -> str:
        """The Apprise address of a mailbox here."""
        return f"mailto://127.0.0.1:{self.port}?from=office@example.org&to={to}&mode=insecure"

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """To whom, subject and text of each mail."""
        return [(str(mail["To"]), str(mail["Subject"]), mail.get_content().strip()) for mail in self.mails]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self.answer()
        if answer.startswith("2"):
            mail = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
        return answer


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """Listens on a free port inside the block."""
    office = MailServer()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(office), "127.0.0.1", 0)
    office.port = server.sockets[0].getsockname()[1]
    try:
        yield office
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def office() -> AsyncIterator[MailServer]:
    async with mail_server() as office:
        yield office
