"""One repetition."""
