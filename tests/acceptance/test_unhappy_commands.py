"""Everything that goes wrong around a command: one message, the right exit code, no traceback."""

import json

import pytest

pytestmark = pytest.mark.servers

UNKNOWN = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", UNKNOWN),
        ("status", "ffffffff"),
        ("status", "../../etc/passwd"),
        ("wait", UNKNOWN),
        ("trials", UNKNOWN),
        ("trace", UNKNOWN),
        ("trace", "../x"),
        ("report", UNKNOWN),
        ("manifest", "show", UNKNOWN),
        ("manifest", "show"),
        ("report", UNKNOWN, "--legacy"),
        ("cancel", UNKNOWN),
        ("resume", UNKNOWN, "-q"),
    ],
)
def test_an_unknown_run_or_trace_is_a_usage_error_with_a_hint(person, arguments):
    outcome = person.types(*arguments, "--json")
    assert outcome.code == 64
    assert outcome.document["error"]["hint"]
    assert "error: " in outcome.err


@pytest.mark.parametrize(
    "arguments", [("status",), ("list",), ("run", "trial.yaml"), ("submit", "trial.yaml"), ("worker",)]
)
def test_a_redis_that_is_down_is_69(person, arguments):
    person.scenario("trial", "[{text: good}]")
    person.environ["SALVO_REDIS_URL"] = "redis://127.0.0.1:1/0"
    outcome = person.types(*arguments)
    assert outcome.code == 69
    assert "127.0.0.1:1" in outcome.err
    assert "hint: " in outcome.err


def test_a_wrong_password_is_69_and_is_not_repeated(person, redis_url):
    person.environ["SALVO_REDIS_URL"] = redis_url.replace("redis://", "redis://someone:hunter2@")
    outcome = person.types("status")
    assert outcome.code == 69
    assert "password" in outcome.err
    assert "hunter2" not in outcome.out + outcome.err
    examined = person.types("doctor", "--json")
    assert examined.code == 69
    assert "hunter2" not in examined.out + examined.err


def test_a_bad_setting_is_named(person):
    person.environ["SALVO_CONCURRENCY"] = "many"
    outcome = person.types("config")
    assert outcome.code == 64
    assert "SALVO_CONCURRENCY=many" in outcome.err


@pytest.mark.parametrize(
    "body",
    [
        b"modle: gpt-4o\nprompt: hi\n",
        b"\xff\xfe not utf-8",
        b"",
        b"- a\n- list\n",
        b"a: &a [x]\nb: [*a",
        b"model: m\nprompt: hi\nassertions: [{type: output_contain, value: x}]\n",
        b"model: m\nprompt: !include ../../../../etc/passwd\n",
    ],
)
def test_an_invalid_scenario_is_64_before_anything_is_started(person, body):
    (person.folder / "bad.yaml").write_bytes(body)
    outcome = person.types("run", "bad.yaml")
    assert outcome.code == 64
    assert "bad.yaml" in outcome.err
    assert outcome.out == ""
    document = person.types("run", "bad.yaml", "--json").document
    assert document["error"]["problems"][0]["file"].endswith("bad.yaml")


def test_a_folder_that_cannot_be_written_is_told(person):
    (person.folder / ".salvo").write_text("a file where a folder should be")
    outcome = person.types("status")
    assert outcome.code == 64
    assert "SALVO_REDIS_URL" in outcome.err


def test_a_simulated_provider_prints_its_addresses_and_stops_on_ctrl_c(person):
    process = person.start("simulate", "--json")
    assert process.stdout is not None
    text = ""
    while not text.rstrip().endswith("}") or text.count("{") != text.count("}"):
        text += process.stdout.readline()
    document = json.loads(text)
    assert document["variables"]["OPENAI_BASE_URL"] == f"http://127.0.0.1:{document['port']}/v1"
    person.interrupts(process)
    assert person.ended(process).code == 0
