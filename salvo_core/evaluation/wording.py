"""Short, safe words for what a model or a scenario made up: bounded, one line, no control characters."""

from __future__ import annotations

import reprlib
from typing import Any

VALUE_CHARS_MAX = 160
"""Characters of one value quoted in a finding's details."""

_PLAIN = (bool, float, type(None))


class _Quoting(reprlib.Repr):
    """``repr`` that looks only at the head of what is large."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxdict = self.maxlist = 8
        self.maxstring = self.maxlong = VALUE_CHARS_MAX

    def repr_instance(self, x: Any, level: int) -> str:
        # Anything that is not JSON (a query may yield a function reference) would print its address.
        return repr(x) if isinstance(x, _PLAIN) else f"<{type(x).__name__}>"


_QUOTING = _Quoting()


def quoted(value: Any, limit: int = VALUE_CHARS_MAX) -> str:
    """Return a JSON value as its Python repr, at most limit characters, whatever the value's size."""
    return one_line(_QUOTING.repr(value), limit)


def one_line(text: str, limit: int) -> str:
    """Return text with runs of blanks made one, unprintable characters escaped, cut to limit characters.

    Terminal escapes, line breaks, direction marks and lone surrogates do not survive.
    """
    # Escaping lengthens and never shortens; blanks may shrink, so a text of blanks is cut early. Fine.
    head = " ".join(text[: 8 * limit].split())
    safe = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in head)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def apart(left: float, right: float, decimals: int) -> tuple[str, str]:
    """Return two numbers as text with as many decimals as it takes to see that they differ.

    Args:
        left: Any unit.
        right: The same unit.
        decimals: How many to begin with. Numbers that agree to 9 are shown with these.
    """
    for digits in range(decimals, 10):
        texts = f"{left:.{digits}f}", f"{right:.{digits}f}"
        if texts[0] != texts[1]:
            return texts
    return f"{left:.{decimals}f}", f"{right:.{decimals}f}"
