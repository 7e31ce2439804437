"""The error tree: whose fault each is, which exit code it has, and whether to try again."""

import inspect

import pytest

from salvo_core import errors
from salvo_core.errors import ProviderError, SalvoError

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, Exception) and found.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_ours_and_has_an_exit_code_that_a_shell_can_tell_from_a_verdict(kind):
    assert issubclass(kind, SalvoError)
    assert 64 <= kind.exit_code <= 78  # 0 to 3 are verdicts
    raised = kind("what happened", hint="what to do")
    assert (str(raised), raised.message, raised.hint) == ("what happened", "what happened", "what to do")
    assert kind("alone").hint == ""


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("UsageError", 64),
        ("NotFound", 64),
        ("ObjectMissing", 64),
        ("RedisUnavailable", 69),
        ("StoreUnavailable", 69),
        ("StoreRefused", 69),
    ],
)
def test_exit_codes_are_those_the_contract_promises(name, exit_code):
    assert getattr(errors, name).exit_code == exit_code


def test_only_what_may_pass_by_waiting_is_tried_again():
    retryable = {kind.__name__ for kind in CLASSES if issubclass(kind, ProviderError) and kind.retryable}
    assert retryable == {"RateLimited", "ProviderTransient"}


def test_a_provider_error_carries_what_it_was_billed_and_how_long_to_wait():
    error = errors.RateLimited(
        "slow down", status_code=429, retry_after_s=2.5, input_tokens=3, output_tokens=4
    )
    assert (error.kind, error.status_code, error.retry_after_s) == ("rate_limited", 429, 2.5)
    assert (error.input_tokens, error.output_tokens) == (3, 4)


def test_each_kind_of_provider_error_is_one_that_a_trace_can_hold():
    from typing import get_args

    from salvo_core.trace.model import ErrorKind

    kinds = {kind.kind for kind in CLASSES if issubclass(kind, ProviderError)}
    assert kinds <= set(get_args(ErrorKind))
