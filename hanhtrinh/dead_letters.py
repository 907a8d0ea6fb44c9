"""Dead letters tried again: what today's decoders can use goes back into the log as it once came.

The normal way does the rest: fixes that are stored already are counted as doubled, the others are judged as the late
fixes that they are, by their first receipt. Nothing is taken out before the log has it, so a crash at any moment costs
at most a second copy, and copies are harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detectors.fix import to_us
from ingest.formats import FormatRegistry
from ingest.log import LogWriter
from ingest.raw import RawMessage
from storage.letter_book import LetterBook, LetterFilter, StoredLetter

_AT_ONCE = 500
_SETTLED = "the other fix of this vehicle and time stands by its content: a retry cannot change that"


@dataclass(slots=True)
class Retried:
    """How many letters went back into the log, and how many are unusable still."""

    sent: int = 0
    unusable: int = 0


class Retry:
    """Tries letters again. `log` is open already and stays open."""

    def __init__(self, book: LetterBook, log: LogWriter, done: Callable[[int], None] = lambda _: None) -> None:
        """`done` is told how many letters each step went through."""
        self._book = book
        self._log = log
        self._done = done
        self._formats = FormatRegistry()

    async def all(self, chosen: LetterFilter) -> Retried:
        """Every letter of the filter that was received before now, in order of receipt."""
        total, last = Retried(), None
        while letters := await self._book.next(chosen, last, _AT_ONCE):
            step = await self.these(letters)
            total.sent += step.sent
            total.unusable += step.unusable
            last = letters[-1]
        return total

    async def these(self, letters: Sequence[StoredLetter]) -> Retried:
        """These letters. LogError when the log does not take them: they stay as they were, to be tried again."""
        refusals = {letter.dead_letter_id: self._refusal(letter) for letter in letters}
        good = [letter for letter in letters if refusals[letter.dead_letter_id] is None]
        ids = [letter.dead_letter_id for letter in good]
        bad = [(letter_id, refusal) for letter_id, refusal in refusals.items() if refusal is not None]
        if bad:
            await self._book.unusable(bad)
        if good:
            await self._book.sending(ids)
            # One message may have several letters, one for each bad position in it.
            await self._log.append_many(list(dict.fromkeys(self._keyed(letter) for letter in good)))
            await self._book.sent(ids)
        self._done(len(letters))
        return Retried(len(good), len(bad))

    def _refusal(self, letter: StoredLetter) -> str | None:
        """Why the letter cannot be used today; None when it can."""
        if letter.reason == "conflict":
            return _SETTLED
        fixes, rejects, ignored = self._formats.decode(_message(letter))
        # A message with several positions has a letter for each bad one: this one is about its own only.
        same = [each for each in rejects if (each.reason, each.detail) == (letter.reason, letter.detail)]
        if same or (rejects and not fixes):
            reject = (same or rejects)[0]
            return f"{reject.reason}: {reject.detail}"
        return "no position by design: there is nothing to use" if ignored else None

    def _keyed(self, letter: StoredLetter) -> tuple[str, RawMessage]:
        return self._formats.device_id(letter.topic) or letter.topic, _message(letter)


def _message(letter: StoredLetter) -> RawMessage:
    return RawMessage(letter.topic, letter.payload, to_us(letter.received_at))
