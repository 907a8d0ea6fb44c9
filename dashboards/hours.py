"""The limits on a driver's hours, one by one, in SQL."""

from __future__ import annotations

EACH_LIMIT = """
    panels.drivers_now CROSS JOIN LATERAL (VALUES
        (1, 'continuous_driving', continuous_s, continuous_limit_s), (2, 'daily_driving', day_s, day_limit_s),
        (3, 'weekly_driving', week_s, week_limit_s), (4, 'fortnight_driving', fortnight_s, fortnight_limit_s)
    ) AS clock (place, kind, driven_s, limit_s)
"""
"""A row for each driver and limit, one that is not in force with limit_s null."""
