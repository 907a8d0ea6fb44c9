"""A whole country on one machine: a million vehicles through Kafka into one worker."""
