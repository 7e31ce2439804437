"""From what a schedule says to the channels that are told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from salvo_core.alerts.alert import Alert
from salvo_core.alerts.channel import Channel, ChannelFailed
from salvo_core.alerts.command import Command
from salvo_core.alerts.file import Lines
from salvo_core.alerts.webhook import Posted
from salvo_core.clock import Clock
from salvo_core.errors import UsageError
from salvo_core.identity import digest
from salvo_core.scenario.notify import URL_NAME, ChannelTerms, checked_destination, is_address
from salvo_core.scenario.project import FILE_NAME, Project
from salvo_core.scenario.spelling import did_you_mean
from salvo_core.settings import Settings


def channel_of(name_or_url: str, project: Project, settings: Settings) -> Channel:
    """Return the channel that a schedule means.

    Args:
        name_or_url: A channel of the project, or an address that holds no secret: it gets unsigned JSON.
        project: Of whoever fires; it says what a channel is.
        settings: Its environment holds the addresses and keys that the project only names.

    Raises:
        UsageError: The project has no such channel, or the address cannot be used.
    """
    try:
        checked_destination(name_or_url)
    except ValueError as error:
        shown = "this address" if is_address(name_or_url) else repr(name_or_url[:80])
        raise UsageError(f"{shown} cannot be told: {error}", hint=_known(name_or_url, project)) from None
    if is_address(name_or_url):
        name = URL_NAME + digest(name_or_url.encode())[:16]
        return Posted(name, ChannelTerms(webhook=name_or_url), settings)
    terms = project.notify.get(name_or_url)
    if terms is None:
        raise UsageError(
            f"{FILE_NAME} has no channel {name_or_url!r} under notify", hint=_known(name_or_url, project)
        )
    if terms.command is not None:
        return Command(name_or_url, terms.command, project.root, settings.bare_environment())
    if terms.file is not None:
        return Lines(name_or_url, project.root, terms.file)
    return Posted(name_or_url, terms, settings)


def channels_of(names: Iterable[str], project: Project, settings: Settings) -> list[Channel]:
    """Return the channels that a schedule means, each once.

    What is no channel here fails when it is told: it is seen as the others are, and keeps none waiting.
    """
    found: list[Channel] = []
    for name in dict.fromkeys(names):
        try:
            found.append(channel_of(name, project, settings))
        except UsageError as error:
            found.append(_Unknown(name if not is_address(name) else "an-address", error))
    return found


@dataclass(frozen=True)
class _Unknown:
    """A channel that a schedule names and this machine does not have."""

    name: str
    error: UsageError

    @property
    def shown(self) -> str:
        return "unknown here"

    async def send(self, alert: Alert, clock: Clock) -> str:
        raise ChannelFailed(self.error.message, hint=self.error.hint)


def _known(name: str, project: Project) -> str:
    known = list(project.notify)
    if is_address(name) or not known:
        return f"name a channel in {FILE_NAME}, such as `notify: {{ops: {{url_env: OPS_ALERT_URL}}}}`"
    return did_you_mean(name, known) or f"it has {', '.join(known)}"
