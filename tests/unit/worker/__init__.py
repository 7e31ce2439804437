"""The worker's own machinery."""
