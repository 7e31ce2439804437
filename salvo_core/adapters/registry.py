"""From an adapter's name in a scenario to the adapter.

A name is, in this order: a provider profile of the project, a builtin (``openai``,
``anthropic``, ``http``, ``scripted``), or the dotted path of a team's own class. A
dotted path runs that team's code on the worker, so the worker's owner lists what it
may import; a scenario cannot widen the list.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from salvo_core.adapters import anthropic, http, openai
from salvo_core.adapters.bounds import Declared
from salvo_core.adapters.endpoint import Endpoint, Wire
from salvo_core.adapters.failures import clean
from salvo_core.adapters.foreign import ForeignAdapter
from salvo_core.adapters.prices import ModelRates, PriceTable
from salvo_core.adapters.profile import Allowance, BreakerTerms, Profile, SecretSource
from salvo_core.adapters.protocol import Adapter
from salvo_core.adapters.retrying import Backoff
from salvo_core.adapters.script import Script
from salvo_core.adapters.scripted import ScriptedAdapter
from salvo_core.adapters.transport import Transport
from salvo_core.adapters.wired import WiredAdapter
from salvo_core.clock import Clock
from salvo_core.errors import UsageError
from salvo_core.imports import ImportGate
from salvo_core.trace.model import Usage

WireName = Literal["openai", "anthropic", "http"]

_WIRES: dict[WireName, Wire] = {"openai": openai.WIRE, "anthropic": anthropic.WIRE, "http": http.WIRE}
BUILTINS = (*_WIRES, "scripted")

_PROFILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class AdapterRegistry:
    """The adapters of one worker, or of one command.

    Args:
        profiles: The project's providers by name. One called like a builtin replaces its settings.
        allow_imports: Patterns of dotted paths that may be imported, for example ``my_pkg.*``.
        secrets: Where keys and base URLs come from.
        transport: Carries every HTTP adapter's requests; closed by ``aclose``.
        clock: For scripted latency.
        prices: The project's own, by model name; a profile's go before them.
        backoff: For providers whose profile does not say ``retries_max``.
        site_secrets: Other values that this process holds and no trace may: they count as known secrets.

    Raises:
        UsageError: A profile's name cannot be one.
    """

    def __init__(
        self,
        *,
        profiles: Mapping[str, Profile],
        allow_imports: Sequence[str],
        secrets: SecretSource,
        transport: Transport,
        clock: Clock,
        prices: Mapping[str, ModelRates] | None = None,
        backoff: Backoff | None = None,
        site_secrets: Sequence[str] = (),
    ) -> None:
        self._profiles = dict(profiles)
        self._site_secrets = frozenset(site_secrets)
        self._imports = ImportGate(allow_imports, describe=self._described)
        self._source = secrets
        self._transport = transport
        self._clock = clock
        self._prices = dict(prices or {})
        self._backoff = backoff or Backoff()
        self._adapters: dict[str, Adapter] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._price_tables: dict[str, PriceTable] = {}
        self._prepared: dict[str, asyncio.Task[None]] = {}
        for name, profile in self._profiles.items():
            _check_profile(name, profile)

    def get(self, name: str, script: Script | None = None) -> Adapter:
        """Return the adapter called name.

        A provider's adapter is one per registry and serves all trials. A scripted one, or
        one of a team's own class, is made afresh by each call, because it may keep state:
        ask once per trial, and ``aclose`` it afterwards, which leaves shared ones open.

        Args:
            name: Of a profile, a builtin, or a class.
            script: What ``scripted`` plays; the others pay no heed to it.

        Raises:
            UsageError: There is no such adapter, it may not be imported here, or it cannot
                be made; the message says which, the hint what to do.
        """
        if name in self._adapters:
            return self._adapters[name]
        if name in self._profiles or name in _WIRES:
            self._adapters[name] = self._provider(name)
            return self._adapters[name]
        if name == "scripted":
            if script is None:
                raise UsageError(
                    "adapter 'scripted' has nothing to play",
                    hint="Write what it answers under `script:` in the scenario.",
                )
            return ScriptedAdapter(script, self._clock)
        if "." in name:
            return self._foreign(name)
        raise self._unknown(name)

    async def prepare(self, name: str, model: str) -> None:
        """Return once, beside the loop, is read what an adapter's first exchange needs: certificates, prices.

        Together they take a tenth of a second, for which all trials of a worker would stand still. What
        cannot be read is met again by the exchange, which knows what to make of it.

        Args:
            name: Of the adapter; nothing is read for one that reaches no provider.
            model: As it will be sent.
        """
        if not self.reaches_provider(name):
            return
        if name not in self._prepared:
            self._prepared[name] = asyncio.create_task(asyncio.to_thread(self._read_ahead, name, model))
        await asyncio.shield(self._prepared[name])  # others wait for it, too

    def _read_ahead(self, name: str, model: str) -> None:
        with suppress(Exception):
            self._transport.prepare()
            self.price_usd(name, model, Usage())

    def backoff_for(self, name: str) -> Backoff:
        """Return how patient to be with an adapter."""
        profile = self._profiles.get(name)
        if profile is None or profile.retries_max is None:
            return self._backoff
        return replace(self._backoff, retries_max=profile.retries_max)

    def breaker_terms(self, name: str) -> BreakerTerms:
        """Return when workers stop asking an adapter's provider for a while."""
        profile = self._profiles.get(name)
        return BreakerTerms() if profile is None else profile.breaker

    def price_usd(self, name: str, model: str, usage: Usage) -> float | None:
        """Return what the tokens of one exchange cost, US dollars, unrounded; None if no price is known.

        Args:
            name: Of the adapter: it tells whose price list applies.
            model: As sent, or as the provider says it answered.
            usage: Of one exchange.
        """
        return self._prices_of(name).price_usd(model, usage)

    def reaches_provider(self, name: str) -> bool:
        """Tell whether an adapter asks a provider over the network, one that all its trials share."""
        return name in self._profiles or name in _WIRES

    def allowance(self, name: str) -> Allowance:
        """Return what all workers together may ask of an adapter's provider, as this project states it."""
        return self._profiles[name].allowance if name in self._profiles else Allowance()

    def output_tokens_max(self, name: str, model: str) -> int | None:
        """Return how long an answer may be, tokens, where the request does not say; None if nobody knows.

        Args:
            name: Of the adapter.
            model: As sent.
        """
        if self.reaches_provider(name) and self._profile(name).adapter == "anthropic":
            return anthropic.MAX_TOKENS_DEFAULT  # this wire always sends a cap
        return self._prices_of(name).context_tokens(model)

    def declared(self, name: str) -> Declared | None:
        """Return what an adapter's exchanges take at most by its owner's word; None where they show it.

        Args:
            name: Of the adapter. Agents behind ``http``, and a team's own class, may spend behind our back.
        """
        if self.reaches_provider(name):
            profile = self._profile(name)
            if profile.adapter != "http":
                return None
            return Declared(profile.turn_cost_usd_max, profile.turn_tokens_max)
        return Declared() if "." in name else None

    def _prices_of(self, name: str) -> PriceTable:
        if name not in self._price_tables:
            self._price_tables[name] = self._price_table(name)
        return self._price_tables[name]

    def known_secrets(self) -> frozenset[str]:
        """Return the exact secret values this worker holds, for providers above all: redaction's first list.

        Of every profile and builtin, whether asked yet or not: a trial may be resumed from
        turns that another worker paid for, and a team's own class may use the same keys.
        Values of fewer than ``endpoint.SECRET_CHARS_MIN`` characters are left out.
        """
        for name in {*self._profiles, *_WIRES}:
            with suppress(UsageError):  # an agent without an address has no key either
                self._endpoint(name)
        return self._site_secrets.union(*(endpoint.known_secrets() for endpoint in self._endpoints.values()))

    async def aclose(self) -> None:
        """Close all connections. The registry is not used afterwards."""
        await self._transport.aclose()

    def _provider(self, name: str) -> Adapter:
        return WiredAdapter(self._endpoint(name), _WIRES[self._profile(name).adapter])

    def _endpoint(self, name: str) -> Endpoint:
        if name not in self._endpoints:
            profile = self._profile(name)
            wire = _WIRES[profile.adapter]
            self._endpoints[name] = Endpoint(name, profile, wire, self._source, self._transport)
        return self._endpoints[name]

    def _profile(self, name: str) -> Profile:
        if name in self._profiles:
            return self._profiles[name]
        return Profile.model_validate({"adapter": name})

    def _price_table(self, name: str) -> PriceTable:
        if name not in self._profiles and name not in _WIRES:
            return PriceTable(self._prices)
        profile = self._profile(name)
        return PriceTable(
            {**self._prices, **profile.prices},
            provider_id=_WIRES[profile.adapter].provider_id,
            base_url=self._endpoint(name).base_url,
        )

    def _unknown(self, name: str) -> UsageError:
        known = sorted({*BUILTINS, *self._profiles})
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"Did you mean {close[0]!r}? " if close else ""
        return UsageError(
            f"there is no adapter {clean(name)!r}",
            hint=f"{meant}Known here: {', '.join(known)}; or the dotted path of a class of your own.",
        )

    def _foreign(self, path: str) -> Adapter:
        if not all(part.isidentifier() for part in path.split(".")):
            raise self._unknown(path)
        found = self._imported(path)
        try:
            instance = found()
        except Exception as error:  # wide on purpose: a stranger's constructor may raise anything
            raise UsageError(
                f"the adapter class {path} could not be made: {self._described(error)}"
            ) from error
        return ForeignAdapter(path, instance, secrets=self.known_secrets)

    def _imported(self, path: str) -> type[Any]:
        found: type[Any] = self._imports.load(path, "adapter class")
        if not inspect.isclass(found) or not inspect.iscoroutinefunction(getattr(found, "send_turn", None)):
            raise UsageError(
                f"{path} is no adapter",
                hint="It needs an `async def send_turn(self, messages, tools=None, config=None)`.",
            )
        return found

    def _described(self, error: BaseException) -> str:
        return clean(f"{type(error).__name__}: {error}", self.known_secrets())


def _check_profile(name: str, profile: Profile) -> None:
    if not _PROFILE_NAME.fullmatch(name):
        raise UsageError(f"{clean(name)!r} cannot name a provider: letters, digits, - and _ are expected")
    if name in BUILTINS and name != profile.adapter:
        raise UsageError(
            f"the provider profile {name!r} says adapter {profile.adapter!r}",
            hint="Give it a name of its own.",
        )
