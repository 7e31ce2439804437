"""Which names hold secrets, and text with what they hold taken out.

A key that was typed into a scenario by mistake must not travel on into a terminal, a CI
log or a frozen scenario.
"""

from __future__ import annotations

import re
import unicodedata

BLOCKED = frozenset(
    {
        "apikey",
        "apisecret",
        "secret",
        "token",
        "password",
        "authorization",
        "secretkey",
        "accesstoken",
        "refreshtoken",
    }
)
"""Names of secrets, their words joined."""

_TEXT_TOKEN_FOLLOWERS = frozenset({"id", "ids", "count", "limit", "budget", "bias"})
"""``stop_token_ids`` and its like speak of pieces of text, not of credentials."""

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_KEY_IN_LINE = re.compile(r"""([\w.-]+)["']?\s*[:=]\s*(?=\S)""")
_USER_IN_URL = re.compile(r"(://)[^/@\s]+@")
_SECRET_PATH = re.compile(
    r"""((?:\b(?:slack|webhook)["']?\s*:\s*["']?\w+://[^/\s"']*|://hooks\.slack\.com))/[^\s"',}]+"""
)
"""An address that is a secret as a whole: of a channel, see ``scenario.notify``."""
CONCEALED = "[concealed]"


def names_a_secret(key: str) -> bool:
    """Tell whether a key by its name holds a secret.

    The key is cut into words at capitals, digits and anything that is no letter. It names a
    secret when one word, or two neighbours joined, are in ``BLOCKED``: ``API_KEY``,
    ``apikey``, ``myToken`` and ``x-api-key`` do; ``max_completion_tokens``, ``tokenizer``
    and ``stop_token_ids`` do not.
    """
    words = [word.lower() for word in _WORD.findall(unicodedata.normalize("NFKC", key))]
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word + following in BLOCKED:
            return True
        if word in BLOCKED and not (word == "token" and following in _TEXT_TOKEN_FOLLOWERS):
            return True
    return False


def concealed(line: str) -> str:
    """Return one line of a file without the secrets it seems to hold.

    Everything after the first key that names a secret is left out, and so are the user
    information of URLs and what follows the host in the address of a channel. Characters in
    front keep their columns.
    """
    for found in _KEY_IN_LINE.finditer(line):
        if names_a_secret(found[1]):
            line = line[: found.end()] + CONCEALED
            break
    return _SECRET_PATH.sub(rf"\1/{CONCEALED}", _USER_IN_URL.sub(rf"\1{CONCEALED}@", line))
