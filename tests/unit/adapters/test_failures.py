"""Sorting what went wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.adapters.failures import (
    QUOTE_CHARS_MAX,
    Peer,
    clean,
    failure_from_exception,
    failure_from_reply,
    kind_for_status,
    retry_after_s,
)
from salvo_core.errors import (
    ContextFull,
    ProviderAuthentication,
    ProviderError,
    ProviderPermanent,
    ProviderTransient,
    RateLimited,
)

PEER = Peer.of("https://user:hunter22@llm.test:8443/v1/chat?key=hidden", key_name="LLM_KEY")


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (RateLimited, [429]),
        (ProviderTransient, [408, 409, 425, 500, 501, 502, 503, 504, 529, 599]),
        (ProviderAuthentication, [401, 402, 403]),
        (ProviderPermanent, [301, 400, 404, 405, 413, 422]),
    ],
)
def test_t40_a_status_has_one_kind(kind: type[ProviderError], statuses: list[int]) -> None:
    assert {status: kind_for_status(status) for status in statuses} == dict.fromkeys(statuses, kind)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, {"type": "tokens", "code": "rate_limit_exceeded"}, RateLimited),
        (429, {"type": "insufficient_quota", "code": "insufficient_quota"}, ProviderAuthentication),
        (529, {"type": "overloaded_error"}, ProviderTransient),
        (400, {"type": "invalid_request_error"}, ProviderPermanent),
        (200, {"type": "rate_limit_error"}, RateLimited),
        (200, {"code": 429}, RateLimited),
        (200, {"code": "503"}, ProviderTransient),
        (200, {"type": "authentication_error"}, ProviderAuthentication),
        (200, {"code": "invalid_api_key"}, ProviderAuthentication),
        (200, {"type": "overloaded_error"}, ProviderTransient),
        (200, {"type": "server_error"}, ProviderTransient),
        (200, {"status": "RESOURCE_EXHAUSTED"}, RateLimited),
        (200, {"message": "a server_error in prose decides nothing"}, ProviderPermanent),
        (200, "model not found", ProviderPermanent),
    ],
)
def test_an_error_body_is_sorted_by_its_names(status: int, error: Any, kind: type[ProviderError]) -> None:
    assert type(failure_from_reply(PEER, status, {}, {"error": error}, "")) is kind


def test_an_error_names_the_host_and_what_it_said_but_no_user_password_or_query() -> None:
    failure = failure_from_reply(PEER, 404, {}, {"error": {"message": "no model \x1b[31mx"}}, "")
    assert failure.message == "llm.test:8443/v1/chat answered 404: no model [31mx"
    assert failure.status_code == 404
    assert failure.hint == "Check base_url and the model's name."
    assert failure_from_reply(PEER, 401, {}, {}, "").hint.startswith("Check the key in LLM_KEY on the worker")


def test_an_exhausted_quota_is_not_waited_for() -> None:
    body = {"error": {"message": "You exceeded your quota", "type": "insufficient_quota"}}
    failure = failure_from_reply(PEER, 429, {"retry-after": "5"}, body, "")
    assert not failure.retryable
    assert failure.retry_after_s is None
    assert "billing" in failure.hint


def test_tokens_of_a_billed_failure_are_kept() -> None:
    body = {"error": {"type": "server_error"}, "usage": {"prompt_tokens": 12, "completion_tokens": 3}}
    failure = failure_from_reply(PEER, 200, {}, body, "")
    assert (failure.input_tokens, failure.output_tokens) == (12, 3)


@pytest.mark.parametrize(
    ("body", "text", "said"),
    [
        ({"detail": "Not Found"}, "", "Not Found"),
        ({"error": "plain"}, "", "plain"),
        (None, "<html><title>Bad\n gateway</title>...", 'a web page titled "Bad gateway"'),
        (None, "upstream gone", "upstream gone"),
        (None, "", "no explanation"),
    ],
)
def test_the_provider_is_quoted_from_wherever_it_speaks(body: Any, text: str, said: str) -> None:
    assert failure_from_reply(PEER, 500, {}, body, text).message.endswith(f"answered 500: {said}")


def test_a_redirect_says_where_to_without_its_query() -> None:
    headers = {"location": "https://u:p@new.test/v2?token=abc"}
    failure = failure_from_reply(PEER, 308, headers, None, "")
    assert failure.message.endswith("answered 308: moved to new.test/v2")
    assert "base_url" in failure.hint


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:30 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 -0000"}, 30.0),
        (
            {"retry-after": "Thu, 01 Jan 2026 10:00:30 GMT", "date": "Thu, 01 Jan 2026 10:00:00 GMT"},
            30.0,
        ),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "later"}, None),
        ({}, None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=datetime(2026, 1, 1, tzinfo=UTC)) == seconds


@given(
    st.text(max_size=500), st.text(max_size=500), st.text(alphabet="abcXYZ019_-/+=", min_size=8, max_size=60)
)
def test_cleaned_text_is_one_bounded_printable_line_without_the_secret(
    before: str, after: str, secret: str
) -> None:
    cleaned = clean(before + secret + after, [secret])
    assert len(cleaned) <= QUOTE_CHARS_MAX
    assert cleaned.isprintable()
    assert secret not in cleaned


def test_what_looks_like_a_key_is_removed_even_if_it_is_not_ours() -> None:
    assert clean("key sk-proj-abcdefgh123 and Bearer abc.def") == "key [REDACTED] and [REDACTED]"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert clean("abcdefgh-1234", ["abcdefgh", "abcdefgh-1234"]) == "[REDACTED]"


class WithStatus(Exception):
    def __init__(self, **attributes: Any) -> None:
        super().__init__("said so")
        self.__dict__.update(attributes)


class APIConnectionError(Exception):
    """Named as the SDKs name theirs."""


class APITimeoutError(APIConnectionError):
    pass


class Response:
    headers = {"Retry-After": "4"}  # noqa: RUF012


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (TimeoutError(), ProviderTransient),
        (ConnectionResetError("gone"), ProviderTransient),
        (APITimeoutError("slow"), ProviderTransient),
        (WithStatus(status_code=429), RateLimited),
        (WithStatus(status=503), ProviderTransient),
        (WithStatus(status_code=504), ProviderTransient),
        (WithStatus(status_code=529), ProviderTransient),
        (WithStatus(status_code=401), ProviderAuthentication),
        (WithStatus(status_code=404), ProviderPermanent),
        (WithStatus(status_code="429"), ProviderPermanent),
        (WithStatus(status_code=True), ProviderPermanent),
        (OSError("plain"), ProviderPermanent),
        (KeyError("content"), ProviderPermanent),
    ],
)
def test_an_exception_of_somebody_elses_is_sorted_and_named(
    raised: Exception, kind: type[ProviderError]
) -> None:
    failure = failure_from_exception(raised)
    assert type(failure) is kind
    assert failure.message.startswith(type(raised).__name__)


def test_an_sdks_error_brings_its_retry_after_along() -> None:
    assert failure_from_exception(WithStatus(status_code=429, response=Response())).retry_after_s == 4.0


@pytest.mark.parametrize(
    "error",
    [
        {"code": "context_length_exceeded", "message": "too long"},
        {"message": "This model's maximum context length is 4096 tokens. However, you requested 4216 tokens"},
        {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"},
    ],
)
def test_a_conversation_that_outgrew_the_model_is_told_from_other_bad_requests(error: dict[str, str]) -> None:
    peer = Peer("host/v1")
    assert type(failure_from_reply(peer, 400, {}, {"error": error}, "")) is ContextFull
    assert (
        type(failure_from_reply(peer, 400, {}, {"error": {"message": "no context for you"}}, ""))
        is ProviderPermanent
    )
