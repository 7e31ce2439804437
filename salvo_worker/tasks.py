"""The one task there is: what a message may ask for."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from pydantic import ValidationError

from salvo_core.run.plan import TrialMessage
from salvo_worker.app import TRIAL
from salvo_worker.lifespan import Lifespan
from salvo_worker.pool import await_

logger = logging.getLogger(__name__)


def register(app: Celery, lifespan: Lifespan) -> None:
    """Teach app the one task that exists; a message with another name is refused by Celery."""

    @app.task(name=TRIAL)  # type: ignore[untyped-decorator]
    def trial(**arguments: Any) -> None:
        try:
            message = TrialMessage.model_validate(arguments)
        except ValidationError as error:
            # Not ours, or of another version: retrying cannot mend it, so it is dropped, loudly.
            logger.error("refused a message: %s", "; ".join(e["msg"] for e in error.errors())[:300])
            return
        await_(lifespan.attempt(message))
