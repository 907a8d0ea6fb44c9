"""The worker: from slices of the log to one committed transaction, and back over a past that changed."""
