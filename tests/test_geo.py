"""Distances on the globe, against ones that follow from the Earth's mean radius of 6,371.0088 km."""

from __future__ import annotations

import math

import numpy as np
import pytest

from detectors.geo import distance_mm

RADIUS_MM = 6_371_008_771.4
DEGREE_MM = math.pi / 180 * RADIUS_MM


def between(one: tuple[float, float], other: tuple[float, float]) -> int:
    return int(distance_mm(*(np.array([each]) for each in (*one, *other)))[0])


@pytest.mark.parametrize(
    ("one", "other", "expected_mm"),
    [
        ((21.0, 105.0), (21.0, 105.0), 0),
        ((0.0, 105.0), (1.0, 105.0), DEGREE_MM),
        ((0.0, 105.0), (0.0, 106.0), DEGREE_MM),
        ((0.0, 179.5), (0.0, -179.5), DEGREE_MM),
        ((90.0, 0.0), (90.0, 123.0), 0),
        ((89.5, 0.0), (89.5, 180.0), DEGREE_MM),
        ((0.0, 0.0), (0.0, 180.0), math.pi * RADIUS_MM),
        ((90.0, 0.0), (-90.0, 0.0), math.pi * RADIUS_MM),
    ],
)
def test_known_distances(one: tuple[float, float], other: tuple[float, float], expected_mm: float) -> None:
    assert between(one, other) == pytest.approx(expected_mm, abs=1)
    assert between(other, one) == between(one, other)


@pytest.mark.parametrize("seed", range(20))
def test_any_two_places_by_the_spherical_law_of_cosines(seed: int) -> None:
    lat_a, lat_b = np.random.default_rng(seed).uniform(-89, 89, 2).tolist()
    lon_a, lon_b = np.random.default_rng(seed + 1000).uniform(-180, 180, 2).tolist()
    phi_a, phi_b, dlambda = math.radians(lat_a), math.radians(lat_b), math.radians(lon_b - lon_a)
    cosine = math.sin(phi_a) * math.sin(phi_b) + math.cos(phi_a) * math.cos(phi_b) * math.cos(dlambda)
    assert between((lat_a, lon_a), (lat_b, lon_b)) == pytest.approx(math.acos(cosine) * RADIUS_MM, rel=1e-6)


def test_a_metre_is_a_thousand_millimetres() -> None:
    assert between((21.0, 105.0), (21.0 + 1_000 / DEGREE_MM, 105.0)) == 1000
