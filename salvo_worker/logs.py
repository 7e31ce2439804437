"""What a worker writes into its log: every line, tracebacks included, without secrets (I7)."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable
from urllib.parse import unquote

from celery.exceptions import CPendingDeprecationWarning
from redis.exceptions import RedisError

from salvo_core.manifest.address import parts_of
from salvo_core.settings import Settings
from salvo_core.trace.redaction import Redactor

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_CREDENTIALS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_NOISY = ("celery.app.trace", "celery.worker.strategy", "kombu", "amqp", "botocore", "urllib3")


class RedactingFormatter(logging.Formatter):
    """Formats a record as any formatter does, and redacts what comes of it.

    Args:
        process: What this process is called among several that write to one log; no ``%``.
    """

    def __init__(self, process: str = "") -> None:
        super().__init__(FORMAT.replace("%(name)s", f"{process} %(name)s") if process else FORMAT)
        self._patterns: tuple[str, ...] = ()
        self._secrets: frozenset[str] = frozenset()
        self._redactor = Redactor()

    def strike_out(self, secrets: Iterable[str], patterns: Iterable[str] = ()) -> None:
        """Take out these exact values, and what these patterns match, from now on as well."""
        known, added = self._secrets.union(secrets), tuple(dict.fromkeys((*self._patterns, *patterns)))
        if (known, added) != (self._secrets, self._patterns):
            self._secrets, self._patterns = known, added
            self._redactor = Redactor(known, added)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or lines where there is a traceback."""
        return self._redactor.text(super().format(record))


def log_to_stderr(loglevel: str, process: str = "") -> RedactingFormatter:
    """Send this process's log to stderr; return what formats it, to be told further secrets.

    Args:
        loglevel: debug, info, warning or error.
        process: As ``RedactingFormatter`` wants it.
    """
    formatter = RedactingFormatter(process)
    logging.basicConfig(level=loglevel.upper(), stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_without_traceback_of_outages)
    # Celery reports every message it takes and ends; at scale that is noise, the trial's own line is enough.
    # botocore and urllib3 would write whole requests, credentials of a session included (I7).
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
    # Celery warns, at each lost connection, of a default that we do not use.
    warnings.simplefilter("ignore", CPendingDeprecationWarning)
    return formatter


def secrets_of(settings: Settings) -> frozenset[str]:
    """Return the exact secrets in a process's own settings: the store's, and passwords of addresses."""
    found = {settings.secret(name) for name in _CREDENTIALS}
    for url in (settings.redis_url, settings.broker_url, settings.store_url, settings.s3_endpoint_url):
        try:
            password = parts_of(url or "")[1].password
        except ValueError:  # whoever opens it says what is wrong
            continue
        found |= {password, unquote(password)} if password else set()
    return frozenset(secret for secret in found if secret)


def _without_traceback_of_outages(record: logging.LogRecord) -> bool:
    """Let every record pass; one of a server that is away says what happened, and needs no traceback."""
    if record.exc_info and isinstance(record.exc_info[1], RedisError | OSError):
        record.exc_info = None
    return True
