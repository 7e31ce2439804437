"""Where people are told: the channels that a project names, and what may be said of their addresses.

A channel's address may be its secret (Slack's is). So it is never shown whole, and what lies in the store
is a channel's name, or an address that holds none.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from salvo_core.scenario.secrecy import names_a_secret

ADDRESS_CHARS_MAX = 2_000
URL_NAME = "url-"
"""Begins the name under which it is kept what an address was told that no channel of the project has."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_SECRET_HOSTS = re.compile(
    r"(?i)hooks\.slack\.com|(?:.+\.)?discord(?:app)?\.com|.+\.webhook\.office\.com|.+\.logic\.azure\.com"
)
_TOKEN_CHARS_MIN = 20
_MANY_DIGITS = 3


def checked_address(text: str) -> str:
    """Return an address that alerts may be sent to: https, or http to this very machine.

    Raises:
        ValueError: It is something else; the message does not repeat it, for it may be a secret.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    wrong = not host or port == 0 or not (text.isascii() and text.isprintable()) or " " in text
    if wrong or parts.scheme not in ("http", "https") or len(text) > ADDRESS_CHARS_MAX:
        raise ValueError("an address such as https://host/path is expected")
    if parts.fragment:
        raise ValueError("an address without #fragment is expected")
    if parts.scheme == "http" and not _is_this_machine(host):
        raise ValueError("alerts go over https; http is for this machine alone (127.0.0.1, ::1, localhost)")
    return text


def checked_variable(text: str) -> str:
    """Return the name of an environment variable.

    Raises:
        ValueError: It is none; the message does not repeat it, for it may be what the variable should hold.
    """
    if not _VARIABLE.fullmatch(text):
        raise ValueError("the name of an environment variable is expected, not what it holds")
    return text


def checked_channel_name(text: str) -> str:
    """Return the name of a channel.

    Raises:
        ValueError: A channel may not be called so.
    """
    if not _NAME.fullmatch(text) or text.startswith(URL_NAME):
        raise ValueError(
            "a channel's name has up to 64 lower-case letters, digits, - and _, such as ops; "
            f"{URL_NAME} begins none"
        )
    return text


def checked_destination(text: str) -> str:
    """Return what a schedule may say of whom to tell: a channel's name, or an address without a secret.

    Raises:
        ValueError: It is neither; an address is not repeated.
    """
    if not is_address(text):
        return checked_channel_name(text)
    if holds_a_secret(checked_address(text)):
        raise ValueError("the address holds a secret, which everybody who can read the store would know")
    return text


def is_address(text: str) -> bool:
    """Tell whether a destination is meant as an address and not as a channel's name."""
    return "://" in text


def holds_a_secret(address: str) -> bool:
    """Tell whether an address seems to hold a secret: a password, or what looks like a token.

    Hosts are known too whose addresses are secrets as a whole.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return True
    if "@" in parts.netloc or _SECRET_HOSTS.fullmatch(parts.hostname or ""):
        return True
    query = parse_qsl(parts.query, keep_blank_values=True)
    texts = [*parts.path.split("/"), *(value for _, value in query)]
    return any(names_a_secret(name) for name, _ in query) or any(map(_looks_like_a_token, texts))


def shown_address(address: str) -> str:
    """Return of an address what anybody may see: scheme, host and port."""
    try:
        parts = urlsplit(address)
        bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return bare if parts.path in ("", "/") and not parts.query else f"{bare}/***"
    except ValueError:
        return "***"


def shown_destination(text: str) -> str:
    """Return a channel's name as it is, and an address masked."""
    return shown_address(text) if is_address(text) else text


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _looks_like_a_token(text: str) -> bool:
    marks = re.sub(r"[^A-Za-z0-9]", "", text)
    digits = sum(mark.isdigit() for mark in marks)
    mixed = digits and any(mark.isupper() for mark in marks) and any(mark.islower() for mark in marks)
    return len(marks) >= _TOKEN_CHARS_MIN and bool(digits >= _MANY_DIGITS or mixed)


Address = Annotated[str, AfterValidator(checked_address)]
Variable = Annotated[str, AfterValidator(checked_variable)]
ChannelName = Annotated[str, AfterValidator(checked_channel_name)]
Destination = Annotated[str, Field(max_length=ADDRESS_CHARS_MAX), AfterValidator(checked_destination)]
_Argument = Annotated[str, Field(max_length=4_000, pattern=r"^[^\x00]*$")]


WAYS = ("webhook", "url_env", "slack", "slack_url_env", "command", "file")
"""What a channel may be."""


class ChannelTerms(BaseModel):
    """One channel: exactly one of webhook, url_env, slack, slack_url_env, command and file."""

    # An error of validation must not print an address that is a secret.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        defer_build=True,
        json_schema_extra={"oneOf": [{"required": [way]} for way in WAYS]},
    )

    webhook: Address | None = Field(default=None, repr=False)
    """Where alerts are posted as JSON."""
    url_env: Variable | None = None
    """The variable that holds a webhook's address, on the machine that fires."""
    slack: Address | None = Field(default=None, repr=False)
    """An incoming webhook of Slack, or of something that reads the same."""
    slack_url_env: Variable | None = None
    """The variable that holds it, on the machine that fires."""
    command: tuple[_Argument, ...] | None = Field(default=None, min_length=1, max_length=100)
    """A program and its arguments; it reads the alert from its standard input. No shell."""
    file: str | None = Field(default=None, min_length=1, max_length=1_000)
    """A file below the project's folder that gets a line of JSON an alert."""
    signing_key_env: Variable | None = None
    """The variable that holds the key a webhook's requests are signed with; several, while keys change."""

    @model_validator(mode="after")
    def _is_one_channel(self) -> Self:
        given = [way for way in WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            told = " and ".join(given) or "none of them"
            raise ValueError(f"a channel is one of {', '.join(WAYS)}; this is {told}")
        if self.signing_key_env and given[0] not in ("webhook", "url_env"):
            raise ValueError(f"signing_key_env is for webhooks; nobody would check it of {given[0]}")
        if self.command is not None and not self.command[0].strip():
            raise ValueError("command begins with the name of a program")
        if self.file is not None:
            _require_inside(self.file)
        return self

    @property
    def kind(self) -> str:
        """What it is: webhook, slack, command or file."""
        if self.command is not None:
            return "command"
        if self.file is not None:
            return "file"
        return "webhook" if self.webhook or self.url_env else "slack"

    @property
    def address(self) -> str:
        """Where it posts, empty where a variable says so. May be a secret."""
        return self.webhook or self.slack or ""

    @property
    def address_env(self) -> str:
        """The variable that says where it posts; empty if none does."""
        return self.url_env or self.slack_url_env or ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that it needs on the machine that fires."""
        return tuple(name for name in (self.address_env, self.signing_key_env) if name)

    @property
    def shown(self) -> str:
        """What anybody may see of where it leads."""
        if self.command is not None:
            return self.command[0]
        if self.file is not None:
            return self.file
        return f"${self.address_env}" if self.address_env else shown_address(self.address)

    def secret_fields(self) -> list[str]:
        """Return the keys whose addresses hold a secret in plain sight."""
        fields: dict[str, Any] = {"webhook": self.webhook, "slack": self.slack}
        return [name for name, url in fields.items() if url and (name == "slack" or holds_a_secret(url))]


def _require_inside(path: str) -> None:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
        raise ValueError("file is a path below the project's folder, such as .salvo/alerts.jsonl")
    if not parts[-1] or parts[-1] == ".":
        raise ValueError("file names a folder")
