"""Names of others never become paths or keys unchecked: every function that makes one is walked."""

import inspect

import pytest

from salvo_core.errors import UsageError
from salvo_core.identity import trace_id_for
from salvo_core.manifest import keys as manifest_keys
from salvo_core.store import keys as store_keys
from salvo_core.store.checked import is_key

RUN = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"
GOOD = {
    "run_id": RUN,
    "trace_id": trace_id_for(RUN, 7),
    "digest": "0123456789abcdef" * 4,
    "idempotency_key": "nightly",
}
OTHERS = {"attempt": 1, "number": 1, "index": 7, "home": store_keys.RUNS}
HOSTILE = (
    "",
    "..",
    "../../x",
    "/etc/passwd",
    f"../{RUN}",
    f"{RUN}/../{RUN}",
    f"{RUN}/",
    f"{RUN}\n",
    f"{RUN}\0",
    f" {RUN}",
    f"{{{RUN}}}",
    f"{{{RUN}",
    f"urn:uuid:{RUN}",
    RUN.replace("-", ""),
    RUN.upper(),
    RUN[:-1] + "\u0661",  # an Arabic digit
    RUN[:-1] + "\uff11",  # a full-width digit
    "\u202e" + RUN,
    "0" * 64 + "/..",
    "F" * 64,
    "\uff10" * 64,
    "x" * 10_000_000,
)


def makers():
    for module in (store_keys, manifest_keys):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            wanted = list(inspect.signature(function).parameters)
            ours = function.__module__ == module.__name__ and not name.startswith("_")
            if ours and set(wanted) & set(GOOD):
                yield pytest.param(function, wanted, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize(("make", "wanted"), list(makers()))
def test_a_name_that_is_none_makes_no_key(make, wanted):
    given = {name: (GOOD | OTHERS)[name] for name in wanted}
    assert make(**given)
    for name in set(wanted) & set(GOOD) - {"idempotency_key"}:
        for hostile in HOSTILE:
            with pytest.raises(UsageError) as refused:
                make(**given | {name: hostile})
            assert len(str(refused.value)) < 400


def test_the_walk_meets_the_makers_there_are():
    assert {parameter.id.rpartition(".")[2] for parameter in makers()} >= {
        "scenario", "plan", "trace", "traces", "manifest", "summary", "header", "journal", "submission",
    }  # fmt: skip


@pytest.mark.parametrize("key", ["", "x" * 501])
def test_an_idempotency_key_is_bounded(key):
    with pytest.raises(UsageError, match="idempotency key has 1 to 500 characters"):
        manifest_keys.submission(key)


def test_what_is_made_of_good_names_is_a_key_of_the_store():
    assert is_key(store_keys.trace(RUN, GOOD["trace_id"], 999_999))


@pytest.mark.parametrize("hostile", [*HOSTILE, "a" * 36 + ".a1.json.zst", "../" + "-" * 36 + ".a1.json.zst"])
def test_a_strangers_key_is_read_as_no_trace_or_one_whose_id_is_checked_again(hostile):
    found = store_keys.parse_trace(hostile)
    if found is not None:
        with pytest.raises(UsageError):
            store_keys.trace(RUN, *found)


@pytest.mark.parametrize("home", ["", "../", "/", "elsewhere/", "runs"])
def test_a_home_that_the_store_does_not_have_is_refused(home):
    with pytest.raises(ValueError, match="home"):
        store_keys.plan(RUN, home)
