"""Secrets out, before bytes leave the process (I7).

One policy for every string of a record: the exact keys this process knows, then patterns
of what keys look like. Replacing errs on the side of replacing: a marker in a trace costs
a reader a moment, a key in a bucket costs an account.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable
from functools import cache
from itertools import count
from typing import Any, Literal, get_args, get_origin

import regex
from pydantic import BaseModel

MARKER = "[REDACTED]"
PATTERN_TIME_S_MAX = 1.0
"""How long a project's own pattern may search one text; a text that takes longer is struck out whole."""

_TIMEOUTS_MAX = 3
"""Of one pattern; from then on it is not waited for any more, and every text it would search goes."""

_SECRET_LENGTH_MIN = 8
"""Shorter "secrets" (a dummy key such as ``x``) would blank out ordinary text."""

_KEYWORD = (
    r"(?:(?:secret[_-]?)?(?:api|access|private)[_-]?key|secret[_-]?key|secret|"
    r"password|passwd|passphrase|token|authorization)"
)
_SECRET_NAME = re.compile(rf"(?:{_KEYWORD}|\b(?:set-)?cookie)\Z", re.I)
"""At the end of a key: ``api_key``, ``X-Api-Key``, ``accessToken``; not ``total_tokens``."""

_BACKSLASHES = r"\\{0,7}"  # JSON inside JSON inside JSON: each level doubles what stands before a quote
_VALUE = (
    # Longest first. A marker is a value too, so that what is redacted already stays as it is.
    r"(?:\[REDACTED\]"
    r'|"(?:[^"\\]|\\.)*"'  # quoted, with escapes
    r'|(\\{1,7})".*?(?<!\\)\1"'  # quoted with escaped quotes: JSON in a string
    r"|'[^'\r\n]*'"
    rf"|{_BACKSLASHES}[\"']?[^\s\"',}}\]\\]+)"  # bare, or cut off in the middle
)
_SEPARATOR = rf"{_BACKSLASHES}[\"']?\s*[:=]{{1,2}}>?\s*"
_SCHEME = r"(?:bearer|basic|digest|token|negotiate)"


def _begun(word: str) -> str:
    """Return a pattern for a word of fixed length that begins here, be it after an escape.

    Tool results are JSON in a string, where a line begins behind a backslash and an n, and what a
    terminal was to colour stands behind an m. The word goes first: a search for it is the fastest.
    """
    edges = (
        r"(?<![A-Za-z0-9]{})",
        r"(?<=\\[bfnrt]{})",
        r"(?<=\\u[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]{})",
    )
    colours = (
        r"(?<=\[m{})",
        *(rf"(?<=[;\[]{digits}m{{}})" for digits in ("[0-9]", "[0-9]" * 2, "[0-9]" * 3)),
    )
    return word + "(?:" + "|".join(edge.replace("{}", word) for edge in edges + colours) + ")"


_KEYWORD_SIGNS = ("key", "secret", "passw", "passphrase", "token", "authorization")
_PATTERNS = tuple(
    (frozenset(signs), re.compile(pattern, flags))
    for signs, pattern, flags in (
        (
            ("-----begin",),
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
            re.S,
        ),
        # The header forms come first, whole, so that no half of a header is left standing.
        (("cookie",), rf"(?:{_begun('set-cookie')}|{_begun('cookie')})\s*:\s*[^\r\n]+", re.I),
        (("x-api-key",), _begun("x-api-key") + r"\s*:\s*\S+", re.I),
        (
            _KEYWORD_SIGNS,
            rf"{_KEYWORD}\s*[:=]\s*{_SCHEME}\s+(?:\[REDACTED\]|[^\s\"',}}\]\\]+)",
            re.I,
        ),
        # A word that holds a digit, or a dot that does not end a sentence: "bearer of news." is none.
        (
            ("bearer",),
            _begun("bearer") + r"\s+(?=[A-Za-z0-9._~+/-]*(?:[0-9]|[._][A-Za-z0-9]))[A-Za-z0-9._~+/=-]{6,}",
            re.I,
        ),
        # "api_key": "abc", DB_PASSWORD=abc, password: 'abc'. Whatever stands before the keyword is left.
        (_KEYWORD_SIGNS, rf"{_KEYWORD}{_SEPARATOR}{_VALUE}", re.I | re.S),
        # The bounds keep a text of nothing but sk-sk-sk- from being read once for each of them.
        (("sk-",), _begun("sk-") + r"[A-Za-z0-9_-]{0,32}?[A-Za-z0-9]{20}[A-Za-z0-9_-]*", 0),
        (("sk-",), _begun("sk-") + r"(?:proj|ant|or)-[A-Za-z0-9_-]{20,}", 0),
        (("gh",), _begun("gh") + r"[pousr]_[A-Za-z0-9]{36,}", 0),
        (("github_pat_",), _begun("github_pat_") + r"[A-Za-z0-9_]{22,}", 0),
        (("akia", "asia"), _begun("A[KS]IA") + r"[A-Z0-9]{16}(?![A-Z0-9])", 0),
        (("xox",), _begun("xox") + r"[abeoprs]-[A-Za-z0-9-]{10,}", 0),
        (("eyj",), _begun("eyJ") + r"(?<![_-]eyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+", 0),
        (("://",), r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)", 0),
    )
)
"""Each with its signs: text without any of them, folded to lower case, cannot match. Most text has none."""
_SIGNS = frozenset[str]().union(*(signs for signs, _ in _PATTERNS))


_IDENTITY = frozenset({"trace_id", "run_id", "digest", "request"})


class Redactor:
    """Replaces secrets in strings, in whole documents and in records.

    Args:
        secrets: Exact values this process knows; those under 8 characters are left to the patterns.
        patterns: Regular expressions of the project's own. They come after ours and cannot weaken them.
            One that takes too long (``(a+)+$`` can take for ever) hides the whole text.
    """

    def __init__(self, secrets: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self._own = tuple(regex.compile(pattern) for pattern in dict.fromkeys(patterns))
        self._timeouts: Counter[str] = Counter()
        # A secret that is part of the marker would be found again in every marker.
        usable = {s for s in secrets if len(s) >= _SECRET_LENGTH_MIN and s not in MARKER}
        known = sorted(usable, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """Return text with every secret replaced by ``[REDACTED]``."""
        if self._known is not None:
            text = self._known.sub(MARKER, text)
        folded = text.casefold()
        if present := [sign for sign in _SIGNS if sign in folded]:
            for signs, pattern in _PATTERNS:
                if not signs.isdisjoint(present):
                    text = pattern.sub(MARKER, text)
        for own in self._own:
            text = self._without(own, text)
        return text

    def _without(self, own: regex.Pattern[str], text: str) -> str:
        """Return text without what a project's own pattern matches; without any of it if nobody can tell."""
        if self._timeouts[own.pattern] < _TIMEOUTS_MAX:
            try:
                clean: str = own.sub(
                    lambda found: MARKER if found[0] else "",  # "x*" matches nothing everywhere
                    text,
                    timeout=PATTERN_TIME_S_MAX,
                    concurrent=True,
                )
                return clean
            except TimeoutError:
                self._timeouts[own.pattern] += 1
        return MARKER if text else text

    def record(self, record: BaseModel) -> dict[str, Any]:
        """Return a record as a JSON-ready document without secrets, which validates as that record again.

        What people and models wrote is redacted, and so is everything free in form. What gives a
        record its form stays, whatever a secret or a pattern may look like: the names of its
        fields, words from a fixed list, times, ids and digests.
        """
        return self._record(record, record.model_dump(mode="json"))

    def _record(self, record: BaseModel, dumped: dict[str, Any]) -> dict[str, Any]:
        form = _fields_of_form(type(record))
        return {
            name: value if name in form else self._part(getattr(record, name), value)
            for name, value in dumped.items()
        }

    def _part(self, value: Any, dumped: Any) -> Any:
        match value:
            case BaseModel():
                return self._record(value, dumped)
            case tuple():
                return [
                    self._part(inner, inner_dumped) for inner, inner_dumped in zip(value, dumped, strict=True)
                ]
            case str() | dict() | list():
                return self.document(dumped)
            case _:
                return dumped

    def document(self, document: Any) -> Any:
        """Return a copy of a JSON-ready document with every string in it redacted, keys included."""
        match document:
            case str():
                return self.text(document)
            case dict():
                redacted: dict[str, Any] = {}
                for key, value in document.items():
                    hidden = _SECRET_NAME.search(str(key)) is not None
                    clean = self.document(value)
                    redacted[self._free_key(str(key), redacted)] = _masked(clean) if hidden else clean
                return redacted
            case list() | tuple():
                return [self.document(value) for value in document]
            case _:
                return document

    def _free_key(self, key: str, taken: Container[str]) -> str:
        """Return the key redacted; a second secret in one map must not take the first one's place."""
        redacted = self.text(key)
        if redacted not in taken:
            return redacted
        return next(free for number in count(2) if (free := f"{redacted} {number}") not in taken)


@cache
def _fields_of_form(model: type[BaseModel]) -> frozenset[str]:
    """Return the fields of a record whose values say nothing but what was agreed beforehand."""

    def is_word_of_a_list(annotation: Any) -> bool:
        return get_origin(annotation) is Literal or any(map(is_word_of_a_list, get_args(annotation)))

    words = {name for name, field in model.model_fields.items() if is_word_of_a_list(field.annotation)}
    return frozenset(words | (_IDENTITY & model.model_fields.keys()))


def _masked(value: Any) -> Any:
    """Return what a secret's name stands for without its strings; the rest says nothing."""
    match value:
        case str():
            return MARKER
        case dict():
            return {key: _masked(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_masked(inner) for inner in value]
        case _:
            return value
