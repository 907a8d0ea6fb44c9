"""A recording as MQTT messages in our own format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from detectors.fix import Fix
from ingest.formats import hanhtrinh_json
from ingest.recordings.chunk import RecordingChunk
from ingest.recordings.mapping import RecordingError
from ingest.recordings.reading import Recording
from ingest.recordings.rejecting import TOPIC, topic_of

_encode = msgspec.json.Encoder().encode
Progress = Callable[[int], None] | None


class OutMessage(NamedTuple):
    """One message to publish."""

    topic: str
    payload: bytes
    fixes: int
    """Usable positions in it; 0: sent so that the worker makes a dead letter of it."""
    time_us: int | None
    """Time of its newest fix; None where it has none."""


def messages(recording: Recording, per_message: int | None = None, progress: Progress = None) -> Iterator[OutMessage]:
    """The recording in file order, one row per message, or up to `per_message` rows of one vehicle in a list.

    NDJSON in our own format goes out line by line as it stands. Rows that are no Fix are sent too, alone.
    """
    if recording.is_own_format:
        if per_message is not None:
            raise RecordingError(f"{recording.path}: its lines are messages already; leave --per-message away")
        yield from _own_lines(recording, progress)
        return
    if per_message is None or per_message == 1:
        for _, topic, document, time_us in _rows(recording, progress):
            yield _message(topic, document, time_us)
        return
    waiting: dict[str, list[dict[str, object]]] = {}
    newest: dict[str, int] = {}
    for _, topic, document, time_us in _rows(recording, progress):
        if isinstance(document, bytes) or time_us is None:
            yield _message(topic, document, time_us)
            continue
        queue = waiting.setdefault(topic, [])
        queue.append(document)
        newest[topic] = max(newest.get(topic, time_us), time_us)
        if len(queue) == per_message:
            yield OutMessage(topic, _encode(waiting.pop(topic)), per_message, newest.pop(topic))
    for topic, queue in waiting.items():
        yield OutMessage(topic, _encode(queue), len(queue), newest[topic])


def by_time(unordered: Iterator[OutMessage]) -> list[OutMessage]:
    """All messages in order of time (held in memory); one without time stays behind the one before it."""
    time_us = 0
    timed = []
    for message in unordered:
        time_us = time_us if message.time_us is None else message.time_us
        timed.append((time_us, message))
    timed.sort(key=lambda pair: pair[0])
    return [message for _, message in timed]


def _message(topic: str, document: Any, time_us: int | None) -> OutMessage:
    if isinstance(document, bytes):
        return OutMessage(topic, document, 0, None)
    return OutMessage(topic, _encode(document), 1, time_us)


def _rows(recording: Recording, progress: Progress) -> Iterator[tuple[int, str, Any, int | None]]:
    topics: dict[str, str] = {}
    for chunk in recording.chunks(progress=progress):
        usable = _usable_rows(chunk, recording, topics)
        if not chunk.rejected:
            yield from usable
            continue
        refused = [(item.row, item.topic, item.message, None) for item in chunk.rejected]
        yield from sorted([*usable, *refused], key=lambda row: row[0])


def _usable_rows(
    chunk: RecordingChunk, recording: Recording, topics: dict[str, str]
) -> Iterator[tuple[int, str, Any, int | None]]:
    documents = chunk.documents(recording.vehicles, recording.drivers)
    for row, time_us, document in zip(chunk.row.tolist(), chunk.time_us.tolist(), documents, strict=True):
        vehicle_id = str(document["vehicle_id"])
        topic = topics.get(vehicle_id)
        if topic is None:
            topic = topics[vehicle_id] = topic_of(vehicle_id)
            if topic == TOPIC:
                raise RecordingError(
                    f"{recording.path}: row {row}: vehicle_id {vehicle_id!r} cannot be part of an MQTT topic,"
                    " expected no '/', '+' or '#'"
                )
        yield row, topic, document, time_us


def _own_lines(recording: Recording, progress: Progress) -> Iterator[OutMessage]:
    for _, vehicle_id, line in recording.lines(progress):
        topic = topic_of(vehicle_id)
        fixes: list[Fix] = hanhtrinh_json.decode(vehicle_id, line).fixes if vehicle_id and topic != TOPIC else []
        yield OutMessage(topic, line, len(fixes), max((fix.time_us for fix in fixes), default=None))
