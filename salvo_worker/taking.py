"""Messages are taken and noted as taken in one step, as many as there are slots for.

kombu's BRPOP takes one message, and a second question notes it: a worker killed in between loses it, and
the second question is waited for by the thread that gives out work. Where messages lie ready, this
script does both at once, tells the broker what is done with on the way, and is asked like BRPOP: the
hub looks at the reply when it is there. BRPOP stays what a worker waits with where nothing lies ready.

Each message is noted under a tag of ours, not the one it carries: nothing that a stranger wrote is used
as a name.

Source:
    kombu 5.7, ``kombu.transport.redis``: what ``QoS.append`` notes, and what restoring reads.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

TAKE = """
local index, held, lists = KEYS[1], KEYS[2], #KEYS - 2
local now, tag = ARGV[1], ARGV[2]
local wanted, lanes, done = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if done > 0 then
  redis.call('ZREM', index, unpack(ARGV, 6 + lanes, 5 + lanes + done))
  redis.call('HDEL', held, unpack(ARGV, 6 + lanes, 5 + lanes + done))
end
local taken = {}
for first = 1, lists, lanes do
  local found = true
  while found and #taken < 2 * wanted do
    found = false
    for lane = 1, lanes do
      local raw = #taken < 2 * wanted and redis.call('RPOP', KEYS[1 + first + lane])
      if raw then
        found = true
        local name = tag .. (#taken / 2)
        redis.call('ZADD', index, now, name)
        redis.call('HSET', held, name, '[' .. raw .. ',' .. ARGV[5 + lane])
        taken[#taken + 1] = lane - 1
        taken[#taken + 1] = raw
      end
    end
  end
end
return taken
"""
"""Keys: the index of what is under way, what is under way, then the lists: all lanes of the first priority,
all of the next. One message of each lane in turn, until there are as many as wanted."""

SHA = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()

TAKEN_MAX = 4
"""At one go, or the first worker to come would have all of a small run."""

DONE_MAX = 1_000
"""Told at one go; Lua can hand on some thousands of arguments."""


@dataclass(frozen=True)
class Take:
    """What a worker asks for.

    Args:
        lanes: Queues, the one whose turn it is first.
        wanted: How many messages there are slots for.
        done: Tags of messages that are done with.
        token: What the tags of its messages begin with.
    """

    lanes: Sequence[str]
    wanted: int
    done: Sequence[str]
    token: str

    @classmethod
    def of(cls, lanes: Sequence[str], wanted: int, done: Sequence[str]) -> Take:
        """Return one with tags of its own."""
        return cls(lanes, min(wanted, TAKEN_MAX), done, secrets.token_urlsafe(9))

    def command(self, lists: Sequence[str], *, index: str, held: str, is_known: bool) -> list[Any]:
        """Return the command that carries it.

        Args:
            lists: The keys of all lanes for the first priority, then for the next.
            index: kombu's ``unacked_index_key``.
            held: kombu's ``unacked_key``.
            is_known: The server has the script.
        """
        how = ["EVALSHA", SHA] if is_known else ["EVAL", TAKE]
        endings = [f'"",{json.dumps(lane)}]' for lane in self.lanes]
        bounds = [self.wanted, len(self.lanes), len(self.done)]
        keys = [index, held, *lists]
        return [*how, len(keys), *keys, time.time(), self.token, *bounds, *endings, *self.done]

    def messages(self, reply: Sequence[Any]) -> Iterator[tuple[str, str, bytes]]:
        """Yield tag, queue and bytes of each message taken."""
        for number in range(0, len(reply), 2):
            yield f"{self.token}{number // 2}", self.lanes[int(reply[number])], reply[number + 1]


def tagged(raw: bytes, tag: str) -> Mapping[str, Any]:
    """Return a message that was looked at already, as kombu reads it, under the tag it was noted with."""
    payload: dict[str, Any] = loads(bytes_to_str(raw))  # type: ignore[no-untyped-call]
    payload["properties"]["delivery_tag"] = tag
    return payload
