"""What a worker would put together, in a few lines, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salvo_core.adapters.prices import ModelRates
from salvo_core.adapters.profile import Profile, Timeouts
from salvo_core.adapters.registry import AdapterRegistry
from salvo_core.adapters.transport import Transport
from salvo_core.clock import Clock, SystemClock


class Secrets(dict[str, str]):
    """A worker's environment."""

    def secret(self, name: str) -> str | None:
        return self.get(name)


def registry(
    *,
    profiles: dict[str, dict[str, Any]] | None = None,
    secrets: dict[str, str] | None = None,
    allow_imports: Sequence[str] = (),
    prices: dict[str, ModelRates] | None = None,
    clock: Clock | None = None,
    site_secrets: Sequence[str] = (),
) -> AdapterRegistry:
    return AdapterRegistry(
        profiles={name: Profile.model_validate(profile) for name, profile in (profiles or {}).items()},
        allow_imports=allow_imports,
        secrets=Secrets(secrets or {}),
        transport=Transport(2, Timeouts(read_s=5, turn_s=5)),
        clock=clock or SystemClock(),
        prices=prices,
        site_secrets=site_secrets,
    )
