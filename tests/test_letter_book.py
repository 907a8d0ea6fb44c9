"""The operator's book of dead letters: all are gone through, only the chosen ones, and no worker's word is lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from detectors.fix import from_us
from hanhtrinh.dead_letters import Retried, Retry
from ingest.embedded_log import EmbeddedLogWriter
from ingest.raw import RawMessage
from storage.connect import connect
from storage.letter_book import LetterBook, LetterFilter
from storage.letters import DeadLetter, store_letters
from tests.running_worker import PARTITIONS, RECEIVED_US, WorkerRig, make_rig, message, rig
from tests.speeding_trip import TRIP
from tests.test_dead_letters import dead

__all__ = ["make_rig", "rig"]

DAY_US = 86_400_000_000


def letter(sent: RawMessage, reason: str = "bad_value") -> DeadLetter:
    return DeadLetter(0, 0, sent.topic, sent.received_us, reason, "what an old decoder said", sent.payload)


@pytest.fixture
def book(rig: WorkerRig) -> LetterBook:
    return LetterBook(rig.connection)


async def keep(rig: WorkerRig, letters: Sequence[DeadLetter]) -> list[str]:
    """Their ids, in order."""
    await store_letters(rig.connection, "another/log", letters)
    return sorted(each.letter_id for each in letters)


async def test_letters_of_one_moment_are_gone_through_in_pieces_and_none_is_left_out(
    rig: WorkerRig, book: LetterBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bridge that has its backlog at once gives many messages one receipt."""
    monkeypatch.setattr("hanhtrinh.dead_letters._AT_ONCE", 2)
    ids = await keep(rig, [letter(message(fix)) for fix in TRIP[:5]])
    log = EmbeddedLogWriter(lambda: connect(rig.url), PARTITIONS)
    await log.open()
    steps: list[int] = []
    try:
        assert await Retry(book, log, steps.append).all(LetterFilter()) == Retried(sent=5)
    finally:
        await log.close()
    assert steps == [2, 2, 1]
    assert await rig.rows("SELECT dead_letter_id, retry_outcome, retries FROM dead_letters ORDER BY 1") == [
        (each, "sent", 1) for each in ids
    ]
    assert await rig.one("SELECT count(*) FROM embedded_log_messages") == 5


async def test_pieces_go_on_over_receipts_of_several_moments(rig: WorkerRig, book: LetterBook) -> None:
    """Ids are hashes: in the order of receipt they rise and fall."""
    letters = [letter(message(fix, received_us=RECEIVED_US + n // 3)) for n, fix in enumerate(TRIP)]
    await keep(rig, letters)
    seen: list[str] = []
    last = None
    while piece := await book.next(LetterFilter(), last, 2):
        seen += [each.dead_letter_id for each in piece]
        last = piece[-1]
    assert seen == [each.letter_id for each in sorted(letters, key=lambda each: (each.received_us, each.letter_id))]


async def test_what_a_worker_has_found_unusable_before_the_sender_is_done_stays_so(
    rig: WorkerRig, book: LetterBook
) -> None:
    """A worker is often quicker than the note that the log has the message."""
    unusable, fine = letter(message(TRIP[0])), letter(message(TRIP[1]))
    ids = await keep(rig, [unusable, fine])
    await book.sending(ids)
    await store_letters(rig.connection, "embedded/log", [unusable])
    await book.sent(ids)
    found = {each.dead_letter_id: each for each in await book.newest(LetterFilter(sent=True), 10)}
    assert (found[unusable.letter_id].retry_outcome, found[fine.letter_id].retry_outcome) == ("unusable", "sent")
    assert found[unusable.letter_id].retry_detail == "bad_value: what an old decoder said"
    assert [each.dead_letter_id for each in await book.newest(LetterFilter(), 10)] == [unusable.letter_id]


@pytest.mark.parametrize(
    "filters",
    [
        ("--reason", "no_position"),
        ("--vehicle", "29B-00001"),
        ("--topic", "hanhtrinh/*-00001"),
        ("--since", from_us(RECEIVED_US).isoformat()),
    ],
    ids=lambda filters: filters[0],
)
async def test_a_retry_by_a_filter_leaves_the_others_as_they_are(rig: WorkerRig, filters: tuple[str, str]) -> None:
    meant = letter(message(TRIP[0]), "no_position")
    other = letter(message(TRIP[1]._replace(vehicle_id="29B-00002"), received_us=RECEIVED_US - DAY_US))
    await keep(rig, [meant, other])
    code, text = await dead(rig, "retry", *filters)
    assert (code, text) == (0, "1 sent back into the log, 0 unusable still\n")
    assert await rig.rows("SELECT dead_letter_id, retry_outcome, retries FROM dead_letters ORDER BY retries") == [
        (other.letter_id, None, 0),
        (meant.letter_id, "sent", 1),
    ]
    assert await rig.rows("SELECT topic FROM embedded_log_messages") == [("hanhtrinh/29B-00001",)]
