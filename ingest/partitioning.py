"""Which partition a device belongs to: the same in both logs, and the same as Java clients choose."""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_MULTIPLIER = 0x5BD1E995
_SEED = 0x9747B28C
_MAX_DEVICES = 200_000


class Partitioner:
    """Key to partition by murmur2, as Kafka's Java client does it.

    Answers are remembered (the hash is slow in Python); the memory is bounded by forgetting everything at 200,000 keys.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._known: dict[str, int] = {}

    def partition(self, device_id: str) -> int:
        """The partition, 0 to partitions - 1, of this device."""
        known = self._known.get(device_id)
        if known is None:
            if len(self._known) >= _MAX_DEVICES:
                self._known.clear()
            known = (murmur2(device_id.encode()) & 0x7FFFFFFF) % self._partitions
            self._known[device_id] = known
        return known


def murmur2(data: bytes) -> int:
    """MurmurHash2 (32 bit) with the seed of Kafka's clients, unsigned."""
    length = len(data)
    whole = length & ~3
    digest = _SEED ^ length
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _MULTIPLIER & _MASK
        word = (word ^ word >> 24) * _MULTIPLIER & _MASK
        digest = digest * _MULTIPLIER & _MASK ^ word
    if length & 3:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    digest = (digest ^ digest >> 13) * _MULTIPLIER & _MASK
    return digest ^ digest >> 15
