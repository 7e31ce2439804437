"""Which trial a request belongs to.

A script's answer depends on the trial, so the trial must be told from what a client sends.
In this order:

1. ``X-Salvo-Trace-Id``: Salvo's own adapters send it. One trial, one id.
2. ``seed`` in the body: the trial of that number.
3. The id of an earlier tool call: the simulator writes the trial into the ids it makes up, so a
   client that sends them back names its trial, whichever connection it uses.
4. The first user message: each request without an assistant message starts the next trial of
   its wording. A later turn without any tool call in it belongs to the wording as a whole.

A judge is asked the same question several times with one trace id, and each vote is an opinion of its
own. So a first turn that is told which tool to call has its place among those of its trial and wording
in its key: each vote follows its own draw.

By 4 a first turn that is tried again is a new trial to us, so there (and only there) failures
are counted for the wording: "an error, then ok" still ends in ok.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass

from salvo_cli.simulator.asked import Asked

_NAME_LENGTH_MAX = 200
_CALL_ID = re.compile(r"(?:call|toolu)_(w[0-9a-f]{8}n[0-9]{1,12})_")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        trial_key: Decides what is drawn.
        counted_as: Whose failed exchanges are counted together.
        mark: Letters and digits that name the trial inside ids.
    """

    trial_key: str
    counted_as: str
    mark: str


class Callers:
    """Tells trials apart.

    Args:
        wordings_max: First messages remembered; beyond it the one unused for longest starts again at 0.
    """

    def __init__(self, wordings_max: int = 10_000) -> None:
        self._started: OrderedDict[str, int] = OrderedDict()
        self._wordings_max = wordings_max

    def identify(self, trace_id: str, asked: Asked) -> Caller:
        """Return the trial a request belongs to; see the module's list.

        Args:
            trace_id: The header as sent, empty when absent; only its first 200 characters count.
            asked: The request.
        """
        if trace_id and asked.must_call and not asked.turn:
            name = trace_id[:_NAME_LENGTH_MAX]
            vote = f"{name}v{self._next(f'{name} {_short_hash(asked.opening)}')}"
            return Caller(vote, name, mark=_short_hash(vote))
        named = trace_id[:_NAME_LENGTH_MAX] or (str(asked.seed) if asked.seed is not None else "")
        if named:
            return Caller(named, named, mark=_short_hash(named))
        if found := _CALL_ID.match(asked.call_id):
            return Caller(found[1], found[1], mark=found[1])
        wording = "w" + _short_hash(asked.opening)
        if asked.turn:
            return Caller(wording, wording, mark=wording)
        trial = f"{wording}n{self._next(wording)}"
        return Caller(trial, wording, mark=trial)

    def _next(self, wording: str) -> int:
        number = self._started.pop(wording, 0)
        self._started[wording] = number + 1
        if len(self._started) > self._wordings_max:
            self._started.popitem(last=False)
        return number


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
