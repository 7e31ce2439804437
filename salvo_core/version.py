"""Which Salvo this is."""

VERSION = "0.2.0"
"""Kept here because looking it up in the installed metadata costs more than the rest of a `--version`."""
