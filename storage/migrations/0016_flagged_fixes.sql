-- Which checks failed, and when, of one vehicle over any time: few fixes are flagged, and the index alone answers.
CREATE INDEX fixes_flagged ON fixes (vehicle_id, time) INCLUDE (flags) WHERE flags <> 0;
