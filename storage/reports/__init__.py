"""The reports that transport offices owe the state, computed from the tables."""
