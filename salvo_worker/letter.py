"""A trial's message as it lies in the queue: what Celery needs of its message protocol 2, and no more.

Written by hand, because most of a message is the same in all, and was what ordering a large run
spent its time on. What Celery can do without (``root_id``, ``origin``, a correlation id) is left
out, because Redis keeps a hundred thousand of them. A stock Celery worker reads them; a test has one
do it.

Source:
    Celery documentation, "Message Protocol", version 2; kombu 5.7, ``kombu.transport.virtual``.
"""

from __future__ import annotations

import base64
import secrets

from salvo_core.run.plan import TrialMessage
from salvo_core.run.route import LANES, Priority
from salvo_core.run.signature import Signer
from salvo_worker.app import QUEUE, TRIAL

QUEUES = (QUEUE, *(f"{QUEUE}.{lane}" for lane in range(1, LANES)))
"""By lane."""

NUMBERS: dict[Priority, int] = {"high": 0, "normal": 3, "low": 6}
"""Celery's numbers on Redis, where 0 goes first; kombu keeps a list for each third one."""

_TAG_BYTES = 9
"""Of chance in a message's tag, which Redis keeps three times while its trial runs. Of a million messages
under way at once, two have the same one in fewer than one case of a billion."""


_BEFORE_RUN_ID = b'[[],{"run_id":"'


def only_in_letters_of(run_id: str) -> str:
    """Return text that stands in every message of a run, and in no other's.

    What stands before the run's id in the body, and the id itself, are whole groups of three bytes: base64
    writes them the same whatever comes after.
    """
    return base64.b64encode(_BEFORE_RUN_ID + run_id.encode()).decode()


def letter(message: TrialMessage, queue: str, number: int, signer: Signer) -> str:
    """Return the message as Celery finds it.

    Args:
        message: A valid one: nothing in it needs escaping.
        queue: One of ``QUEUES``.
        number: Of its priority, as in ``NUMBERS``.
        signer: Signs it, if it has a key.
    """
    body = (
        f'[[],{{"run_id":"{message.run_id}","cell":{message.cell},"index":{message.index},'
        f'"trace_id":"{message.trace_id}"}},{{}}]'
    )
    signature = message.signature(signer)
    signed = f',"signature":"{signature}"' if signature else ""
    return (
        f'{{"body":"{base64.b64encode(body.encode()).decode()}",'
        '"content-encoding":"utf-8","content-type":"application/json",'
        f'"headers":{{"lang":"py","task":"{TRIAL}","id":"{message.trace_id}","ignore_result":true{signed}}},'
        f'"properties":{{"delivery_mode":2,"delivery_info":{{"exchange":"","routing_key":"{queue}"}},'
        f'"priority":{number},"body_encoding":"base64","delivery_tag":"{secrets.token_urlsafe(_TAG_BYTES)}"}}}}'
    )
