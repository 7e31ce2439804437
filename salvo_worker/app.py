"""The Celery application: JSON only, late acknowledgement, and nothing remembered by Celery.

Every setting that differs from Celery's default says why. Results, limits and retries
are not Celery's here: the manifest is the truth, and a message is a hint (I1).
"""

from __future__ import annotations

import ssl
from collections import deque
from typing import Any
from urllib.parse import quote

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES
from redis.backoff import NoBackoff
from redis.retry import Retry

from salvo_core.manifest.address import sentinel_address, tls_of
from salvo_core.manifest.sentinel import SENTINEL_TIMEOUT_S
from salvo_core.run.signature import UNSIGNED, Signer
from salvo_worker.watchdog import BrokerWatchdog

QUEUE = "salvo.trials"
TRIAL = "salvo.trial"

VISIBILITY_TIMEOUT_S = 3600
"""A second net only: leases find a dead worker's trials in seconds. A message that comes
again while its trial runs is acknowledged and left."""

RECONNECT_S_MAX = 2
"""The longest pause between two tries to reach a broker that is away."""


# kombu chooses a transport by the URL's scheme; for unix sockets there is no other way to name one.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "salvo_worker.transport:Transport"))
TRANSPORT_ALIASES["sentinel"] = "salvo_worker.transport:SentinelTransport"


def broker_address(redis_url: str) -> str:
    """Return the address kombu understands for a Redis URL.

    It spells unix sockets differently, wants each sentinel as a URL of its own, and is told of TLS elsewhere.
    """
    scheme, separator, rest = redis_url.partition("://")
    if scheme == "unix":
        return f"redis+socket{separator}{rest}"
    if address := sentinel_address(redis_url):
        user = f"{quote(address.username or '', safe='')}:{quote(address.password or '', safe='')}@"
        user = user if address.username or address.password else ""
        hosts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in address.sentinels]
        return ";".join(f"sentinel://{user}{host}/{address.db}" for host in hosts)
    return redis_url.partition("?")[0] if tls_of(redis_url) is not None else redis_url


def _tls(redis_url: str) -> dict[str, Any] | None:
    """Return what kombu wants to know of TLS: left to itself, it would accept any certificate."""
    options = tls_of(redis_url)
    return None if options is None else {**options, "ssl_cert_reqs": ssl.CERT_REQUIRED}


def _sentinel_options(redis_url: str) -> dict[str, Any]:
    address = sentinel_address(redis_url)
    if address is None:
        return {}
    told = {"username": address.sentinel_username, "password": address.sentinel_password}
    tls = {"ssl": True, **(_tls(redis_url) or {})} if address.tls is not None else {}
    brief = {
        "socket_timeout": SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),  # the next sentinel is asked instead
    }
    return {"master_name": address.master, "sentinel_kwargs": {**told, **brief, **tls}}


class _Connection(Connection):
    """Tries again soon: Celery's pauses grow to 30 s, for which a broker that is back would wait for us."""

    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        """Return once the broker answers."""
        options.setdefault("interval_max", RECONNECT_S_MAX)
        return super().ensure_connection(*arguments, **options)  # type: ignore[no-untyped-call]


class _Amqp(AMQP):  # type: ignore[misc]
    Connection = _Connection


def make_app(broker_url: str, signer: Signer = UNSIGNED, *, takes: bool = False) -> Celery:
    """Return an application that speaks to the broker at broker_url; no connection is made yet.

    Args:
        broker_url: As in the settings, sentinels too.
        signer: Whose signature a message must carry to be let in.
        takes: Messages are taken: only a broker with room to note that is worth connecting to.
    """
    app: Any = Celery("salvo", broker=broker_address(broker_url), amqp=_Amqp, set_as_current=False)
    app.conf.update(
        # Security: nothing but JSON is read or written, and no result store exists to leak into.
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # A worker that dies keeps its messages unacknowledged.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_default_queue=QUEUE,
        task_create_missing_queues=True,
        worker_pool="salvo_worker.pool:AsyncioPool",
        # With remote control off, a worker whose every slot awaits a failed ack never notices
        # that Redis came back: its pidbox connection is what wakes it.
        worker_enable_remote_control=True,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "unacked_restore_interval": 30,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "client_name": "salvo",
            "signer": signer,
            "done": deque(),
            "takes": takes,
            **_sentinel_options(broker_url),
        },
    )
    if (tls := _tls(broker_url)) is not None:
        app.conf.broker_use_ssl = tls
    app.steps["consumer"].add(BrokerWatchdog)
    return app
