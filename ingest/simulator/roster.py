"""Who drives what: operators, vehicles, drivers, and which of them were chosen to break the rules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_OPERATORS = (
    ("OP-HN", "Vận tải Thăng Long", "0100100001", "Hà Nội"),
    ("OP-HP", "Container Cảng Hải Phòng", "0200200002", "Hải Phòng"),
    ("OP-DN", "Xe khách Sông Hàn", "0400400004", "Đà Nẵng"),
    ("OP-HCM", "Taxi và buýt Sài Gòn", "0300300003", "Hồ Chí Minh"),
    ("OP-CT", "Vận tải Miền Tây", "1800180018", "Cần Thơ"),
)
_FAMILY = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Vũ", "Đặng", "Bùi", "Đỗ", "Ngô")
_GIVEN = ("An", "Bình", "Cường", "Dũng", "Hải", "Hùng", "Khánh", "Long", "Minh", "Nam", "Phúc", "Quân", "Sơn", "Tuấn")


_REST_S = 900


class Kind(NamedTuple):
    """How vehicles of one business type are driven."""

    kind: str
    speed_class: str
    limit_kmh: float
    share: float
    town: bool
    rest_s: int
    """The rest that ends a drive of this kind by law; plans keep well clear of it."""


KINDS = (
    Kind("goods", "heavy", 70.0, 0.30, False, 900),
    Kind("container", "articulated", 60.0, 0.20, False, 900),
    Kind("contract", "car", 80.0, 0.15, False, 900),
    Kind("fixed_route", "heavy", 80.0, 0.15, False, 900),
    Kind("taxi", "car", 60.0, 0.10, True, 300),
    Kind("city_bus", "heavy", 50.0, 0.10, True, 300),
)


class Vehicle(NamedTuple):
    """One vehicle; `limit_kmh` None: the registry has no cap of its own for it, so it is driven with care."""

    number: int
    vehicle_id: str
    operator_id: str
    kind: Kind
    limit_kmh: float | None
    registered: bool

    @property
    def rest_s(self) -> int:
        """The rest that ends a drive by law; that of its kind only where a registry tells the kind."""
        return self.kind.rest_s if self.registered else _REST_S

    @property
    def careful_kmh(self) -> float:
        """A limit that holds under every reading: nobody who is not chosen to drives above it."""
        return self.limit_kmh if self.limit_kmh is not None else 50.0


class Crew(NamedTuple):
    """Vehicles and drivers whose days are planned together: one vehicle, or two that share a driver."""

    number: int
    vehicles: tuple[Vehicle, ...]
    drivers: tuple[str | None, ...]
    speeds: bool
    tires: bool
    by_night: bool


class Roster:
    """The whole fleet by name, from one seed."""

    def __init__(self, seed: int, vehicles: int) -> None:
        self._seed = seed
        rng = np.random.default_rng([seed, 0])
        shares = np.array([kind.share for kind in KINDS])
        kinds = rng.choice(len(KINDS), vehicles, p=shares / shares.sum())
        self.vehicles = [self._vehicle(index, KINDS[int(kind)], rng) for index, kind in enumerate(kinds)]
        self.crews = self._crews(rng)

    @property
    def operators(self) -> list[tuple[str, str, str, str]]:
        """Rows of operators.csv: operator_id, name, tax_code, province."""
        return list(_OPERATORS)

    @property
    def drivers(self) -> list[tuple[str, str, str]]:
        """Rows of drivers.csv: driver_id, operator_id, name."""
        rows = []
        for crew in self.crews:
            for driver_id in filter(None, crew.drivers):
                number = int(driver_id.rpartition("-")[2])
                name = f"{_FAMILY[number % len(_FAMILY)]} Văn {_GIVEN[number // len(_FAMILY) % len(_GIVEN)]}"
                rows.append((driver_id, crew.vehicles[0].operator_id, name))
        return rows

    def _vehicle(self, index: int, kind: Kind, rng: np.random.Generator) -> Vehicle:
        plate = f"{int(rng.integers(11, 99))}{'ABCDEFH'[int(rng.integers(7))]}-{index:05d}"
        operator_id = _OPERATORS[int(rng.integers(len(_OPERATORS)))][0]
        # One in twelve has no cap in the registry, one in twenty-five is in no registry.
        luck = rng.random()
        limit_kmh = None if luck < 0.12 else kind.limit_kmh
        return Vehicle(index, plate, operator_id, kind, limit_kmh, luck >= 0.04)

    def _crews(self, rng: np.random.Generator) -> list[Crew]:
        crews: list[Crew] = []
        index = 0
        while index < len(self.vehicles):
            one = self.vehicles[index]
            two = self.vehicles[index + 1] if index + 1 < len(self.vehicles) else None
            shared = two is not None and not one.kind.town and one.kind is two.kind and rng.random() < 0.5
            members = (one, two) if shared and two is not None else (one,)
            # Of this fleet alone: one driver in vehicles of two fleets would be in two places at once.
            drivers: tuple[str | None, ...] = tuple(f"D{self._seed}-{2 * index + n:05d}" for n in range(2))
            luck = rng.random()
            capped = all(vehicle.limit_kmh is not None for vehicle in members)
            if not one.registered and not shared and luck < 0.5:
                drivers = (None, None)
            crews.append(
                Crew(
                    number=len(crews),
                    vehicles=members,
                    drivers=drivers,
                    speeds=capped and luck < 0.35,
                    tires=drivers[0] is not None and 0.25 < luck < 0.5,
                    by_night=one.kind.kind == "fixed_route" and not shared and rng.random() < 0.5,
                )
            )
            index += len(members)
        return crews
