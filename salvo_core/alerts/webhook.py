"""Alerts posted: to a webhook, as the signed document, and to Slack, as text.

What is signed is the time and the body, so a request that somebody recorded is of no use later. While a
key is changed, a request carries a signature of each key; a receiver is content with the one it knows.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from salvo_core.adapters.profile import SecretSource
from salvo_core.alerts.alert import Alert
from salvo_core.alerts.channel import ChannelFailed
from salvo_core.alerts.posting import Posting
from salvo_core.alerts.slack import slack_document
from salvo_core.clock import Clock
from salvo_core.identity import canonical_json
from salvo_core.scenario.notify import ChannelTerms, checked_address
from salvo_core.settings import signing_keys

ID_HEADER = "X-Salvo-Alert-Id"
TIMESTAMP_HEADER = "X-Salvo-Timestamp"
SIGNATURE_HEADER = "X-Salvo-Signature"


def signature(keys: Sequence[str], timestamp: str, body: bytes) -> str:
    """Return what a request carries as its signature: ``v1=`` and hex digits, one a key, commas between.

    Args:
        keys: Shared with the receiver; the newest first.
        timestamp: Seconds since the epoch, as the request says them.
        body: As sent.
    """
    signed = timestamp.encode() + b"." + body
    return ",".join(f"v1={hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()}" for key in keys)


@dataclass(frozen=True)
class Posted:
    """A channel behind an address.

    Args:
        name: See ``Channel``.
        terms: What the project says of it, a webhook or Slack.
        secrets: Of the machine that fires: its address and keys may be there.
        posting: How often and how long.
    """

    name: str
    terms: ChannelTerms
    secrets: SecretSource = field(repr=False)
    posting: Posting = field(default_factory=Posting)

    @property
    def shown(self) -> str:
        """See ``Channel``."""
        return self.terms.shown

    async def send(self, alert: Alert, clock: Clock) -> str:
        """See ``Channel.send``."""
        address, keys = self._address(), self._keys()
        slack = self.terms.kind == "slack"
        body = canonical_json(slack_document(alert)) if slack else alert.body()
        return await self.posting.post(address, body, _signing(keys, alert, body, clock), clock, secrets=keys)

    def _address(self) -> str:
        if not self.terms.address_env:
            return self.terms.address
        try:
            return checked_address(self._secret(self.terms.address_env).strip())
        except ValueError as error:
            raise ChannelFailed(f"{self.terms.address_env} holds no address: {error}") from None

    def _keys(self) -> tuple[str, ...]:
        """Return the keys, none where none is asked for: what should be signed is never sent unsigned."""
        if not self.terms.signing_key_env:
            return ()
        try:
            return signing_keys(self._secret(self.terms.signing_key_env))
        except ValueError as error:
            raise ChannelFailed(f"{self.terms.signing_key_env} {error}") from None

    def _secret(self, variable: str) -> str:
        found = self.secrets.secret(variable)
        if not found:
            raise ChannelFailed(
                f"{variable} is not set here",
                hint="set it in the environment of every beat and worker --beat, and of this shell to try it",
            )
        return found


def _signing(keys: Sequence[str], alert: Alert, body: bytes, clock: Clock) -> Callable[[], Mapping[str, str]]:
    def headers() -> Mapping[str, str]:
        timestamp = str(int(clock.now().timestamp()))
        signed = {SIGNATURE_HEADER: signature(keys, timestamp, body)} if keys else {}
        return {ID_HEADER: alert.id, TIMESTAMP_HEADER: timestamp, **signed}

    return headers
