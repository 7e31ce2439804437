"""Secrets out, before bytes leave the process (I7).

One policy for every string of a record: the exact keys this process knows, then patterns
of what keys look like. Replacing errs on the side of replacing: a marker in a trace costs
a reader a moment, a key in a bucket costs an account.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MARKER = "[REDACTED]"
_SECRET_LENGTH_MIN = 8
"""Shorter "secrets" (a dummy key such as ``x``) would blank out ordinary text."""

_KEYWORD = r"(?:api[_-]?key|secret|password|passwd|token|authorization)"
_SECRET_NAME = re.compile(rf"(?:[a-z]+[_-])*{_KEYWORD}", re.I)
_PATTERNS = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        # The header forms come first, whole, so that no half of a header is left standing.
        (r"\b(?:set-)?cookie\s*:\s*[^\r\n]+", re.I),
        (r"\bx-api-key\s*:\s*\S+", re.I),
        (rf"\b{_KEYWORD}\s*[:=]\s*bearer\s+[A-Za-z0-9._~+/=-]+", re.I),
        (r"\bbearer\s+(?=[A-Za-z0-9._~+/-]*[0-9._])[A-Za-z0-9._~+/=-]{6,}", re.I),
        # "api_key": "abc", api_key=abc, password: abc; in JSON the key may be quoted, even twice over.
        (rf'\b{_KEYWORD}\\?["\']?\s*[:=]\s*\\?"(?:[^"\\]|\\.)*?\\?"', re.I),
        (rf"\b{_KEYWORD}\\?[\"']?\s*[:=]\s*[^\s\"',}}\]]+", re.I),
        (r"\bsk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]*[A-Za-z0-9]{20,}[A-Za-z0-9_-]*", 0),
        (r"\bsk-(?:proj|ant|or)-[A-Za-z0-9_-]{20,}", 0),
        (r"\bgh[pousr]_[A-Za-z0-9]{36,}", 0),
        (r"\bgithub_pat_[A-Za-z0-9_]{22,}", 0),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", 0),
        (r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}", 0),
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+", 0),
        (r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)", 0),
    )
)


class Redactor:
    """Replaces secrets in strings and in whole documents.

    Args:
        secrets: Exact values this process knows; those under 8 characters are left to the patterns.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({s for s in secrets if len(s) >= _SECRET_LENGTH_MIN}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """Return text with every secret replaced by ``[REDACTED]``."""
        if self._known is not None:
            text = self._known.sub(MARKER, text)
        for pattern in _PATTERNS:
            text = pattern.sub(MARKER, text)
        return text

    def document(self, document: Any) -> Any:
        """Return a copy of a JSON-ready document with every string in it redacted, keys included."""
        match document:
            case str():
                return self.text(document)
            case dict():
                return {
                    self.text(str(key)): MARKER
                    if isinstance(value, str) and _SECRET_NAME.fullmatch(str(key))
                    else self.document(value)
                    for key, value in document.items()
                }
            case list() | tuple():
                return [self.document(value) for value in document]
            case _:
                return document
