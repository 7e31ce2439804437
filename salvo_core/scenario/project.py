"""The project: its folder, and what its ``salvo.yaml`` says.

The file is optional. It holds no secrets: keys come from the workers' environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from salvo_core.adapters.prices import ModelRates
from salvo_core.adapters.profile import Profile
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.scenario.checking import checked_document, in_file_order, locate
from salvo_core.scenario.notify import ChannelName, ChannelTerms
from salvo_core.scenario.parsed import Parsed
from salvo_core.scenario.positions import Place
from salvo_core.scenario.problems import Problem
from salvo_core.scenario.secrecy import names_a_secret
from salvo_core.scenario.source import parse_file
from salvo_core.scenario.spelling import did_you_mean, unknown_adapter
from salvo_core.trace.recording import Pattern, Recording, RecordingMode

FILE_NAME = "salvo.yaml"
STATE_NAME = ".salvo"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class RecordingSection(_Section):
    """What traces keep."""

    mode: RecordingMode = "full"
    """full keeps what was said, without secrets; metadata_only keeps no content anywhere."""
    custom_redaction_patterns: list[Pattern] = Field(default_factory=list)
    """Regular expressions; what they match is taken out of traces, besides what always is."""


class S3Section(_Section):
    """Where the bucket of ``store_url`` is, if not at AWS."""

    endpoint_url: str | None = None
    region: str | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"


class ProjectFile(_Section):
    """What ``salvo.yaml`` may say; everything is optional."""

    default_adapter: str | None = None
    """The adapter of scenarios that name none; openai if this is not set either."""
    default_model: str | None = None
    """The model of scenarios that name none."""
    scenarios_dir: str = "scenarios"
    """Where commands look when no path is given, below the project folder."""
    ci_mode: bool = False
    """Whether problems are always printed one per line."""
    storage_dir: str = STATE_NAME
    """Folder of the embedded mode, below the project folder unless absolute."""
    judge: JudgeDefaults = JudgeDefaults()
    """How assertions that ask a model are judged."""
    recording: RecordingSection = RecordingSection()
    redis_url: str | None = None
    """Redis or Valkey of the manifest; the embedded one if not set."""
    broker_url: str | None = None
    """Redis of the queue, if it is another one."""
    store_url: str | None = None
    """file:///folder or s3://bucket/prefix."""
    s3: S3Section = S3Section()
    providers: dict[str, Profile] = Field(default_factory=dict)
    """Model providers by the name that scenarios use as adapter."""
    notify: dict[ChannelName, ChannelTerms] = Field(default_factory=dict)
    """Channels over which people are told what became of nightlies, by the name that schedules use."""
    prices: dict[str, ModelRates] = Field(default_factory=dict)
    """Own prices by model name."""
    allow_imports: list[str] = Field(default_factory=list)
    """Dotted names that workers may import adapters from, for example my_pkg.*"""
    concurrency: int | None = Field(default=None, ge=1, le=5000)
    """Trials at once per worker process."""
    lease_s: float | None = Field(default=None, ge=1, le=3600)
    """How soon a silent worker's trials are taken over, seconds."""


class Project(ProjectFile):
    """A project: its folder, and every key of its ``salvo.yaml`` as an attribute."""

    root: Path
    """Absolute."""
    problems: tuple[Problem, ...] = ()
    """Warnings about the file."""

    @property
    def scenarios_path(self) -> Path:
        """Where scenarios lie when no path is given."""
        return self.root / self.scenarios_dir

    @property
    def storage_path(self) -> Path:
        """Where the embedded mode keeps everything."""
        return self.root / self.storage_dir

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names that a scenario may give as its adapter, those of classes (``my_pkg.Agent``) apart."""
        return (*get_args(Profile.model_fields["adapter"].annotation), "scripted", *self.providers)

    @property
    def recorded(self) -> Recording:
        """How runs of this project are recorded."""
        section = self.recording
        return Recording(mode=section.mode, patterns=tuple(section.custom_redaction_patterns))

    def settings(self) -> dict[str, Any]:
        """Return what the file sets of ``salvo_core.settings``, by setting name, and nothing else."""
        plain = ("redis_url", "broker_url", "store_url", "concurrency", "lease_s")
        found: dict[str, Any] = {name: getattr(self, name) for name in plain}
        found |= {f"s3_{name}": getattr(self.s3, name) for name in self.s3.model_fields_set}
        if "ci_mode" in self.model_fields_set:
            found["ci_mode"] = self.ci_mode
        if "allow_imports" in self.model_fields_set:
            found["allow_imports"] = tuple(self.allow_imports)
        return {name: value for name, value in found.items() if value is not None}


def find_root(start: Path) -> Path:
    """Return the project folder that a path belongs to, absolute.

    Args:
        start: A folder, or a file in it; it need not exist.

    Returns:
        The nearest folder, from start upwards, with a ``salvo.yaml`` or something called
        ``.salvo``; the filesystem's root is not looked at. The current folder if there is none.
    """
    absolute = Path(os.path.abspath(start))
    folder = absolute if absolute.is_dir() else absolute.parent
    for candidate in (folder, *folder.parents):
        if candidate.parent == candidate:
            break
        if os.path.lexists(candidate / FILE_NAME) or os.path.lexists(candidate / STATE_NAME):
            return candidate
    return Path.cwd()


def load_project(root: Path) -> Project:
    """Return the project in a folder, all defaults if its ``salvo.yaml`` is absent or empty.

    Args:
        root: From ``find_root``.

    Raises:
        ScenarioInvalid: The file cannot be used; every problem, located.
    """
    root = Path(os.path.abspath(root))
    file = root / FILE_NAME
    if not os.path.lexists(file):
        return Project(root=root)
    parsed = parse_file(file, boundary=root)
    if parsed.empty:
        return Project(root=root)
    config = checked_document(ProjectFile, parsed, str(file), wanted="a map of settings")
    given = {name: getattr(config, name) for name in config.model_fields_set}
    project = Project(root=root, **given)
    warnings = [
        *parsed.problems,
        *_passwords(config, parsed, str(file)),
        *_channels(config, parsed, str(file)),
        *_judge(project, parsed, str(file)),
    ]
    return project.model_copy(update={"problems": tuple(in_file_order(warnings, parsed.positions))})


def _judge(project: Project, parsed: Parsed, file: str) -> list[Problem]:
    name, known = project.judge.adapter, project.adapters
    said = unknown_adapter(name, known)
    if said is None:
        return []
    return [
        locate(
            "W009",
            f"{said} cannot ask judges",
            ("judge", "adapter"),
            parsed.positions,
            file,
            hint=did_you_mean(name, known),
            severity="warning",
        )
    ]


def _channels(config: ProjectFile, parsed: Parsed, file: str) -> list[Problem]:
    return [
        locate(
            "W007",
            "is a secret as a whole, which everybody who can read the file now knows",
            ("notify", name, field),
            parsed.positions,
            file,
            hint=f"put it into the environment of whoever fires and name that variable as {instead[field]}",
            severity="warning",
        )
        for instead in [{"webhook": "url_env", "slack": "slack_url_env"}]
        for name, terms in config.notify.items()
        for field in terms.secret_fields()
    ]


def _passwords(config: ProjectFile, parsed: Parsed, file: str) -> list[Problem]:
    urls: dict[Place, str | None] = {
        ("redis_url",): config.redis_url,
        ("broker_url",): config.broker_url,
        ("store_url",): config.store_url,
        ("s3", "endpoint_url"): config.s3.endpoint_url,
        **{("providers", name, "base_url"): one.base_url for name, one in config.providers.items()},
    }
    return [
        locate(
            "W007",
            "holds a password, which everybody who can read the file now knows",
            path,
            parsed.positions,
            file,
            hint="put the address into the environment of the workers instead",
            severity="warning",
        )
        for path, url in urls.items()
        if url and _holds_password(url)
    ]


def _holds_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.password) or any(names_a_secret(key) for key, _ in parse_qsl(parts.query))
    except ValueError:
        return False
