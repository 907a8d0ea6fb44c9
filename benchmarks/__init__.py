"""What is fast, measured: each figure in the documents comes from a command here."""
