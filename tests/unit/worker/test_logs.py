"""What a worker writes into its log has no secrets in it, whoever wrote the line."""

import logging
import sys

import pytest

from salvo_core.settings import resolve
from salvo_worker.logs import RedactingFormatter, secrets_of

KEY = "sk-abcdefghij0123456789"


def line(formatter, message, *arguments, exc_info=None):
    record = logging.LogRecord("somebody", logging.ERROR, __file__, 1, message, arguments, exc_info)
    return formatter.format(record)


def test_a_line_is_redacted_with_what_was_put_into_it():
    written = line(RedactingFormatter(), "refused %s for %s", KEY, "trial 7")
    assert written.endswith("ERROR somebody: refused [REDACTED] for trial 7")


def test_a_traceback_is_redacted_too():
    try:
        raise ValueError(f"no such key: {KEY}")
    except ValueError:
        written = line(RedactingFormatter(), "it broke", exc_info=sys.exc_info())
    assert "ValueError: no such key: [REDACTED]" in written
    assert KEY not in written


def test_what_is_learned_later_is_struck_out_from_then_on_and_nothing_is_forgotten():
    formatter = RedactingFormatter()
    assert "swordfish" in line(formatter, "swordfish and CARD-1")
    formatter.strike_out({"swordfish"}, ["CARD-[0-9]+"])
    formatter.strike_out({"hedgehog-2"})
    formatter.strike_out(())
    assert line(formatter, "swordfish, CARD-1, hedgehog-2").endswith(": [REDACTED], [REDACTED], [REDACTED]")


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_credentials_of_the_store_and_passwords_of_addresses_are_known(scheme):
    settings = resolve(
        {
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
            "AWS_SESSION_TOKEN": "",
            "SALVO_REDIS_URL": f"{scheme}://me:pa%2Fss-word@host:6379/0",
            "SALVO_STORE_URL": "s3://bucket/prefix",
        }
    )
    assert secrets_of(settings) == {"wJalrXUtnFEMI", "pa%2Fss-word", "pa/ss-word"}
