"""One provider's address and key, put together on the worker, and the call that uses them.

Owns where a base URL and a key are looked up, and which values are secrets. Keys are
read at the first turn, not before: a command line that only checks names needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from salvo_core.adapters.failures import Peer
from salvo_core.adapters.profile import Profile, SecretSource, checked_base_url, header_value
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.adapters.transport import Reply, Transport
from salvo_core.errors import ProviderAuthentication, UsageError
from salvo_core.trace.model import Message

SECRET_CHARS_MIN = 8
"""Shorter values are placeholders (``none``, ``EMPTY``): striking them out of every trace would ruin it."""

_KEY_BYTES_MAX = 16_384
_SECRET_NAMES = ("key", "token", "secret", "auth", "cookie", "password", "sig", "code")


@dataclass(frozen=True, slots=True)
class Wire:
    """What is fixed about a wire format: who speaks it where, and how turns become bodies and back.

    Attributes:
        write: From a conversation to a request's body.
        read: From a provider's answer to the turn in it; raises ``ProviderError``.
        base_url: The vendor's address; empty when there is no vendor.
        base_url_env: The worker's variable that replaces it.
        key_env: The worker's variable that holds the key; may be empty.
        auth_header: The header that carries the key.
        path: Follows the base URL.
        headers: Sent with every request.
        provider_id: Whose price list applies.
    """

    write: Callable[[Sequence[Message], Sequence[ToolSpec] | None, TurnConfig], dict[str, Any]]
    read: Callable[[Peer, Reply, TurnConfig], TurnReply]
    base_url: str
    base_url_env: str
    key_env: str
    auth_header: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    provider_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Address:
    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    secrets: frozenset[str] = field(repr=False)


class Endpoint:
    """A provider that can be sent a body.

    Args:
        name: The adapter's or the profile's name, for errors.
        profile: What the project says.
        wire: What the wire format says where the profile is silent.
        source: Where keys and base URLs of this worker come from.
        transport: Who carries the body.

    Raises:
        UsageError: There is no base URL, or the worker's variable holds something else.
    """

    def __init__(
        self, name: str, profile: Profile, wire: Wire, source: SecretSource, transport: Transport
    ) -> None:
        self.name = name
        # A vendor's key goes to the vendor, or where its own variable points; another address names its key.
        self.key_name = profile.key_file or profile.key_env or ("" if profile.base_url else wire.key_env)
        self._profile = profile
        self._wire = wire
        self._source = source
        self._transport = transport
        self.base_url = self._find_base_url()
        self._secrets = self._secrets_of_profile()
        self._address: _Address | None = None
        self.peer = Peer.of(self.base_url + wire.path, key_name=self.key_name, secrets=self._secrets)

    def known_secrets(self) -> frozenset[str]:
        """Return the exact secret values this endpoint sends, or would send; looks the key up if need be."""
        try:
            return self._resolved().secrets
        except ProviderAuthentication:
            return self._secrets  # no key, so none to give away

    async def post(self, body: Mapping[str, Any], trace_id: str) -> Reply:
        """Return the provider's answer to body.

        Args:
            body: Of the wire format, JSON-able.
            trace_id: The trial's id, sent as ``X-Salvo-Trace-Id`` unless the profile forbids; may be empty.

        Raises:
            ProviderAuthentication: This worker has no key for it.
            ProviderError: As ``Transport.post_json``.
        """
        address = self._resolved()
        headers = address.headers
        if trace_id and self._profile.trace_header:
            headers = {**headers, "x-salvo-trace-id": trace_id}
        return await self._transport.post_json(
            address.url,
            headers,
            body,
            timeouts=self._profile.timeouts,
            key_name=self.key_name,
            secrets=address.secrets,
        )

    def _resolved(self) -> _Address:
        if self._address is None:
            self._address = self._resolve()
            self.peer = Peer(self.peer.where, self.key_name, tuple(self._address.secrets))
        return self._address

    def _find_base_url(self) -> str:
        if self._profile.base_url:
            return self._without_version(self._profile.base_url)
        variable = self._wire.base_url_env
        try:
            base_url = checked_base_url((self._source.secret(variable) or "").strip())
        except ValueError as error:
            raise UsageError(f"{variable} cannot be used: {error}") from error
        if not (base_url or self._wire.base_url):
            raise UsageError(
                f"adapter {self.name!r} has no address",
                hint=f"Give its provider profile a base_url, or set {variable} on the worker.",
            )
        return self._without_version(base_url) or self._wire.base_url

    def _without_version(self, base_url: str) -> str:
        """People write an address with and without the version that the path brings along."""
        return base_url.removesuffix("/v1") if self._wire.path.startswith("/v1/") else base_url

    def _secrets_of_profile(self) -> frozenset[str]:
        """Secrets that stand in the configuration itself: passwords in the address, tokens in headers."""
        named = {**self._profile.headers, **self._profile.query}
        values: set[str] = set()
        for name, value in named.items():
            if any(mark in name.lower() for mark in _SECRET_NAMES):
                values |= {value, value.rpartition(" ")[2]}  # the second is a token without its scheme
        password = urlsplit(self.base_url).password
        if password:
            values |= {password, unquote(password)}
        return frozenset(value for value in values if len(value) >= SECRET_CHARS_MIN)

    def _resolve(self) -> _Address:
        query = f"?{urlencode(self._profile.query)}" if self._profile.query else ""
        headers = {**self._wire.headers, **{k.lower(): v for k, v in self._profile.headers.items()}}
        secrets = self._secrets
        key = self._find_key()
        if key:
            header = self._profile.auth_header or self._wire.auth_header
            scheme = self._profile.auth_scheme
            if scheme is None:
                scheme = "Bearer" if header.lower() == "authorization" else ""
            headers[header.lower()] = f"{scheme} {key}".strip()
            secrets |= {key} if len(key) >= SECRET_CHARS_MIN else frozenset()
        return _Address(self.base_url + self._wire.path + query, headers, secrets)

    def _find_key(self) -> str:
        if self._profile.key_file:
            key = self._key_in_file()
        else:
            key = (self._source.secret(self.key_name) or "").strip() if self.key_name else ""
        try:
            header_value(key)
        except ValueError as error:
            raise ProviderAuthentication(
                f"the key in {self.key_name} cannot be sent: {error}",
                hint="Was it pasted with something else?",
            ) from None
        # Servers of one's own often need no key, so only the vendor's own address demands one.
        if not key and self._wire.base_url and self.base_url == self._wire.base_url:
            raise ProviderAuthentication(
                f"no key for {self.name!r}: {self.key_name} is not set on this worker",
                hint=f"Set {self.key_name}, or point base_url at a server that needs no key.",
            )
        return key

    def _key_in_file(self) -> str:
        path = Path(self._profile.key_file).expanduser()
        try:
            with path.open("rb") as file:  # a few bytes of a local file, once: not worth a thread
                content = file.read(_KEY_BYTES_MAX + 1)
            key = content.decode("ascii").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
            raise ProviderAuthentication(
                f"the key file {path} of {self.name!r} cannot be read: {reason}",
                hint="It must be on each worker, readable by it, and hold the key and nothing else.",
            ) from None  # the text of a decoding error quotes the key
        if not key or len(content) > _KEY_BYTES_MAX:
            raise ProviderAuthentication(
                f"the key file {path} of {self.name!r} holds no key",
                hint="It must hold the key and nothing else.",
            )
        return key
