"""Distance on the globe, in whole millimetres so that sums do not depend on their order (law 1)."""

from __future__ import annotations

import numpy as np

from detectors.columns import Float, Int

EARTH_DIAMETER_MM = 2 * 6_371_008_771.4
"""Twice the mean radius of the Earth (IUGG)."""


def distance_mm(lat_a: Float, lon_a: Float, lat_b: Float, lon_b: Float) -> Int:
    """Great-circle distance between positions in degrees (haversine), rounded to the millimetre."""
    phi_a, phi_b = np.radians(lat_a), np.radians(lat_b)
    half_dphi = (phi_b - phi_a) * 0.5
    half_dlambda = np.radians(lon_b - lon_a) * 0.5
    chord = np.sin(half_dphi) ** 2 + np.cos(phi_a) * np.cos(phi_b) * np.sin(half_dlambda) ** 2
    distance: Int = np.rint(EARTH_DIAMETER_MM * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))).astype(np.int64)
    return distance
