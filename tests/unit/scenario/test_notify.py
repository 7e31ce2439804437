"""Channels in salvo.yaml: what may be said of them, and that no secret of theirs is repeated."""

from __future__ import annotations

import jsonschema
import pytest

from salvo_core.scenario.notify import (
    checked_address,
    checked_destination,
    holds_a_secret,
    shown_address,
    shown_destination,
)
from salvo_core.scenario.problems import ScenarioInvalid, rendered
from salvo_core.scenario.project import load_project
from salvo_core.scenario.schema import project_schema
from salvo_core.scenario.secrecy import concealed
from tests.unit.scenario.desk import Desk

SLACK = "https://hooks.slack.com/services/T0CANARY1/B0CANARY2/canary3canary3canary3aa"
CHANNELS = {
    "ops": {"url_env": "OPS_URL", "signing_key_env": "OPS_KEY"},
    "hook": {"webhook": "https://host.example/alerts"},
    "chat": {"slack_url_env": "SLACK_URL"},
    "pager": {"command": ["bin/page", "--team", "agents"]},
    "log": {"file": ".salvo/alerts.jsonl"},
}


def test_every_kind_of_channel_arrives(desk: Desk) -> None:
    desk.write("salvo.yaml", f"notify: {CHANNELS}\n")
    project = load_project(desk.root)
    assert project.problems == ()
    assert {name: (one.kind, one.shown, one.variables) for name, one in project.notify.items()} == {
        "ops": ("webhook", "$OPS_URL", ("OPS_URL", "OPS_KEY")),
        "hook": ("webhook", "https://host.example/***", ()),
        "chat": ("slack", "$SLACK_URL", ("SLACK_URL",)),
        "pager": ("command", "bin/page", ()),
        "log": ("file", ".salvo/alerts.jsonl", ()),
    }
    assert "notify" not in project.settings()


@pytest.mark.parametrize(
    ("channel", "field", "said"),
    [
        ("ops: {}", "ops", "this is none of them"),
        ("ops: {webhook: 'https://h', file: a}", "ops", "this is webhook and file"),
        ("ops: {webhok: 'https://h'}", "ops.webhok", "did you mean `webhook`"),
        ("ops: {webhook: 'ftp://h'}", "ops.webhook", "an address such as https://host/path is expected"),
        ("ops: {webhook: 'http://h'}", "ops.webhook", "alerts go over https"),
        ("ops: {webhook: 'http://127.0.0.1.evil.example'}", "ops.webhook", "alerts go over https"),
        ("ops: {webhook: 'https://h/#f'}", "ops.webhook", "#fragment"),
        ("ops: {webhook: https://h:0}", "ops.webhook", "an address such as"),
        ("ops: {url_env: 'https://h'}", "ops.url_env", "not what it holds"),
        ("ops: {webhook: 'https://h', signing_key_env: 'a-key'}", "ops.signing_key_env", "not what it holds"),
        ("ops: {file: a, signing_key_env: K}", "ops", "nobody would check it of file"),
        ("ops: {slack_url_env: U, signing_key_env: K}", "ops", "nobody would check it of slack"),
        ("ops: {command: notify-send}", "ops.command", "a list"),
        ("ops: {command: []}", "ops.command", "1"),
        ("ops: {command: [' ']}", "ops", "the name of a program"),
        ("ops: {file: /var/log/a}", "ops", "below the project's folder"),
        ("ops: {file: a/../../b}", "ops", "below the project's folder"),
        ("ops: {file: a/}", "ops", "names a folder"),
        ("Ops: {file: a}", "Ops", "lower-case letters"),
        ("url-ops: {file: a}", "url-ops", "url- begins none"),
        ("'../x': {file: a}", "../x", "lower-case letters"),
    ],
)
def test_a_channel_that_cannot_be_meant_is_told_where_it_stands(
    desk: Desk, channel: str, field: str, said: str
) -> None:
    desk.write("salvo.yaml", f"concurrency: 5\nnotify:\n  {channel}\n")
    with pytest.raises(ScenarioInvalid) as caught:
        load_project(desk.root)
    (found,) = caught.value.problems
    assert (found.field, found.line, found.severity) == (f"notify.{field}", 3, "error")
    assert said in f"{found.message} {found.hint}"


@pytest.mark.parametrize(
    "channel",
    [
        f"ops: {{slack: '{SLACK}', webhok: 1}}",
        f"ops: {{slack: {SLACK.replace('https', 'http')}}}",
        f"ops: {{url_env: '{SLACK}'}}",
        f"ops: {{webhook: ['{SLACK}']}}",
        f"ops: {{slack: '{SLACK}', file: a}}",
    ],
)
def test_an_error_does_not_repeat_an_address(desk: Desk, channel: str) -> None:
    desk.write("salvo.yaml", f"notify:\n  {channel}\n")
    with pytest.raises(ScenarioInvalid) as caught:
        load_project(desk.root)
    assert "canary" not in rendered(caught.value.problems).lower()


@pytest.mark.parametrize(
    ("channel", "field", "instead"),
    [
        (f"{{slack: '{SLACK}'}}", "slack", "slack_url_env"),
        ("{slack: https://chat.example/h/canary}", "slack", "slack_url_env"),
        ("{webhook: https://u:canary@host/}", "webhook", "url_env"),
        ("{webhook: 'https://host/?token=canary'}", "webhook", "url_env"),
        ("{webhook: https://host/canaryCanary0123456789}", "webhook", "url_env"),
    ],
)
def test_an_address_that_is_a_secret_is_a_warning_that_does_not_repeat_it(
    desk: Desk, channel: str, field: str, instead: str
) -> None:
    desk.write("salvo.yaml", f"notify:\n  ops: {channel}\n")
    project = load_project(desk.root)
    (found,) = project.problems
    assert (found.code, found.severity, found.field) == ("W007", "warning", f"notify.ops.{field}")
    assert instead in found.hint
    assert "canary" not in (rendered([found]) + project.notify["ops"].shown + repr(project)).lower()


def test_a_line_of_the_file_is_shown_without_an_address_that_is_a_secret() -> None:
    assert concealed("  slack: https://h.example/a/b # x") == "  slack: https://h.example/[concealed] # x"
    assert (
        concealed("ops: {webhook: 'https://h/a', file: b}")
        == "ops: {webhook: 'https://h/[concealed]', file: b}"
    )
    assert concealed(f"a: {SLACK}") == "a: https://hooks.slack.com/[concealed]"
    assert concealed("base_url: https://host/v1") == "base_url: https://host/v1"


@pytest.mark.parametrize(
    "destination",
    [
        "ops",
        "on-call_2",
        "https://host.example/alerts",
        "http://127.0.0.1:8080/x",
        "http://[::1]/",
        "http://localhost/",
    ],
)
def test_a_schedule_may_name_a_channel_or_an_address_that_holds_no_secret(destination: str) -> None:
    assert checked_destination(destination) == destination


@pytest.mark.parametrize(
    "destination",
    [
        SLACK,
        "https://discord.com/api/webhooks/1/x",
        "https://user@host/",
        "https://host/?api_key=x",
        "https://host/hooks/6f1ed002ab5595859014ebf0951522d9",
        "https://host/?s=AbCdEfGhIjKlMnOpQrSt1",
        "http://host/",
        "http://127.evil.example/",
        "http://localhost.evil.example/",
        "https:///path",
        "https://h\n/",
        "ftp://host",
        "file:///etc/passwd",
        "Ops",
        "",
        "a/b",
        "../x",
        "ops\n",
    ],
)
def test_a_schedule_may_name_nothing_else(destination: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]{10,200}$") as caught:
        checked_destination(destination)
    assert "6f1ed002" not in str(caught.value)


def test_an_address_that_is_no_address_is_shown_as_nothing() -> None:
    assert shown_address("https://[broken/secret") == "***"
    assert holds_a_secret("https://[broken/secret")
    assert shown_destination("https://u:p@host:8443/x?y=z") == "https://host:8443/***"
    assert shown_destination("https://host") == checked_address("https://host") == "https://host"


def test_the_schema_of_the_file_knows_channels() -> None:
    schema = project_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    check.validate({"notify": CHANNELS, "concurrency": 5})
    for wrong in ({"ops": {}}, {"ops": {"webhook": "https://h", "file": "a"}}, {"ops": {"fil": "a"}}):
        with pytest.raises(jsonschema.ValidationError):
            check.validate({"notify": wrong})
