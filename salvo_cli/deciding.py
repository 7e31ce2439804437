"""How cells are decided, as a person typed it: by which bar, and how early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_core.evaluation.gate import Gate
    from salvo_core.run.sequential import Sequential

EARLY_STOP = "--early-stop"
CURTAIL = "curtail"
_RULES = (CURTAIL, "sprt", "confidence")
_ORDERING = ("run", "submit", "plan")


def with_rule_apart(arguments: Sequence[str]) -> list[str]:
    """Return a command line whose ``--early-stop RULE`` reads ``--early-stop --stop-rule=RULE``.

    An option with a value that may be left out would take the next word, a path perhaps, for its
    value; only the names of rules are. A folder of such a name is given as ``./sprt``.

    Args:
        arguments: Of the whole command line, without the program's name.
    """
    if not arguments or arguments[0] not in _ORDERING:
        return list(arguments)
    told: list[str] = []
    for word in arguments:
        if told and told[-1] == EARLY_STOP and word in _RULES:
            told.append(f"--stop-rule={word}")
        elif word.startswith(f"{EARLY_STOP}="):
            told += [EARLY_STOP, f"--stop-rule={word.partition('=')[2]}"]
        else:
            told.append(word)
    return told


@dataclass(frozen=True)
class Deciding:
    """The bar and the stop rule that options ask for; None where an option was not given."""

    pass_rate: float | None = None
    confidence: float | None = None
    early_stop: bool = False
    stop_rule: str | None = None
    alpha: float | None = None
    beta: float | None = None
    indifference: float | None = None

    def gate(self) -> Gate | None:
        """Return the gate that overrides the scenarios', None to leave them theirs.

        Raises:
            UsageError: It cannot be meant.
        """
        from salvo_core.evaluation.gate import Gate  # after --help

        if self.pass_rate is None:
            if self.confidence is not None:
                raise UsageError(
                    "--confidence says how sure a pass rate must be, and none is given",
                    hint="add --pass-rate 0.9",
                )
            return None
        _require("--pass-rate", self.pass_rate, 0, 1)
        if self.confidence is None:
            return Gate(pass_rate=self.pass_rate)
        if not 0.5 <= self.confidence < 1:
            raise UsageError(
                f"--confidence {self.confidence:g} is not between 0.5 and 1", hint="such as 0.95"
            )
        return Gate(pass_rate=self.pass_rate, confidence=self.confidence)

    def sequential(self) -> Sequential | None:
        """Return the rule that decides cells after any trial, None where there is none.

        Raises:
            UsageError: An option is about a rule that is not on, or out of range.
        """
        from salvo_core.run.sequential import RuleName, Sequential  # after --help

        if self.stop_rule is not None and self.stop_rule not in _RULES:
            shown = ", ".join(_RULES)
            raise UsageError(f"{self.stop_rule[:40]!r} is no rule to stop by", hint=f"one of {shown}")
        if self.stop_rule is not None and not self.early_stop:
            raise UsageError(
                "--stop-rule says how to stop early, and nothing stops early",
                hint=f"{EARLY_STOP} {self.stop_rule}",
            )
        given = {
            name: value
            for name in ("alpha", "beta", "indifference")
            if (value := getattr(self, name)) is not None
        }
        known: tuple[RuleName, ...] = get_args(RuleName)
        rule = next((one for one in known if one == self.stop_rule), None)
        used = {None: (), "sprt": ("alpha", "beta", "indifference"), "confidence": ("alpha",)}[rule]
        if idle := [name for name in given if name not in used]:
            fitting = "sprt or confidence" if idle[0] == "alpha" else "sprt"
            raise UsageError(
                f"--{idle[0]} is of {EARLY_STOP} {fitting}", hint=f"add it, or leave --{idle[0]} out"
            )
        for name, value in given.items():
            _require(f"--{name}", value, 0, 0.5)
        return None if rule is None else Sequential(rule=rule, **given)

    @property
    def fields(self) -> dict[str, Any]:
        """What an order says of it, by field.

        Raises:
            UsageError: As ``gate`` and ``sequential``.
        """
        return {"gate": self.gate(), "early_stop": self.early_stop, "sequential": self.sequential()}


def _require(option: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise UsageError(f"{option} {value:g} is not between {low:g} and {high:g}", hint="the ends excluded")
