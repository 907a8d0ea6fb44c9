"""Which format a message is in, by its topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.fix_table import FixTable
from ingest.formats import hanhtrinh_json, owntracks
from ingest.formats.checked import MAX_ID_CHARS, checked_id, shown
from ingest.formats.decoded import Decoded
from ingest.formats.reasons import FixError, Reject
from ingest.raw import RawMessage

Decode = Callable[[str, bytes], Decoded]
_MAX_TOPICS = 50_000
_OWN = "hanhtrinh/"


class _Route(NamedTuple):
    device_id: str | None
    decode: Decode


class FormatRegistry:
    """Decodes raw messages of every known format.

    Topics of our own are read as they come: remembered, a country's million vehicles would push each other out. What
    another topic means is remembered, for speed; the memory is bounded by forgetting everything at 50,000 topics,
    which are about 13 MB.
    """

    def __init__(self) -> None:
        self._routes: dict[str, _Route] = {}

    def decode(self, message: RawMessage) -> Decoded:
        """The fixes and rejects of one message. Never raises because of what the message says."""
        topic, payload, _, _ = message
        if topic.startswith(_OWN) and _is_plain(own_id := topic[len(_OWN) :]):
            return hanhtrinh_json.decode(own_id, payload)
        device_id, decode = self._routes.get(topic) or self._learn(topic)
        return decode(device_id or "", payload)

    def single_fixes(self, topics: Sequence[str], payloads: Sequence[bytes]) -> tuple[FixTable, NDArray[np.intp]]:
        """The fixes of those messages of our own format that hold one and nothing else, and which messages these are.

        What the others hold says `decode`, for each by itself.
        """
        # A topic of another kind, or one with a line's end in it, leaves a line's end behind.
        before, *ids = "\n".join(("", *topics)).split(f"\n{_OWN}")
        if not before and len(ids) == len(topics) and _are_plain(ids):
            return hanhtrinh_json.single_fixes(ids, payloads)
        plain = [row for row, topic in enumerate(topics) if topic.startswith(_OWN) and _is_plain(topic[len(_OWN) :])]
        ids = [topics[row][len(_OWN) :] for row in plain]
        table, rows = hanhtrinh_json.single_fixes(ids, [payloads[row] for row in plain])
        return table, np.array(plain, dtype=np.intp)[rows]

    def device_id(self, topic: str) -> str | None:
        """The device a topic belongs to; None when no format knows the topic or the id cannot be one."""
        if topic.startswith(_OWN) and _is_plain(own_id := topic[len(_OWN) :]):
            return own_id
        return (self._routes.get(topic) or self._learn(topic)).device_id

    def _learn(self, topic: str) -> _Route:
        if len(self._routes) >= _MAX_TOPICS:
            self._routes.clear()
        route = self._routes[topic] = _route(topic)
        return route


def _is_plain(device_id: str) -> bool:
    """Whether it can be an id of a whole topic level at a glance; what is not plain may still be one."""
    return (
        0 < len(device_id) <= MAX_ID_CHARS and device_id.isascii() and device_id.isprintable() and "/" not in device_id
    )


def _are_plain(device_ids: Sequence[str]) -> bool:
    """Whether each of them is plain."""
    text, sizes = "".join(device_ids), [*map(len, device_ids)]
    return (
        min(sizes, default=1) > 0 and max(sizes, default=0) <= MAX_ID_CHARS
        and text.isascii() and text.isprintable() and "/" not in text
    )  # fmt: skip


def _route(topic: str) -> _Route:
    family, _, rest = topic.partition("/")
    levels = rest.split("/")
    try:
        if family == "hanhtrinh" and len(levels) == 1:
            return _Route(checked_id("topic's vehicle_id", rest), hanhtrinh_json.decode)
        if family == "owntracks" and len(levels) >= 2:
            device_id = checked_id("topic's <user>/<device>", "/".join(levels[:2]))
            return _Route(device_id, owntracks.decode if len(levels) == 2 else owntracks.ignore)
    except FixError as error:
        return _refusing(error.reject())
    return _refusing(
        Reject("unknown_topic", f"given {shown(topic)}, expected hanhtrinh/<vehicle_id> or owntracks/<user>/<device>")
    )


def _refusing(reject: Reject) -> _Route:
    return _Route(None, lambda _device_id, _payload: Decoded([], [reject]))
