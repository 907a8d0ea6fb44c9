"""Fuzzing: whatever bytes arrive, the named outcome and nothing else. `make fuzz` is the long form."""
