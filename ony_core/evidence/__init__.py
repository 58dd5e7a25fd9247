"""What is read to understand a call. Reads, never runs."""
