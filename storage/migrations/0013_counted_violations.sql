-- Panels count the violations of a month by kind, grade, band and vehicle: read from here alone, without their rows. The
-- driver is named because the view joins drivers, even where a panel asks for none.
CREATE INDEX violations_counted ON violations (started_at)
    INCLUDE (vehicle_id, driver_id, kind, grade, fine_band, report_band)
    WHERE status <> 'withdrawn' AND excused_at IS NULL;
