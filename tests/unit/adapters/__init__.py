"""Adapters: wire formats, failures, patience and prices, against a real local server."""
