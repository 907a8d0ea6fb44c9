"""The fleet of the database: operators in every province, their vehicles, and two drivers for each."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from detectors.columns import Float
from detectors.limits import LimitBook
from hanhtrinh.rule_packs import LoadedPack
from ingest.simulator.places import CITIES
from ingest.simulator.roster import KINDS

PROVINCES = (
    "An Giang", "Bac Ninh", "Ca Mau", "Can Tho", "Cao Bang", "Da Nang", "Dak Lak", "Dien Bien", "Dong Nai", "Dong Thap",
    "Gia Lai", "Ha Noi", "Ha Tinh", "Hai Phong", "Ho Chi Minh", "Hue", "Hung Yen", "Khanh Hoa", "Lai Chau", "Lam Dong",
    "Lang Son", "Lao Cai", "Nghe An", "Ninh Binh", "Phu Tho", "Quang Ngai", "Quang Ninh", "Quang Tri", "Son La",
    "Tay Ninh", "Thai Nguyen", "Thanh Hoa", "Tuyen Quang", "Vinh Long",
)  # fmt: skip
"""Since July 2025."""

_VEHICLES_OF_AN_OPERATOR = 60
_REGISTERED = 0.97
_OWN_LIMIT = 0.88
_NAMED = 0.97


class Fleet:
    """Everything that is the same on all days, one row a vehicle. Drivers of vehicle i are 2i and 2i + 1."""

    def __init__(self, vehicles: int, seed: int = 1) -> None:
        rng = np.random.default_rng([seed, vehicles])
        operators = max(len(PROVINCES), vehicles // _VEHICLES_OF_AN_OPERATOR)
        # A few large ones and many small ones.
        size = 1.0 / np.arange(1, operators + 1) ** 0.6
        self.operator = rng.choice(operators, vehicles, p=size / size.sum())
        self.operator_ids = [f"OP-{number:05d}" for number in range(operators)]
        shares = np.array([kind.share for kind in KINDS])
        self.kind = rng.choice(len(KINDS), vehicles, p=shares / shares.sum())
        letters = np.array(list("ABCDEFH"))[rng.integers(0, 7, vehicles)]
        plates = zip(rng.integers(11, 99, vehicles).tolist(), letters.tolist(), strict=True)
        self.vehicle_ids = [f"{province}{letter}-{number:06d}" for number, (province, letter) in enumerate(plates)]
        self.driver_ids = [f"D{number:07d}" for number in range(2 * vehicles)]
        self.vehicle_bytes, self.driver_bytes = np.array(self.vehicle_ids, "S"), np.array(self.driver_ids, "S")
        self.registered = rng.random(vehicles) < _REGISTERED
        self.has_own_limit = rng.random(vehicles) < _OWN_LIMIT
        self.named = rng.random(vehicles) < _NAMED
        """Whether its tracker tells who drives."""
        self.limit_kmh = np.array([kind.limit_kmh for kind in KINDS])[self.kind]
        self.cruise_kmh = self.limit_kmh * rng.uniform(0.55, 0.85, vehicles)
        self.haste = rng.lognormal(0.0, 0.8, vehicles)
        """How much more often than others it speeds."""
        self.work = rng.choice(3, vehicles, p=[0.6, 0.3, 0.1])
        """Short, usual or long days."""
        self.by_night = rng.random(vehicles) < 0.08
        cities = np.array(list(CITIES.values()))
        home = cities[rng.integers(0, len(cities), vehicles)]
        self.lat = home[:, 0] + rng.normal(0, 0.05, vehicles)
        self.lon = home[:, 1] + rng.normal(0, 0.05, vehicles)
        self.heading = rng.uniform(0, 2 * np.pi, vehicles)
        self.heading_deg: Float = np.round(np.degrees(self.heading), 1).astype(np.float64)
        self.road_m = rng.uniform(15_000, 60_000, vehicles)
        self.driven_m = rng.uniform(0, 100_000, vehicles)
        """So far; goes on from day to day."""

    def __len__(self) -> int:
        return len(self.vehicle_ids)

    def limits(self, pack: LoadedPack) -> LimitBook:
        """What the registry sets for each vehicle, by its number."""
        limits = LimitBook(pack.pack)
        limits.reserve(len(self))
        for code in np.flatnonzero(self.registered).tolist():
            own = float(self.limit_kmh[code]) if self.has_own_limit[code] else None
            limits.register(code, own, KINDS[self.kind[code]].speed_class)
        return limits

    def kinds(self) -> dict[str, str]:
        """The kind of each registered vehicle."""
        return {
            self.vehicle_ids[code]: KINDS[self.kind[code]].kind for code in np.flatnonzero(self.registered).tolist()
        }

    def operator_of(self) -> dict[str | None, str]:
        """The operator of each registered vehicle."""
        return {
            self.vehicle_ids[code]: self.operator_ids[self.operator[code]]
            for code in np.flatnonzero(self.registered).tolist()
        }

    def write_registry(self, folder: Path) -> None:
        """operators.csv, vehicles.csv and drivers.csv, as `hanhtrinh import` takes them."""
        _write(
            folder / "operators.csv",
            ("operator_id", "name", "tax_code", "province"),
            [
                (name, f"Van tai {number}", f"{number:010d}", PROVINCES[number % len(PROVINCES)])
                for number, name in enumerate(self.operator_ids)
            ],
        )
        _write(
            folder / "vehicles.csv",
            ("vehicle_id", "operator_id", "kind", "speed_class", "limit_kmh"),
            [
                (
                    self.vehicle_ids[code],
                    self.operator_ids[self.operator[code]],
                    KINDS[self.kind[code]].kind,
                    KINDS[self.kind[code]].speed_class,
                    f"{self.limit_kmh[code]:g}" if self.has_own_limit[code] else "",
                )
                for code in np.flatnonzero(self.registered).tolist()
            ],
        )
        _write(
            folder / "drivers.csv",
            ("driver_id", "operator_id", "name"),
            [
                (
                    self.driver_ids[driver],
                    self.operator_ids[self.operator[code]],
                    f"Lai xe {driver}",
                )
                for code in np.flatnonzero(self.registered & self.named).tolist()
                for driver in (2 * code, 2 * code + 1)
            ],
        )


def _write(path: Path, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
