"""Redaction: secrets go, ordinary text stays, and no text is slow to read."""

import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.trace.model import (
    Finding,
    Judged,
    Message,
    Retry,
    ScenarioRef,
    ToolCall,
    Trace,
    TrialError,
    Turn,
)
from salvo_core.trace.redaction import MARKER, Redactor
from tests.unit.trial.builders import trace

plain = Redactor()
LETTERS = string.ascii_letters + string.digits
KEY_20 = "abcdefghij0123456789"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        # What the first Salvo took out (contract, section 4.5), in the order of its patterns.
        ("Bearer abc.def-ghi_jkl", MARKER),
        ("bearer  abc.def", MARKER),
        (f"sk-{KEY_20}", MARKER),
        (f"key sk-{KEY_20}, please", f"key {MARKER}, please"),
        ("api_key=abc", MARKER),
        ("api-key: abc", MARKER),
        ("apikey = abc", MARKER),
        ("APIKEY=abc", MARKER),
        ("secret=abc", MARKER),
        ("password: abc", MARKER),
        ("token=999", MARKER),
        ("authorization: abc", MARKER),
        ("Cookie: a=1; b=2", MARKER),  # its second pair too
        ("Set-Cookie: a=1; Path=/\nnext line", f"{MARKER}\nnext line"),
        ("X-Api-Key: abc", MARKER),
        (f"sk-ant-{KEY_20}", MARKER),
        (f"sk-ant-api03-{'a-b' * 8}", MARKER),
        (f"ghp_{'a' * 36}", MARKER),
        (f"gho_{'Z9' * 18}", MARKER),
        ("Authorization: Bearer abc.def", MARKER),
        # What it let through (section 10, 13), and what people really paste.
        ('"api_key": "abc"', f'"{MARKER}'),
        ('{"password": "a b c", "user": "me"}', f'{{"{MARKER}, "user": "me"}}'),
        ('{"password": "a\\"b c", "user": "me"}', f'{{"{MARKER}, "user": "me"}}'),
        (r'"{\"token\": \"a b\", \"n\": 1}"', rf'"{{\"{MARKER}, \"n\": 1}}"'),
        (r"{\"token\": \"a\\\"b c\", \"n\": 1}", rf"{{\"{MARKER}, \"n\": 1}}"),
        ("{'password': 'a b c', 'user': 'me'}", f"{{'{MARKER}, 'user': 'me'}}"),
        ('"api_key": "cut off in the mid', f'"{MARKER} off in the mid'),
        ("password => 'hunter 2'", MARKER),
        ("OPENAI_API_KEY=abc", f"OPENAI_{MARKER}"),
        ("export DB_PASSWORD='a b'", f"export DB_{MARKER}"),
        ("accessToken=abc", f"access{MARKER}"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", f"aws_{MARKER}"),
        ("private_key: abc", MARKER),
        ("Authorization: Basic dXNlcjpwYXNz", MARKER),
        ("Proxy-Authorization: Basic dXNlcjpwYXNz", f"Proxy-{MARKER}"),
        ("curl -H 'Authorization: Bearer abc.def' http://x", f"curl -H '{MARKER}' http://x"),
        (f"sk-proj-{KEY_20}_x-y", MARKER),
        (f"sk-or-v1-{KEY_20 * 3}", MARKER),
        ("sk-proj-" + "ab-cd_ef" * 3, MARKER),
        (f"ghs_{'a' * 40}", MARKER),
        (f"github_pat_{'a1_' * 10}", MARKER),
        ("AKIAIOSFODNN7EXAMPLE", MARKER),
        ("ASIAIOSFODNN7EXAMPLE.", f"{MARKER}."),
        ("xoxb-123456789012-abcdef", MARKER),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1g", MARKER),
        ("postgres://me:pa55@db:5432/x", f"postgres://{MARKER}@db:5432/x"),
        ("redis://:pa55@host", f"redis://{MARKER}@host"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\nabc\n-----END RSA PRIVATE KEY-----\nrest", f"{MARKER}\nrest"),
        ("-----BEGIN PRIVATE KEY-----\nMII and then it was cut", MARKER),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----", MARKER),
    ],
)
def test_t60_a_secret_is_taken_out(text, redacted):
    assert plain.text(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"sk-{'a' * 19}",
        "total_tokens: 500",
        '{"total_tokens": 500, "max_tokens": 100}',
        "The token is on the table, and the secret is out.",
        "Each token costs money; tokens: many.",
        "He is the bearer of good news.",
        "the bearer certificate.",
        "a password manager keeps passwords",
        "authorization was granted",
        "cookies are baked, a cookie is eaten",
        "ask-me-anything-you-like-about-this",
        "Order A-1001 costs $42.50 (https://shop.example/orders/A-1001?page=2).",
        "me@example.com wrote to you@example.com: 12:30",
        "http://host:9000/path and ws://host",
        "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
        "def tokenize(text): return text.split()",
        "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "{}[]:=\"'\\",
        "日本語のテキスト",
    ],
)
def test_t60_ordinary_text_is_left_alone(text):
    assert plain.text(text) == text


@pytest.mark.parametrize("before", ["\n", "a\tb\n", "\x1b[31m", "\x1b[m", "\x1b[38;5;196m", "é", "my_"])
@pytest.mark.parametrize(
    "secret",
    [
        f"sk-{KEY_20}",
        f"sk-ant-{KEY_20}",
        f"ghp_{'a1' * 18}",
        f"github_pat_{'a1_' * 10}",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456789012-abcdef",
        "Bearer abc.def123",
        "Cookie: abc.def123",
        "X-Api-Key: abc.def123",
    ],
)
def test_a_secret_that_begins_a_line_is_taken_out_of_json_in_json_too(before, secret):
    text = before + secret
    for _ in range(4):
        assert secret[-8:] not in plain.text(text)
        text = json.dumps({"out": text})


def test_what_this_process_knows_is_taken_out_wherever_it_stands():
    redactor = Redactor(["correct horse", "correct horse battery", "short"])
    assert redactor.text("xcorrect horse batteryx") == f"x{MARKER}x"  # the longest first
    assert redactor.text("correct horse, correct horse") == f"{MARKER}, {MARKER}"
    assert redactor.text("short is too short to be struck out of ordinary words") == (
        "short is too short to be struck out of ordinary words"
    )


def test_a_known_secret_in_a_form_that_a_pattern_knows_leaves_one_marker():
    redactor = Redactor(["correct-horse"])
    assert redactor.text("Authorization: Bearer correct-horse") == MARKER
    assert redactor.text("password: correct-horse") == MARKER
    assert redactor.text('{"password": "correct-horse"}') == f'{{"{MARKER}}}'


def test_a_known_secret_is_text_and_no_pattern():
    assert Redactor(["a.c(d[e*f"]).text("a.c(d[e*f abc(d[e*f") == f"{MARKER} abc(d[e*f"


def test_a_known_secret_that_is_a_part_of_the_marker_does_not_make_markers_grow():
    redactor = Redactor(["REDACTED", "[REDACTED"])
    assert redactor.text(redactor.text("token=abc")) == MARKER


def test_t60_patterns_of_the_projects_own_are_added_to_ours():
    redactor = Redactor(patterns=[r"ACME-\d+", "x*"])
    assert redactor.text("ACME-12 xx token=abc ACME-") == f"{MARKER} {MARKER} {MARKER} ACME-"
    assert redactor.document({"ACME-12": ["ACME-13"]}) == {MARKER: [MARKER]}


def test_a_documents_keys_say_what_their_values_are():
    document = {
        "api_key": "abc",
        "X-Api-Key": "abc",
        "accessToken": "abc",
        "client-secret": "a b",
        "db_password": ["one", {"two": "three", "n": 4}],
        "Set-Cookie": "a=1",
        "cookie": "a=1",
        "aws_secret_access_key": "abc",
        "total_tokens": "500",
        "authorization": {"nested": "abc", "n": None, "sk-abcdefghij0123456789": 1},
        "token_count": "12",
        "description": "of cookies",
        "token": 7,
    }
    assert plain.document(document) == {
        "api_key": MARKER,
        "X-Api-Key": MARKER,
        "accessToken": MARKER,
        "client-secret": MARKER,
        "db_password": [MARKER, {"two": MARKER, "n": 4}],
        "Set-Cookie": MARKER,
        "cookie": MARKER,
        "aws_secret_access_key": MARKER,
        "total_tokens": "500",
        "authorization": {"nested": MARKER, "n": None, MARKER: 1},
        "token_count": "12",
        "description": "of cookies",
        "token": 7,
    }


def test_every_string_of_a_document_is_looked_at_keys_and_depths_included():
    document = {"a": [{"b": ("x", f"sk-{KEY_20}")}], f"sk-{KEY_20}": 1, "n": 1.5, "t": True, "z": None}
    assert plain.document(document) == {
        "a": [{"b": ["x", MARKER]}],
        MARKER: 1,
        "n": 1.5,
        "t": True,
        "z": None,
    }


def test_the_case_of_a_keyword_does_not_matter_not_even_beyond_ascii():
    for text in ("PASSWORD=abc", "PassWord=abc", "Pa\u017fsword=abc", "Bearer abc.def", "BEARER abc.def"):
        assert plain.text(text) == MARKER


def test_two_keys_that_are_secrets_do_not_become_one_entry():
    redacted = plain.document({f"sk-{KEY_20}a": 1, f"sk-{KEY_20}b": 2, f"sk-{KEY_20}c": 3})
    assert sorted(redacted.values()) == [1, 2, 3]


def test_the_document_that_was_given_stays_as_it_was():
    document = {"password": "abc", "list": ["token=abc"]}
    before = json.dumps(document)
    plain.document(document)
    assert json.dumps(document) == before


def whole_trace(secret):
    """A trace that says a secret wherever somebody's words stand in it."""
    call = ToolCall(id=f"id {secret}", name=secret, arguments={secret: [secret]}, malformed=secret)
    retry = Retry(kind="transient", message=secret)
    return trace(
        scenario=ScenarioRef(digest="0" * 64, name=secret, file=secret),
        model=secret,
        outcome="infra_error",
        error=TrialError(kind="transient", message=secret, hint=secret, retries=(retry,)),
        messages=(Message(role="assistant", content=secret, tool_calls=(call,)),),
        turns=(Turn(index=0, content=secret, tool_calls=(call,), finish_reason=secret, retries=(retry,)),),
        extras={"deep": [{secret: secret}], "api_key": "x"},
        findings=(
            Finding(assertion=0, type="t", label=secret, score=1, passed=True, weight=1, required=False,
                    details=secret, error=secret),
        ),
    )  # fmt: skip


def test_a_record_is_redacted_wherever_somebody_wrote_in_it():
    redacted = Redactor(["known-secret"]).record(whole_trace("known-secret"))
    assert "known-secret" not in json.dumps(redacted)
    assert redacted["extras"] == {"deep": [{MARKER: MARKER}], "api_key": MARKER}


@pytest.mark.parametrize(
    "redactor",
    [
        Redactor(["assistant", "infra_error", "transient", "trace_id", "scenario", "0199c2f4"]),
        Redactor(patterns=[r"\d", "[a-z]+", "-"]),
        Redactor(patterns=["."]),
    ],
)
def test_a_redacted_record_can_be_read_again_whatever_the_secrets_look_like(redactor):
    original = whole_trace("said").model_copy(update={"grade": "hard_fail"})
    read = Trace.model_validate(redactor.record(original))
    assert (read.trace_id, read.run_id, read.scenario.digest) == (
        original.trace_id, original.run_id, original.scenario.digest,
    )  # fmt: skip
    assert (read.outcome, read.started_at, read.messages[0].role, read.error.kind, read.grade) == (
        "infra_error", original.started_at, "assistant", "transient", "hard_fail",
    )  # fmt: skip


def test_a_record_without_secrets_stays_as_it_is():
    original = whole_trace("plain words")
    assert Redactor().record(original.model_copy(update={"extras": {}})) == original.model_copy(
        update={"extras": {}}
    ).model_dump(mode="json")


pieces = st.sampled_from(
    ["token", "password", "api_key", "secret", "authorization", "bearer", "basic", "cookie", "set-cookie",
     "x-api-key", "sk-", "sk-ant-", "ghp_", "AKIA", "eyJ", "xoxb-", "://", "@", ":", "=", " ", "\n", '"', "'",
     "\\", "\\\"", ".", "-", "_", ",", "}", "]", "[", "[REDACTED]", "REDACTED", "-----BEGIN PRIVATE KEY-----",
     "-----END PRIVATE KEY-----", "known-secret", KEY_20, "a" * 40, "IOSFODNN7EXAMPLE", "é", "0"]
)  # fmt: skip
texts = st.lists(pieces, max_size=14).map("".join) | st.text(max_size=60)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
redactors = st.sampled_from([plain, Redactor(["known-secret"])])


@given(redactors, texts)
def test_redacting_again_changes_nothing(redactor, text):
    once = redactor.text(text)
    assert redactor.text(once) == once


@given(texts, texts)
def test_no_known_secret_survives_between_any_two_texts(before, after):
    assert "known-secret" not in Redactor(["known-secret"]).text(f"{before}known-secret{after}")


def shape(document):
    match document:
        case dict():
            return [shape(value) for value in document.values()]
        case list():
            return [*map(shape, document), "list"]
        case str():
            return "text"
        case _:
            return document


@given(redactors, documents)
def test_a_redacted_document_has_the_shape_it_had(redactor, document):
    redacted = redactor.document(document)
    assert shape(redacted) == shape(document)
    assert redactor.document(redacted) == redacted
    json.dumps(redacted)


ADVERSARIAL = [
    "sk-", "sk-a_", "sk-proj-", "eyJ-", "eyJaaaaaaaa.", "a_", "token", "token:", "token ", "token=\\\"",
    "token=\\\\\"", "token=\"\\\"", "password: '", "password=\"\\", "api_", "secret_", "secret-", "://", "://a:",
    "bearer ", "bearer\t", "cookie ", "cookie:", "set-cookie:\n", "authorization: basic ", "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----", "xoxb-", "gh", "ghp_", "AKIA", "\\", '"', "\\\"", " ", "\n", "=", ":",
]  # fmt: skip


@pytest.mark.timeout(20)  # each takes milliseconds; one that is quadratic would take minutes
@pytest.mark.parametrize("piece", ADVERSARIAL)
def test_a_text_made_to_be_slow_is_not(piece):
    size = 100_000
    plain.text(piece * (size // len(piece)))
    plain.text(piece + "a" * size)
    plain.text(piece + " " * size)
    plain.text('token="' + piece * (size // len(piece)))


@pytest.mark.timeout(20)
def test_texts_mixed_from_all_that_patterns_begin_with_are_not_slow_either():
    rng = random.Random(7)
    for _ in range(5):
        plain.text("".join(rng.choice(ADVERSARIAL) * rng.randint(1, 50) for _ in range(2000))[:100_000])


def test_t60_a_pattern_that_takes_too_long_hides_the_whole_text(monkeypatch):
    monkeypatch.setattr("salvo_core.trace.redaction.PATTERN_TIME_S_MAX", 0.2)
    redactor = Redactor(patterns=["(a|a)+$", "CARD-[0-9]+"])
    endless = "a" * 60 + "!"
    assert redactor.text(endless) == MARKER
    assert redactor.text("CARD-1, short") == f"{MARKER}, short"
    for _ in range(5):
        assert redactor.text(endless) == MARKER
    # After a few such texts the pattern is not waited for any more, and what it cannot answer for goes.
    assert redactor.text("short") == MARKER
    assert redactor.text("") == ""


def test_what_ties_a_judges_votes_to_its_question_is_form_whatever_a_pattern_says():
    counted = Judged(assertion=0, request="ab" * 32, k=3, threshold=0.8, heard=3, in_favour=3)
    assert Redactor(patterns=["[0-9a-f]{32,}"]).record(counted)["request"] == "ab" * 32
