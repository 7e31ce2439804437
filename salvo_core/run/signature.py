"""Signatures: who may order work, where writing to Redis or to the bucket should not be enough.

A key (``SALVO_SIGNING_KEY``) is shared by those who submit and those who work. Two things carry
a signature of it: each message, which a worker looks at before anything else, and the plan,
which names all that the run may ask (the scenarios by their digests). The second is what
holds: sweeps sign messages for whatever plan the bucket has, so a plan that somebody merely
put there must not be worth anything.

What is signed is an *order*. Rows, journals and results are not: see ARCHITECTURE.md.

Source:
    RFC 2104 (HMAC), with SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from salvo_core.identity import canonical_json

Lack = Literal["unsigned", "bad signature"]


@dataclass(frozen=True)
class Signer:
    """Signs with the first of its keys and accepts a signature by any: so keys can be changed one by one.

    Without keys it signs nothing and accepts everything.
    """

    keys: tuple[str, ...] = field(default=(), repr=False)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """What tells the keys apart and gives nothing of them away, in their order; 12 hex digits each."""
        return tuple(_mac(key, "salvo.fingerprint/1", ())[:12] for key in self.keys)

    def sign(self, kind: str, *parts: str | int) -> str:
        """Return the signature of parts, 64 hex digits; empty without a key.

        Args:
            kind: What the parts are together, with a version: no signature serves for another kind.
            parts: In a fixed order.
        """
        return _mac(self.keys[0], kind, parts) if self.keys else ""

    def lack(self, signature: object, kind: str, *parts: str | int) -> Lack | None:
        """Return what is wrong with a signature that came with parts, None if nothing is.

        Args:
            signature: Untrusted.
            kind: As in ``sign``.
            parts: As in ``sign``.
        """
        if not self.keys:
            return None
        if not signature:
            return "unsigned"
        given = str(signature).encode("utf-8", "replace")
        # Every key is tried, each in constant time: how long it takes says nothing about any of them.
        fits = [hmac.compare_digest(given, _mac(key, kind, parts).encode()) for key in self.keys]
        return None if any(fits) else "bad signature"


UNSIGNED = Signer()
"""Of a site without a key."""


def _mac(key: str, kind: str, parts: Iterable[str | int]) -> str:
    # As a JSON list, so that no two lists of parts read the same.
    return hmac.new(key.encode(), canonical_json([kind, *parts]), hashlib.sha256).hexdigest()
