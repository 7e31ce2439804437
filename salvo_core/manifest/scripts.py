"""The Lua scripts, read from ``lua/`` once and sent to Redis by their digest."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

SCRIPTS = (
    "open", "seed", "release", "submitted", "claim", "journal", "vote", "commit", "give_back", "renew",
    "expire", "cancel", "cancel_rows", "skip_rows", "pause", "unpause", "seal",
    "restate", "recount", "tidy", "reseat", "reopen", "extend",
    "skip", "open_budget", "reserve", "settle", "settle_lost", "raise_budget", "unskip", "pulse",
    "lines",
)  # fmt: skip

_FOLDER = files("salvo_core.manifest").joinpath("lua")


@cache
def script_text(name: str) -> str:
    """Return the text of one script, the shared prelude in front of it.

    Args:
        name: One of ``SCRIPTS``.
    """
    return _part("prelude") + _part(name)


@cache
def _part(name: str) -> str:
    return _FOLDER.joinpath(f"{name}.lua").read_text("utf-8")
