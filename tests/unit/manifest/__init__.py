"""The state of a run, without a server."""
