"""A scenario: what is asked, with which tools, and how the answer is checked.

Unknown keys are refused everywhere; values are coerced as pydantic does by default, so
``"0.5"`` is a number and ``yes`` is true, but 1.5 is no whole number and 1 is no text.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from salvo_core.adapters.script import Script
from salvo_core.evaluation.catalogue import Assertion
from salvo_core.evaluation.gate import Gate
from salvo_core.identity import canonical_json
from salvo_core.scenario.extras import guarded

NAME_CHARACTERS_MAX = 50
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _json_ready(value: Any) -> Any:
    try:
        canonical_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise PydanticCustomError(
            "not_json", "cannot be written as JSON: {why}", {"why": str(error)[:80]}
        ) from None
    return value


def _one_answer(value: Any) -> Any:
    if not isinstance(value, str | dict | list):
        raise PydanticCustomError("mock_type", "must be text, a map or a list")
    return value


def _answers(value: Any) -> Any:
    if not isinstance(value, str | dict | list):
        raise PydanticCustomError("mock_type", "must be text, a map, or a list of answers")
    if value == []:
        raise PydanticCustomError("mock_empty", "a list of answers needs at least one")
    answers = value if isinstance(value, list) else []
    wrong = [(n,) for n, one in enumerate(answers) if not isinstance(one, str | dict | list)]
    if wrong:
        raise PydanticCustomError("mock_type", "an answer must be text, a map or a list", {"places": wrong})
    return value


FreeForm = Annotated[Any, AfterValidator(_json_ready)]
"""Any JSON value."""

_ONE_ANSWER = {"type": ["string", "object", "array"]}
Answer = Annotated[Any, AfterValidator(_one_answer), AfterValidator(_json_ready), WithJsonSchema(_ONE_ANSWER)]
"""What a mock tool answers once: text, or a map or list that the agent sees as JSON."""

Answers = Annotated[
    Any,
    AfterValidator(_answers),
    AfterValidator(_json_ready),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "object"]},
                {"type": "array", "items": _ONE_ANSWER, "minItems": 1},
            ]
        }
    ),
]
"""What a mock tool answers: text or a map, always the same; or a list of answers, one for the
first call, one for the second, ..., the last one for ever."""


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True
    )


class ToolParameters(_Part):
    """A tool's parameters as a JSON Schema object."""

    type: Literal["object"] = "object"
    """Arguments are always an object."""
    properties: dict[str, FreeForm] = Field(default_factory=dict)
    """The parameters by name, each with its JSON Schema."""
    required: list[str] = Field(default_factory=list)
    """Names of the parameters that must be given."""


class MockRule(_Part):
    """An answer for particular calls of a tool: exactly one of response and error."""

    match: dict[str, FreeForm] | None = None
    """Arguments that the call must have, among others; maps match in part, everything else exactly."""
    call: int | None = Field(default=None, ge=1)
    """Only the n-th call of this tool in a trial, counted from 1."""
    response: Answer | None = None
    """What the tool answers; a map or list is one answer, which the agent sees as JSON."""
    error: str | None = None
    """The text of a tool error that the agent gets instead of an answer."""
    latency_s: float = Field(default=0.0, ge=0, le=600)
    """How long the tool takes, seconds; the tool's mock_latency_s does not apply here."""

    @model_validator(mode="after")
    def _one_outcome(self) -> Self:
        if (self.response is None) == (self.error is None):
            raise PydanticCustomError("mock_outcome", "needs exactly one of response and error")
        return self


class ToolDef(_Part):
    """A tool the agent may call, and what it answers.

    The first rule in ``mocks`` that fits a call answers it, else ``mock_response`` does. A
    call that neither answers is told to the agent as a tool error.
    """

    name: str
    """Letters, digits, _ and -, at most 64; what providers accept."""
    description: str
    """What the model is told about it."""
    parameters: ToolParameters = ToolParameters()
    """What it takes; nothing if left out."""
    mock_response: Answers | None = None
    """What it answers to calls that no rule in mocks fits; a list holds the answer of the first call,
    of the second, ..., and the last one repeats."""
    mocks: list[MockRule] = Field(default_factory=list)
    """Answers for particular calls; the first that fits is taken."""
    mock_latency_s: float = Field(default=0.0, ge=0, le=600)
    """How long it takes to answer with mock_response, seconds."""

    @field_validator("name")
    @classmethod
    def _callable_name(cls, name: str) -> str:
        if not _TOOL_NAME.fullmatch(name):
            raise PydanticCustomError(
                "tool_name", "must be 1 to 64 letters, digits, _ or -: providers accept no others"
            )
        return name

    @property
    def has_mock(self) -> bool:
        """Whether any call of it can be answered."""
        return self.mock_response is not None or bool(self.mocks)


class Scenario(_Part):
    """What is asked and how it is checked."""

    description: str = ""
    """What this scenario is about; also its name in every report."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Free labels to choose scenarios by (--tag team=refunds)."""
    adapter: str = "openai"
    """openai, anthropic, http, scripted, a provider of salvo.yaml, or package.module.Class."""
    model: str
    """The model that is asked; default_model of salvo.yaml if left out there."""
    system_prompt: str = ""
    """Sent as the system message unless empty."""
    prompt: str
    """The user's message."""
    tools: list[ToolDef] = Field(default_factory=list)
    """What the agent may call."""
    assertions: list[Assertion] = Field(default_factory=list)
    """How the conversation is checked."""
    threshold: float = Field(default=0.8, ge=0, le=1)
    """The score a trial needs to pass, and the average score a run needs."""
    gate: Gate | None = None
    """Judge the run by its pass rate instead: {pass_rate: 0.9, confidence: 0.95}."""
    max_turns: int = Field(default=10, ge=1, le=100)
    """Most answers of the model in one trial."""
    temperature: float | None = None
    """Sampling temperature; left to the provider if not given."""
    seed: int | None = None
    """Sampling seed, for providers that take one."""
    extras: dict[str, FreeForm] = Field(default_factory=dict)
    """More parameters for the provider; at most 10, and never credentials."""
    timeout_s: float | None = Field(default=None, gt=0, le=86_400)
    """Longest conversation, seconds; it is graded on what there is by then."""
    max_tokens: int | None = Field(default=None, gt=0)
    """Most tokens of one trial, input and output together."""
    max_cost_usd: float | None = Field(default=None, gt=0)
    """Most money one trial may cost, US dollars."""
    unknown_tool: Literal["error", "fail"] = "error"
    """A tool that does not exist: error tells the agent so and goes on, fail ends the trial."""
    script: Script | None = None
    """What the pretend model of the scripted adapter says."""

    @field_validator("model", "prompt", "adapter")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise PydanticCustomError("empty_text", "is empty")
        return text

    @field_validator("tools")
    @classmethod
    def _names_once(cls, tools: list[ToolDef]) -> list[ToolDef]:
        first = {tool.name: place for place, tool in reversed(list(enumerate(tools)))}
        again = [(place, "name") for place, tool in enumerate(tools) if first[tool.name] != place]
        if again:
            raise PydanticCustomError(
                "duplicate_tool",
                "another tool has this name already",
                {"places": again, "hint": "rename one of them"},
            )
        return tools

    @field_validator("extras")
    @classmethod
    def _guarded(cls, extras: dict[str, Any]) -> dict[str, Any]:
        return guarded(extras)

    @model_validator(mode="after")
    def _script_for_scripted(self) -> Self:
        if self.adapter == "scripted" and self.script is None:
            raise PydanticCustomError(
                "script_missing",
                "the adapter scripted follows a script, and there is none",
                {
                    "places": [("script",)],
                    "hint": "add script: with its turns, or script: !include file.yaml",
                },
            )
        return self

    @property
    def name(self) -> str:
        """What reports call it: the description, or the beginning of the prompt. Never the file's name."""
        return self.description or self.prompt[:NAME_CHARACTERS_MAX]
