"""The end of every ``--help``: examples to copy, and what the exit code will say."""

from __future__ import annotations

from collections.abc import Sequence

_AS_IT_STANDS = "\b\n"
"""Click fills paragraphs unless they begin with this mark."""


def epilog(examples: Sequence[str], *codes: str) -> str:
    """Return a help's last two sections.

    Args:
        examples: Commands, each at most 76 characters so that it fits a line; none leaves the section out.
        codes: Lines such as "0 PASS · 1 FAIL or PARTIAL", at most 76 characters each.
    """
    sections = (("Examples:", examples), ("Exit codes:", codes))
    return "\n\n".join(
        _AS_IT_STANDS + "\n".join([title, *(f"  {line}" for line in lines)])
        for title, lines in sections
        if lines
    )
