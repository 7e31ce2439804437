"""Every error Salvo raises, in one tree.

::

    SalvoError                    exit code, what happened, what to do next
    ├── UsageError           64   a person's mistake: flag, scenario, config, unknown run
    │   └── NotFound         64   no such run, trial or trace
    │       └── RunLost           the store has a run that is not over, Redis has nothing of it
    ├── Unavailable          69   a server Salvo needs
    │   ├── RedisUnavailable
    │   ├── StoreUnavailable      transient: try again
    │   └── StoreRefused          permanent: credentials, bucket, policy
    ├── ObjectMissing             the store holds nothing under that key
    ├── ObjectCorrupt             bytes that do not match their digest or schema
    │   └── ObjectNewer           whole, but a newer Salvo wrote it in a form of its own
    ├── LeaseLost                 another attempt holds the trial, or may: stop, say nothing
    └── ProviderError             a turn that did not come back; says whether to try it again
        ├── RateLimited           429 and its relatives, with the provider's wait
        ├── ProviderTransient     timeout, connection, 408 409 425 5xx 529, half a body
        ├── ProviderPermanent     the request will never work: 400, 404, not an API
        │   └── ContextFull       the conversation outgrew the model's context
        └── ProviderAuthentication  401, 403, no key

Infrastructure never counts against the agent (I6): each class says whose fault
it is by where it stands, so no caller guesses from a message. An error's text is
for people: what happened, where, and in ``hint`` what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class SalvoError(Exception):
    """The root. ``str()`` is what happened; ``hint`` is what to do next.

    Args:
        message: One or two sentences for a person. Never holds a secret.
        hint: What to do next; empty when nothing useful can be said.
    """

    exit_code: ClassVar[int] = 70  # EX_SOFTWARE: one of ours that nobody translated

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SalvoError):
    """A person asked for something that cannot be: the fix is in the request."""

    exit_code = 64


class NotFound(UsageError):
    """No such run, trial or trace."""


class RunLost(NotFound):
    """A run that is not over, of which only the store knows: it can be rebuilt."""


class Unavailable(SalvoError):
    """A server that Salvo needs does not answer or refuses to work."""

    exit_code = 69


class RedisUnavailable(Unavailable):
    """Redis is down, refuses the password, is read-only, or is out of memory."""


class StoreUnavailable(Unavailable):
    """The object store failed in a way that may pass; the caller may retry."""


class StoreRefused(Unavailable):
    """The object store will not do this: credentials, bucket or policy. Retrying is no use."""


class ObjectMissing(SalvoError):
    """The store holds nothing under that key."""

    exit_code = 64


class ObjectCorrupt(SalvoError):
    """Bytes that do not match their digest, their schema or their key."""

    exit_code = 65


class ObjectNewer(ObjectCorrupt):
    """A document in a later version of its schema: nothing is wrong with it, we are too old."""


class LeaseLost(SalvoError):
    """This attempt no longer holds its trial: it must stop, and nothing it has counts."""


class ProviderError(SalvoError):
    """One exchange with a provider that yielded no turn.

    Args:
        message: What the provider or the wire said, without secrets, at most a few hundred characters.
        hint: What to do next.
        status_code: HTTP status, when there was one.
        retry_after_s: How long the provider asked to be left alone, seconds, when it said so.
        input_tokens: Tokens the failed exchange was billed for, when it said so.
        output_tokens: As ``input_tokens``.
        unsent: Nothing reached the provider, so nothing can have been billed.
    """

    kind: ClassVar[str] = "permanent"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status_code: int | None = None,
        retry_after_s: float | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        unsent: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status_code = status_code
        self.retry_after_s = retry_after_s
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.unsent = unsent


class RateLimited(ProviderError):
    """The provider asked us to slow down. Worth trying again after its wait."""

    kind = "rate_limited"
    retryable = True


class ProviderTransient(ProviderError):
    """Timeout, connection, half a body, 408, 409, 425, 5xx, 529: worth trying again."""

    kind = "transient"
    retryable = True


class ProviderPermanent(ProviderError):
    """The provider will never answer this request: wrong URL, model or body."""

    kind = "permanent"


class ContextFull(ProviderPermanent):
    """The conversation is longer than the model can read: after the first turn, the agent's doing."""

    kind = "context_full"


class ProviderAuthentication(ProviderError):
    """The provider does not accept who we are, or no key is set on this worker."""

    kind = "authentication"
