"""Settings: where each comes from, which are refused, and what of them may be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.errors import UsageError
from salvo_core.settings import TABLE, resolve, state_folder, without_password

SECRET = "hunter2"


def test_what_nobody_sets_is_the_default():
    settings = resolve({})
    assert settings.concurrency == 100
    assert settings.lease_s == 30.0
    assert settings.redis_url is None
    assert settings.embedded
    assert {one.source for one in settings.resolved.values()} == {"default"}


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default():
    file, environ, flags = {"concurrency": 2}, {"SALVO_CONCURRENCY": "3"}, {"concurrency": 4}
    found = [
        resolve({}),
        resolve({}, project=file),
        resolve(environ, project=file),
        resolve(environ, project=file, flags=flags),
    ]
    assert [settings.concurrency for settings in found] == [100, 2, 3, 4]
    assert [settings.resolved["concurrency"].source for settings in found] == [
        "default",
        "salvo.yaml",
        "environment",
        "flag",
    ]


def test_a_flag_that_was_not_given_and_an_empty_variable_set_nothing():
    settings = resolve(
        {"SALVO_CONCURRENCY": ""}, project={"concurrency": None}, flags={"concurrency": None, "lease_s": None}
    )
    assert settings.concurrency == 100
    assert settings.lease_s == 30.0


@pytest.mark.parametrize(
    ("variable", "text", "why"),
    [
        ("SALVO_CONCURRENCY", "0", "outside 1..5000"),
        ("SALVO_CONCURRENCY", "5001", "outside 1..5000"),
        ("SALVO_CONCURRENCY", "many", "is no whole number"),
        ("SALVO_CONCURRENCY", "1.5", "is no whole number"),
        ("SALVO_LEASE_S", "nan", "outside 1..3600 seconds"),
        ("SALVO_LEASE_S", "inf", "outside 1..3600 seconds"),
        ("SALVO_LEASE_S", "soon", "is no number"),
        ("SALVO_SWEEP_S", "0", "outside 0.1..600 seconds"),
        ("SALVO_S3_ADDRESSING_STYLE", "Path", "is not one of auto, path, virtual"),
        ("SALVO_REDIS_URL", "   ", "is empty"),
        ("SALVO_SIGNING_KEY", "x" * 31, "fewer than 32 bytes"),
        ("SALVO_SIGNING_KEY", f"{'x' * 32},y", "fewer than 32 bytes"),
        ("SALVO_SIGNING_KEY", " , ", "holds no key"),
        ("SALVO_ALLOW_ROOT", "perhaps", "neither 1 nor 0"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_variable_and_the_reason(variable, text, why):
    with pytest.raises(UsageError) as refused:
        resolve({variable: text})
    assert variable in str(refused.value)
    assert why in str(refused.value)
    assert refused.value.hint
    assert refused.value.exit_code == 64


def test_a_flag_out_of_bounds_is_refused_like_a_variable():
    with pytest.raises(UsageError, match="concurrency=0: is outside"):
        resolve({}, flags={"concurrency": 0})


def test_the_refusal_of_a_value_shows_no_password():
    with pytest.raises(UsageError) as refused:
        resolve({"SALVO_CONCURRENCY": f"redis://me:{SECRET}@host"})
    assert SECRET not in str(refused.value) + refused.value.hint


def test_names_are_split_at_commas_and_blanks_are_dropped():
    assert resolve({"SALVO_ALLOW_IMPORTS": " my_pkg.* ,, other.Agent "}).allow_imports == (
        "my_pkg.*",
        "other.Agent",
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        (f"redis://me:{SECRET}@host:6379/0", "redis://me:***@host:6379/0"),
        (f"redis://:{SECRET}@host/0", "redis://:***@host/0"),
        (f"rediss://{SECRET}@host", "rediss://***@host"),
        (f"redis://me:{SECRET}@x@host", "redis://me:***@host"),  # the last @ ends the password
        (f"redis://me:a/{SECRET}@host/0", "redis://me:***@host/0"),
        (f"redis://me:a#{SECRET}@host/0", "redis://me:***@host/0"),
        (f"redis://me:a?{SECRET}@host/0", "redis://me:***@host/0"),
        (f"redis://[{SECRET}:{SECRET}@host", None),  # no URL at all
        (f"redis://host/0?db=1&password={SECRET}&x=2", "redis://host/0?db=1&password=***&x=2"),
        (f"unix:///run/r.sock?password={SECRET}", "unix:///run/r.sock?password=***"),
        ("file:///home/me@work/store", "file:///home/me@work/store"),
        ("s3://bucket/pre@fix", "s3://bucket/pre@fix"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("no address", "no address"),
    ],
)
def test_what_may_be_secret_in_an_address_is_masked_wherever_it_is_shown(url, shown):
    masked = without_password(url)
    if shown is not None:
        assert masked == shown
    settings = resolve({"SALVO_REDIS_URL": url})
    for text in (masked, settings.resolved["redis_url"].shown, repr(settings), f"{settings}"):
        if "[" not in url or "[::1]" in url:
            assert SECRET not in text
    assert settings.redis_url == url


@given(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="@*:"), min_size=1),
    st.text("abcdef/#?%:@\\ ", min_size=1),
)
def test_no_password_with_any_character_survives_masking(user, password):
    password = f"<{password}>"
    if not set("/?#") & set(user):
        assert password not in without_password(f"redis://{user}:{password}@host:6379/0")


@given(st.text())
def test_masking_never_raises_and_is_done_once(text):
    assert without_password(without_password(text)) == without_password(text)


def test_the_environment_is_reachable_only_by_asking_for_one_secret_and_never_printed():
    settings = resolve({"OPENAI_API_KEY": SECRET, "EMPTY": ""})
    assert settings.secret("OPENAI_API_KEY") == SECRET
    assert settings.secret("EMPTY") is None
    assert settings.secret("ABSENT") is None
    assert SECRET not in repr(settings)


def test_a_child_process_resolves_the_variables_to_the_same_values():
    settings = resolve(
        {"SALVO_ALLOW_IMPORTS": "a.*,b.C", "SALVO_LEASE_S": "2.5"},
        project={"redis_url": f"redis://:{SECRET}@host/1", "s3_addressing_style": "path"},
        flags={"concurrency": 7},
    )
    child = resolve(settings.variables())
    for setting in TABLE:
        assert child.resolved[setting.name].value == settings.resolved[setting.name].value


def test_the_defaults_survive_the_way_to_a_child_too():
    assert {name: one.value for name, one in resolve(resolve({}).variables()).resolved.items()} == {
        name: one.value for name, one in resolve({}).resolved.items()
    }


def test_a_copy_with_other_values_leaves_the_original_as_it_was():
    settings = resolve({"OPENAI_API_KEY": SECRET})
    changed = settings.with_values(redis_url="unix:///r.sock", concurrency=3)
    assert (changed.redis_url, changed.concurrency, changed.embedded) == ("unix:///r.sock", 3, False)
    assert (settings.redis_url, settings.concurrency) == (None, 100)
    assert changed.secret("OPENAI_API_KEY") == SECRET
    assert changed.resolved["redis_url"].source == "default"


def test_a_setting_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_setting"):
        _ = resolve({}).no_such_setting


def test_what_is_shown_says_yes_no_and_nothing_in_a_way_a_person_reads():
    settings = resolve({"SALVO_ALLOW_IMPORTS": "a.*,b.*"})
    assert settings.resolved["allow_imports"].shown == "a.*, b.*"
    assert settings.resolved["redis_url"].shown == "-"
    assert resolve({}).resolved["allow_imports"].shown == "-"


def test_every_setting_says_what_it_means_and_has_a_variable_of_its_own():
    assert (
        len({setting.variable for setting in TABLE}) == len({setting.name for setting in TABLE}) == len(TABLE)
    )
    for setting in TABLE:
        assert setting.meaning
        # CI is what CI systems set themselves.
        assert setting.variable.startswith("SALVO_") or setting.variable == "CI"


def test_the_embedded_mode_keeps_everything_below_the_project(tmp_path):
    assert state_folder(tmp_path) == (tmp_path / ".salvo").resolve()
    assert state_folder(tmp_path, "/elsewhere").as_posix() == "/elsewhere"


def test_signing_keys_are_never_shown_and_reach_a_child():
    keys = ("a" * 32, "ä" * 16)
    settings = resolve({"SALVO_SIGNING_KEY": " , ".join(keys), "SALVO_ALLOW_ROOT": "yes"})
    assert settings.signing_keys == keys
    assert settings.allow_root is True
    shown = settings.resolved["signing_keys"].shown
    assert shown == "2 set, not shown"
    assert not any(key in repr(settings) + shown for key in keys)
    again = resolve(settings.variables())
    assert (again.signing_keys, again.allow_root) == (keys, True)


def test_the_refusal_of_a_signing_key_shows_nothing_of_it():
    with pytest.raises(UsageError) as refused:
        resolve({"SALVO_SIGNING_KEY": SECRET})
    assert SECRET not in str(refused.value) + refused.value.hint


@pytest.mark.parametrize(
    ("text", "wanted"), [("true", True), ("1", True), ("no", False), ("False", False), ("0", False)]
)
def test_what_a_ci_system_sets_is_a_yes_unless_it_says_no_and_a_no_is_not_passed_on(text, wanted):
    settings = resolve({"CI": text}, project={"ci_mode": True})
    assert settings.ci_mode is wanted
    assert settings.resolved["ci_mode"].shown == ("yes" if wanted else "no")
    assert ("CI" in settings.variables()) is wanted


KEY_IN_FILE = "k" * 40


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "signing-key"
    file.write_text(f"{KEY_IN_FILE}\n")
    return file


def test_a_secret_may_come_from_a_file_and_is_in_no_environment_then(key_file, monkeypatch):
    monkeypatch.chdir(key_file.parent)
    settings = resolve({"SALVO_SIGNING_KEY_FILE": key_file.name})
    assert settings.signing_keys == (KEY_IN_FILE,)
    assert settings.resolved["signing_keys"].source == "environment"
    assert KEY_IN_FILE not in repr(settings) + settings.resolved["signing_keys"].shown
    passed_on = settings.variables()
    assert KEY_IN_FILE not in str(passed_on)
    monkeypatch.chdir("/")  # a child may stand elsewhere
    assert resolve(passed_on).signing_keys == (KEY_IN_FILE,)


def test_two_keys_in_a_file_may_stand_on_a_line_each(key_file):
    key_file.write_text(f"{KEY_IN_FILE}\r\n{'j' * 32}\n\n")
    assert resolve({"SALVO_SIGNING_KEY_FILE": str(key_file)}).signing_keys == (KEY_IN_FILE, "j" * 32)


def test_an_address_with_its_password_may_come_from_a_file(tmp_path):
    file = tmp_path / "redis"
    file.write_text("rediss://salvo:hush@redis:6379/0\n")
    settings = resolve({"SALVO_REDIS_URL_FILE": str(file), "SALVO_BROKER_URL_FILE": str(file)})
    assert settings.redis_url == settings.broker_url == "rediss://salvo:hush@redis:6379/0"
    assert "hush" not in str(settings.variables())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"", "holds no key"),
        (b" \n,\n", "holds no key"),
        (b"hush-hush", "fewer than 32 bytes"),
        (b"hush" + b"\xff" * 40, "not plain text"),
        (b"hush" * 5000, "larger than"),
    ],
    ids=["missing", "empty", "blank", "short", "binary", "large"],
)
def test_a_file_without_a_key_never_switches_signing_off(tmp_path, content, why):
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=why) as refused:
        resolve({"SALVO_SIGNING_KEY_FILE": str(file)})
    assert "SALVO_SIGNING_KEY_FILE" in refused.value.message
    assert "hush" not in refused.value.message + refused.value.hint


def test_a_value_and_a_file_at_once_are_refused_and_an_empty_name_is_none(key_file):
    with pytest.raises(UsageError, match="SALVO_SIGNING_KEY and SALVO_SIGNING_KEY_FILE are both set"):
        resolve({"SALVO_SIGNING_KEY": "j" * 32, "SALVO_SIGNING_KEY_FILE": str(key_file)})
    assert resolve({"SALVO_SIGNING_KEY_FILE": ""}).signing_keys == ()


def test_only_what_may_be_secret_is_read_from_files(key_file):
    assert resolve({"SALVO_CONCURRENCY_FILE": str(key_file)}).concurrency == 100
