"""The only reader of the environment: every setting in one table, with where its value came from.

Precedence: flag > environment > ``salvo.yaml`` > default. Settings are built once per
process (``resolve``) and passed down; nothing else looks at the environment, so a test
or an embedded worker is given exactly what it should see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from salvo_core.errors import UsageError

Number = TypeVar("Number", int, float)
Source = Literal["flag", "environment", "salvo.yaml", "default"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table.

    Attributes:
        name: As in ``salvo.yaml`` and in ``Settings``.
        variable: The environment variable.
        parse: Text to value; raises ValueError with the reason.
        default: The value nobody has to set.
        meaning: For ``salvo config`` and the documents.
        secret: Whether the value is never shown, also not in part.
        in_file: Whether ``<variable>_FILE`` may name a file that holds it instead.
    """

    name: str
    variable: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str
    secret: bool = False
    in_file: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """A setting's value and where it came from; ``shown`` is fit for a screen.

    ``file`` is the one that holds the value, None where the environment itself does.
    """

    setting: Setting
    value: Any = field(repr=False)  # an address may hold a password
    source: Source
    file: Path | None = None

    @property
    def shown(self) -> str:
        """The value with passwords masked."""
        if self.value is None:
            return "-"
        if self.setting.secret:
            return f"{len(self.value)} set, not shown" if self.value else "-"
        if isinstance(self.value, tuple):
            return ", ".join(self.value) or "-"
        if isinstance(self.value, bool):
            return "yes" if self.value else "no"
        return without_password(str(self.value))


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text.strip()


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def signing_keys(text: str) -> tuple[str, ...]:
    """Return the keys that a secret holds: the first signs, all verify.

    Raises:
        ValueError: There is none, or one is too short; the message repeats none.
    """
    keys = _names(text.replace("\n", ","))
    if not keys:
        raise ValueError("holds no key")  # or a stray comma would switch signing off
    if any(len(key.encode()) < KEY_BYTES_MIN for key in keys):
        raise ValueError(
            f"holds a key of fewer than {KEY_BYTES_MIN} bytes (a comma or a line break parts two)"
        )
    return keys


def _yes_or_no(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    try:
        return known[text.strip().lower()]
    except KeyError:
        raise ValueError("is neither 1 nor 0") from None


def _number(kind: Callable[[str], Number], text: str, otherwise: str) -> Number:
    try:
        return kind(text)
    except ValueError:  # Python's own words quote the text, which stands masked beside ours
        raise ValueError(otherwise) from None


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = _number(int, text, "is no whole number")
        if not low <= value <= high:
            raise ValueError(f"is outside {low}..{high}")
        return value

    return parse


def _processes(text: str) -> int | str:
    if text == "auto":
        return text
    try:
        return _whole(1, PROCESSES_MAX)(text)
    except ValueError as error:
        raise ValueError(f"{error}; it may also be auto") from None


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = _number(float, text, "is no number")
        if not low <= value <= high:
            raise ValueError(f"is outside {low:g}..{high:g} seconds")
        return value

    return parse


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"is not one of {', '.join(allowed)}")
        return text

    return parse


QUEUED_MAX = 200_000
"""Messages: some 130 MB of Redis, and minutes of work for a hundred workers."""

PROCESSES_MAX = 256
"""Of one worker; a machine with more cores has room for a second one."""

KEY_BYTES_MIN = 32
"""Of a signing key, as long as the hash: a shorter one could be tried out against one signature."""


FILE = "_FILE"
"""Ends a variable's name that names a file, as platforms hand out secrets. An empty file is an error."""

FILE_BYTES_MAX = 16_384


_HARMLESS = re.compile(r"PATH|HOME|USER|LOGNAME|LANG|LC_[A-Z]+|TZ|TMPDIR|SSL_CERT_(FILE|DIR)")


def _yes(text: str) -> bool:
    # CI=true, CI=1, CI=woodpecker: what a CI system sets is its own business.
    return text.strip().lower() not in ("", "0", "false", "no", "off")


TABLE: tuple[Setting, ...] = (
    Setting(
        "redis_url", "SALVO_REDIS_URL", _text, None,
        "Redis or Valkey of the manifest; unset: embedded", in_file=True,
    ),
    Setting(
        "broker_url", "SALVO_BROKER_URL", _text, None,
        "Redis of the queue, if it is another one", in_file=True,
    ),
    Setting("store_url", "SALVO_STORE_URL", _text, None, "file:///folder or s3://bucket/prefix"),
    Setting("s3_endpoint_url", "SALVO_S3_ENDPOINT_URL", _text, None, "S3 server other than AWS, e.g. MinIO"),
    Setting("s3_region", "SALVO_S3_REGION", _text, None, "region; unset: as the AWS configuration says"),
    Setting(
        "s3_addressing_style", "SALVO_S3_ADDRESSING_STYLE", _one_of("auto", "path", "virtual"), "auto",
        "how the bucket is named in requests",
    ),
    Setting("concurrency", "SALVO_CONCURRENCY", _whole(1, 5000), 100, "trials at once per worker process"),
    Setting("procs", "SALVO_PROCS", _processes, 1, "processes of a worker; auto: one per usable core"),
    Setting(
        "memory_max_mb", "SALVO_MEMORY_MAX_MB", _whole(100, 1_000_000), None,
        "a worker process that uses more is replaced",
    ),
    Setting("lease_s", "SALVO_LEASE_S", _seconds(1, 3600), 30.0, "a worker silent for this loses its trials"),
    Setting("grace_s", "SALVO_GRACE_S", _seconds(1, 3600), 25.0, "how long a worker's warm stop may take"),
    Setting("sweep_s", "SALVO_SWEEP_S", _seconds(0.1, 600), 5.0, "how often workers look for abandoned work"),
    Setting(
        "queued_max", "SALVO_QUEUED_MAX", _whole(1000, 10_000_000), QUEUED_MAX,
        "messages in the queue at once; workers' sweeps send the rest as it empties",
    ),
    Setting("allow_imports", "SALVO_ALLOW_IMPORTS", _names, (), "names workers may import: my_pkg.*"),
    Setting(
        "signing_keys", "SALVO_SIGNING_KEY", signing_keys, (),
        "shared by submitters and workers: the first signs, all verify", secret=True, in_file=True,
    ),
    Setting("allow_root", "SALVO_ALLOW_ROOT", _yes_or_no, False, "whether a fleet's worker may run as root"),
    Setting("beat", "SALVO_BEAT", _yes_or_no, False, "whether workers also fire schedules"),
    Setting("ci_mode", "CI", _yes, False, "problems one per line, for other programs"),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Every resolved value, for one process.

    ``secret`` looks up a provider key by the name of its environment variable; the
    environment itself is not reachable otherwise and never printed.
    """

    resolved: Mapping[str, Resolved]
    environ: Mapping[str, str] = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["resolved"][name].value
        except KeyError:
            raise AttributeError(name) from None

    @property
    def embedded(self) -> bool:
        """Whether Salvo starts its own servers: no Redis was named."""
        return self.resolved["redis_url"].value is None

    @property
    def says_container(self) -> bool:
        """Whether the environment says that a container is around this process."""
        return any(self.environ.get(name) for name in ("KUBERNETES_SERVICE_HOST", "container"))

    @property
    def step_summary(self) -> Path | None:
        """The file to which a step of a GitHub workflow adds what it wants shown; None elsewhere."""
        named = self.environ.get("GITHUB_STEP_SUMMARY", "").strip()
        return Path(named) if named else None

    @property
    def annotates(self) -> bool:
        """Whether a GitHub workflow reads what this process prints, workflow commands too."""
        return self.environ.get("GITHUB_ACTIONS", "").strip().lower() == "true"

    def secret(self, name: str) -> str | None:
        """Return a variable that holds a provider's key or base URL; None when unset or empty."""
        return self.environ.get(name) or None

    def bare_environment(self) -> dict[str, str]:
        """Return what a program that is none of ours is given: where things are, language and time zone.

        It is a list of what may be given, so that no key of anybody is in it.
        """
        return {name: value for name, value in self.environ.items() if _HARMLESS.fullmatch(name)}

    def variables(self) -> dict[str, str]:
        """Return the environment that makes a child process resolve to the same values.

        What came from a file comes from it there too: no secret gets into an environment that was in none.
        """
        found = {}
        for name, resolved in self.resolved.items():
            if resolved.file is not None:
                found[resolved.setting.variable + FILE] = str(resolved.file)
            elif resolved.value is not None:
                text = _written(resolved.value)
                if text:
                    found[self.resolved[name].setting.variable] = text
        return found

    def with_values(self, source: Source = "default", **values: Any) -> Settings:
        """Return a copy in which some settings have other values."""
        changed = dict(self.resolved)
        for name, value in values.items():
            changed[name] = Resolved(changed[name].setting, value, source)
        return Settings(resolved=changed, environ=self.environ)


def _written(value: Any) -> str:
    """Return a value as a variable's text; "no" is left unsaid, because many take any text for a yes."""
    if isinstance(value, bool):
        return "true" if value else ""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def resolve(
    environ: Mapping[str, str],
    *,
    project: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings of this process.

    Args:
        environ: The environment.
        project: Values of ``salvo.yaml`` by setting name, already of the right type.
        flags: Values from the command line by setting name; None means not given.

    Raises:
        UsageError: A variable's text cannot be used; names it and says why.
    """
    found: dict[str, Resolved] = {}
    for setting in TABLE:
        value, source = setting.default, "default"
        if (project or {}).get(setting.name) is not None:
            value, source = (project or {})[setting.name], "salvo.yaml"
        file = _named_file(setting, environ)
        if file is not None:
            value, source = _parsed(setting, _content(setting, file), setting.variable + FILE), "environment"
        elif text := environ.get(setting.variable, ""):
            value, source = _parsed(setting, text, setting.variable), "environment"
        if (given := (flags or {}).get(setting.name)) is not None:
            # Of the right type already, but nobody has looked at its bounds yet.
            checked = given if isinstance(given, tuple) else _parsed(setting, str(given), setting.name)
            value, source, file = checked, "flag", None
        found[setting.name] = Resolved(setting, value, source, file)  # type: ignore[arg-type]
    return Settings(resolved=found, environ=environ)


def _named_file(setting: Setting, environ: Mapping[str, str]) -> Path | None:
    named = environ.get(setting.variable + FILE, "") if setting.in_file else ""
    if named and environ.get(setting.variable):
        raise UsageError(
            f"{setting.variable} and {setting.variable}{FILE} are both set",
            hint=f"set one of them; {setting.name}: {setting.meaning}",
        )
    return Path(named).absolute() if named else None


def _content(setting: Setting, file: Path) -> str:
    called = f"{setting.variable}{FILE}={without_password(str(file))[:200]}"
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
        text = content.decode("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise UsageError(
            f"{called} cannot be read: {reason}", hint=f"it must hold {setting.name}: {setting.meaning}"
        ) from None  # the text of a decoding error quotes the secret
    if len(content) > FILE_BYTES_MAX:
        raise UsageError(
            f"{called} is larger than {FILE_BYTES_MAX:,} bytes",
            hint=f"it must hold {setting.name} and nothing else: {setting.meaning}",
        )
    return text


def _parsed(setting: Setting, text: str, called: str) -> Any:
    try:
        return setting.parse(text)
    except ValueError as error:
        shown = "***" if setting.secret else without_password(text)[:80]
        raise UsageError(f"{called}={shown}: {error}", hint=f"{setting.name}: {setting.meaning}") from None


_USER = re.compile(r"(?<=://)([^/?#@:]*):[^/?#]*(?=@)|(?<=://)[^/?#@:]+(?=@)")
_USER_UNESCAPED = re.compile(r"(?<=://)([^/?#@:]*):.*(?=@)", re.S)
_SECRET_PARAMETER = re.compile(r"([?&][^=&#]*(?:pass|secret|token|key)[^=&#]*=)[^&#]*", re.I)


def without_password(text: str) -> str:
    """Return text with what may be secret in a URL masked; a user's name is shown beside a masked password.

    It needs no valid URL: a password with a ``/`` or ``#`` that nobody escaped is masked too.
    """
    masked, found = _USER.subn(_mask_user, text)
    if not found:
        masked = _USER_UNESCAPED.sub(_mask_user, text)
    return _SECRET_PARAMETER.sub(r"\1***", masked)


def _mask_user(found: re.Match[str]) -> str:
    return "***" if found[1] is None else f"{found[1]}:***"


def state_folder(root: Path, storage_dir: str = ".salvo") -> Path:
    """Return where the embedded mode keeps everything below a project's root."""
    return (root / storage_dir).resolve()
