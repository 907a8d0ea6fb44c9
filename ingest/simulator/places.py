"""Where the simulated fleet drives: a few Vietnamese cities and straight roads between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_M_PER_DEGREE = 111_195.0
_ASIDE_DEGREES = 0.03

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
    """A loop of straight pieces, driven round and round. No turn is so sharp that speed and distance would disagree."""

    def __init__(self, points: list[tuple[float, float]]) -> None:
        closed = [*points, points[0]]
        self._lat = np.array([lat for lat, _ in closed])
        self._lon = np.array([lon for _, lon in closed])
        north_m = np.diff(self._lat) * _M_PER_DEGREE
        east_m = np.diff(self._lon) * _M_PER_DEGREE * np.cos(np.radians((self._lat[1:] + self._lat[:-1]) / 2))
        self._along_m = np.concatenate([[0.0], np.cumsum(np.hypot(north_m, east_m))])
        self._heading_deg = np.degrees(np.arctan2(east_m, north_m)) % 360
        self.length_m = float(self._along_m[-1])

    def at(self, driven_m: Floats) -> Places:
        """Where a vehicle is after so many metres from the start."""
        along_m = driven_m % self.length_m
        piece = np.clip(np.searchsorted(self._along_m, along_m, "right") - 1, 0, len(self._heading_deg) - 1)
        return Places(
            np.interp(along_m, self._along_m, self._lat),
            np.interp(along_m, self._along_m, self._lon),
            self._heading_deg[piece],
        )


def long_road(rng: np.random.Generator) -> Road:
    """A road between cities, from either end, and another one a few kilometres beside it back."""
    names = LONG_ROADS[int(rng.integers(len(LONG_ROADS)))]
    points = [CITIES[name] for name in names]
    if rng.random() < 0.5:
        points.reverse()
    return Road(points + [_beside(points, at) for at in range(len(points) - 1, -1, -1)])


def _beside(points: list[tuple[float, float]], at: int) -> tuple[float, float]:
    """A point a few kilometres to the side of one on the line, square to the line there."""
    (lat, lon), before, after = points[at], points[max(at - 1, 0)], points[min(at + 1, len(points) - 1)]
    north, east = after[0] - before[0], after[1] - before[1]
    length = float(np.hypot(north, east))
    return lat - _ASIDE_DEGREES * east / length, lon + _ASIDE_DEGREES * north / length


def town_road(rng: np.random.Generator) -> Road:
    """Streets around the middle of one town."""
    lat, lon = CITIES[TOWNS[int(rng.integers(len(TOWNS)))]]
    angles = np.arange(9) * (2 * np.pi / 9) + rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(0.02, 0.05) * rng.uniform(0.85, 1.15, 9)
    return Road(
        [
            (lat + float(distance * np.cos(angle)), lon + float(distance * np.sin(angle)))
            for angle, distance in zip(angles, radius, strict=True)
        ]
    )
