"""Where the simulated fleet drives: a few Vietnamese cities and straight roads between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_M_PER_DEGREE = 111_195.0

CITIES: dict[str, tuple[float, float]] = {
    "Lang Son": (21.8537, 106.7615), "Ha Noi": (21.0278, 105.8342), "Hai Phong": (20.8449, 106.6881),
    "Nam Dinh": (20.4388, 106.1621), "Thanh Hoa": (19.8067, 105.7852), "Vinh": (18.6796, 105.6813),
    "Dong Hoi": (17.4689, 106.6223), "Hue": (16.4637, 107.5909), "Da Nang": (16.0544, 108.2022),
    "Quang Ngai": (15.1214, 108.8044), "Quy Nhon": (13.7830, 109.2197), "Nha Trang": (12.2388, 109.1967),
    "Da Lat": (11.9404, 108.4583), "Phan Thiet": (10.9804, 108.2615), "Bien Hoa": (10.9574, 106.8427),
    "Ho Chi Minh": (10.7769, 106.7009), "My Tho": (10.3600, 106.3600), "Can Tho": (10.0452, 105.7469),
    "Ca Mau": (9.1769, 105.1524),
}  # fmt: skip

LONG_ROADS: tuple[tuple[str, ...], ...] = (
    ("Lang Son", "Ha Noi", "Hai Phong"),
    ("Ha Noi", "Nam Dinh", "Thanh Hoa", "Vinh"),
    ("Vinh", "Dong Hoi", "Hue", "Da Nang"),
    ("Da Nang", "Quang Ngai", "Quy Nhon", "Nha Trang"),
    ("Nha Trang", "Phan Thiet", "Bien Hoa", "Ho Chi Minh"),
    ("Da Lat", "Phan Thiet", "Ho Chi Minh"),
    ("Ho Chi Minh", "My Tho", "Can Tho", "Ca Mau"),
)
TOWNS = ("Ha Noi", "Hai Phong", "Da Nang", "Nha Trang", "Bien Hoa", "Ho Chi Minh", "Can Tho")


class Places(NamedTuple):
    """Positions on a road and the direction of travel there."""

    lat: Floats
    lon: Floats
    heading_deg: Floats


class Road:
    """A line of straight pieces, driven to its end and back, again and again."""

    def __init__(self, points: list[tuple[float, float]]) -> None:
        self._lat = np.array([lat for lat, _ in points])
        self._lon = np.array([lon for _, lon in points])
        north_m = np.diff(self._lat) * _M_PER_DEGREE
        east_m = np.diff(self._lon) * _M_PER_DEGREE * np.cos(np.radians((self._lat[1:] + self._lat[:-1]) / 2))
        self._along_m = np.concatenate([[0.0], np.cumsum(np.hypot(north_m, east_m))])
        self._heading_deg = np.degrees(np.arctan2(east_m, north_m)) % 360
        self.length_m = float(self._along_m[-1])

    def at(self, driven_m: Floats) -> Places:
        """Where a vehicle is after so many metres from the start."""
        lap_m = driven_m % (2 * self.length_m)
        back = lap_m > self.length_m
        along_m = np.where(back, 2 * self.length_m - lap_m, lap_m)
        piece = np.clip(np.searchsorted(self._along_m, along_m, "right") - 1, 0, len(self._heading_deg) - 1)
        heading = (self._heading_deg[piece] + np.where(back, 180.0, 0.0)) % 360
        return Places(
            np.interp(along_m, self._along_m, self._lat), np.interp(along_m, self._along_m, self._lon), heading
        )


def long_road(rng: np.random.Generator) -> Road:
    """A road between cities, from either end."""
    names = LONG_ROADS[int(rng.integers(len(LONG_ROADS)))]
    points = [CITIES[name] for name in names]
    return Road(points if rng.random() < 0.5 else points[::-1])


def town_road(rng: np.random.Generator) -> Road:
    """Streets around the middle of one town."""
    lat, lon = CITIES[TOWNS[int(rng.integers(len(TOWNS)))]]
    offsets = np.cumsum(rng.normal(0.0, 0.015, (8, 2)), axis=0)
    return Road([(lat + float(north), lon + float(east)) for north, east in offsets - offsets.mean(axis=0)])
